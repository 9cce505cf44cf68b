"""The log of what the console and the wizard did: `temp/CBUICurr.errlog`, as the seed calls it (S93, S94, D12).

Its last line says how the last try ended. `recognise` finds in it what can be cured; `wain doctor` says how.
"""

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Final

from wain.storage.durable import make_dirs, reading, writing

DIRECTORY: Final = "temp"
NAME: Final = "CBUICurr"
CURRENT: Final = f"{NAME}.errlog"
PREVIOUS: Final = "CBUIPrev.errlog"
LOG_CAP: Final = 1024 * 1024
"""At this size the log becomes the previous one."""
TAIL_BYTES: Final = 64 * 1024
LINE_CAP: Final = 4096
FAILED: Final = "Unable to create an Azure AD application credential in customer's account. Exception: {}"
"""The seed's words (S95)."""
_NOT_ALLOWED: Final = re.compile(
    r"Unable to create an Azure AD application credential in customer.s account\. Exception: "
    r".{0,200}?Update to existing credential with KeyId '?([0-9A-Fa-f-]{36})'? is not allowed"
)


class UiLog:
    """The log in one agent directory. Nothing is created before the first line."""

    def __init__(self, agent: Path) -> None:
        self._directory = agent / DIRECTORY

    def write(self, at: datetime, text: str) -> None:
        """Append one line."""
        make_dirs(self._directory, 0o700)
        path = self._directory / CURRENT
        line = " ".join(text.split())[:LINE_CAP]
        with writing(str(path)):
            if path.exists() and path.stat().st_size > LOG_CAP:
                os.replace(path, self._directory / PREVIOUS)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(f"{at.isoformat()} {line}\n".encode(errors="backslashreplace"))

    def last_line(self) -> tuple[Path, str] | None:
        """Return the newest file whose name begins with `CBUICurr`, and its last line; None when there is none."""
        if not self._directory.is_dir():
            return None
        with reading(str(self._directory)):
            found = [self._directory / name for name in os.listdir(self._directory) if name.startswith(NAME)]
            if not found:
                return None
            newest = max(found, key=lambda path: path.stat().st_mtime_ns)
        return newest, last_line(newest)


def last_line(path: Path) -> str:
    """Return the last line of a log that is not empty, whatever its encoding; an old agent writes UTF-16."""
    with reading(str(path)), open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        body = file.read(TAIL_BYTES)
    text = body.replace(b"\0", b"").decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def recognise(line: str) -> str | None:
    """Return the KeyId when a line is the seed's failure (S95), with or without quotes around it; else None."""
    found = _NOT_ALLOWED.search(line[:LINE_CAP])
    return found[1].lower() if found else None
