"""Moments as people write them."""

import re
from datetime import datetime, timedelta
from typing import Final

from wain.base.errors import Refused

_AGO: Final = re.compile(r"(\d{1,5})\s*([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_moment(text: str, flag: str, now: datetime) -> datetime:
    """Return the moment that `2026-03-01`, `2026-03-01T12:30` (local unless a zone stands behind) or `36h` ago means.

    Raises:
        Refused: it is no moment; `flag` is named.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return now - int(ago[1]) * _UNITS[ago[2]]
        return datetime.fromisoformat(text.strip()).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        hint = "Write 2026-03-01, 2026-03-01T12:30, 2026-03-01T12:30Z, or 36h, 7d, 2w for so long ago."
        raise Refused(f"{flag} {text!r} is not a moment", hint) from None
