"""VSS shadow copies on Windows, through PowerShell's CIM and `vssadmin`.

A shadow copy has no name of its own. So each is noted in a file, named for the registration, before anything is read
from it; the next job removes what such files still name.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wain.agent.freeze import FreezeFailed, Frozen, Run, run_system
from wain.agent.mounts import Mount
from wain.agent.view import Place
from wain.agent.walk import words

_MAKE: Final = (
    "$made = Invoke-CimMethod -ClassName Win32_ShadowCopy -MethodName Create "
    "-Arguments @{{Volume='{volume}'; Context='ClientAccessible'}}; "
    "if ($made.ReturnValue) {{ throw ('VSS error ' + $made.ReturnValue) }}; "
    "$copy = Get-CimInstance Win32_ShadowCopy | Where-Object ID -eq $made.ShadowID; "
    "$copy.ID + '|' + $copy.DeviceObject"
)
"""Prints the shadow copy's id and its device."""


class VssFreezer:
    """Makes shadow copies. `registration` names Wain's notes of them, which lie in `notes_at` beside the links."""

    name = "VSS"

    def __init__(self, registration: str, notes_at: Path, run: Run = run_system) -> None:
        self._prefix = f"{registration}-"
        self._notes_at = notes_at
        self._run = run

    def why_not(self, mount: Mount) -> str:
        """Return why a volume cannot be frozen this way, or nothing when it can."""
        volume = os.fsdecode(mount.point)
        drive = len(volume) == 3 and volume[0].isascii() and volume[0].isalpha() and volume[1:] == ":\\"
        return "" if drive and mount.kind in {"ntfs", "refs"} else "it is not an NTFS or ReFS drive"

    def nested(self, mount: Mount) -> list[bytes]:
        """Return nothing: a volume is frozen as a whole."""
        del mount
        return []

    def freeze(self, mount: Mount, point: bytes, number: int) -> Frozen:
        """Make a shadow copy of a drive and a link to it."""
        volume = os.fsdecode(mount.point)
        said = self._run(["powershell", "-NoProfile", "-NonInteractive", "-Command", _MAKE.format(volume=volume)])
        shadow, _, device = said.strip().partition("|")
        link = self._notes_at / f"{self._prefix}{number}"
        try:
            self._notes_at.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._note(link).write_text(shadow, encoding="ascii")
            self._run(["cmd", "/c", "mklink", "/d", str(link), f"{device}\\"])
            # The link is ours; what it leads to is opened, and known by its identity.
            place, number_of = Place.at(os.path.join(os.fsencode(link), b"")), os.stat(point).st_dev
        except (OSError, FreezeFailed) as error:
            self._undo(link, shadow)
            if isinstance(error, FreezeFailed):
                raise
            raise FreezeFailed(volume, words(error)) from error
        return Frozen(point, place, number_of, mount, f"{link.name}|{shadow}")

    def thaw(self, frozen: Frozen) -> None:
        """Remove the link, the shadow copy, and then the note of it."""
        name, _, shadow = frozen.mark.partition("|")
        self._remove(self._notes_at / name, shadow)

    def clear(self, mounts: Iterable[Mount]) -> int:
        """Remove the shadow copies that notes of a job that was killed still name."""
        del mounts
        try:
            notes = [path for path in self._notes_at.glob("*.shadow") if path.name.startswith(self._prefix)]
            for note in notes:
                self._remove(note.with_suffix(""), note.read_text(encoding="ascii"))
        except OSError as error:
            raise FreezeFailed(str(self._notes_at), words(error)) from error
        return len(notes)

    def _remove(self, link: Path, shadow: str) -> None:
        if os.path.lexists(link):
            self._run(["cmd", "/c", "rmdir", str(link)])
        self._run(["vssadmin", "delete", "shadows", f"/shadow={shadow}", "/quiet"])
        self._note(link).unlink(missing_ok=True)

    def _undo(self, link: Path, shadow: str) -> None:
        """Remove a shadow copy that did not come to use; what made it useless is the news, not another failure."""
        try:
            self._remove(link, shadow)
        except (OSError, FreezeFailed):
            return  # The next job finds it by its note.

    def _note(self, link: Path) -> Path:
        return link.with_suffix(".shadow")
