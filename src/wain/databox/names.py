"""Names as a device spells them, and as logs may show them."""

import re
from typing import Final

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def words(name: bytes) -> str:
    """Return a device's name for people: readable, on one line, and never able to steer a terminal."""
    return _UNPRINTABLE.sub("?", name.decode(errors="replace"))
