"""Where the demo plays: a place with room, a small notebook of files that it may change, and cleaning up."""

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wain.base.errors import OutOfSpace, Refused
from wain.base.sizes import MIB, format_bytes
from wain.cli.measure import Extent

_COPIES: Final = 3
"""Device, account and vault lie side by side once; later the device is erased and a restore takes its room."""
_SLACK_BYTES: Final = 512 * MIB
_HERE: Final = ("/var/tmp", "/tmp")  # noqa: S108 (mkdtemp makes the directory below)
_PREFIX: Final = "wain-demo-"
_NOTES: Final = 200
_RECORDING_BYTES: Final = 6 * MIB


def need_bytes(extent: Extent) -> int:
    """Return how much room the story takes at most, for files that do not compress at all."""
    return _COPIES * extent.content_bytes * 103 // 100 + extent.entries * 1024 + _SLACK_BYTES


def find_place(source: str, need: int, keep: str) -> Path:
    """Return a new, empty directory with enough room, outside the source.

    Raises:
        Refused: it would lie inside the source, or `keep` is not empty.
        OutOfSpace: no place has the room.
    """
    if keep:
        place = Path(os.path.abspath(keep))
        _check_outside(place, source, "Give --keep a directory elsewhere.")
        if place.exists() and any(place.iterdir()):
            raise Refused(f"{place} is not empty", "Give --keep a new directory.")
        place.mkdir(parents=True, exist_ok=True)
        _check_room(place, need)
        return place
    roots = [os.environ["TMPDIR"]] if os.environ.get("TMPDIR") else [root for root in _HERE if os.path.isdir(root)]
    outside = [root for root in roots if not _inside(root, source)]
    if not outside:
        _check_outside(Path(roots[0]), source, "Set TMPDIR to a directory elsewhere, or give one with --keep.")
    root = max(outside, key=_free)
    _check_room(Path(root), need)
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))


def _inside(path: str, source: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), source]) == source


def _check_outside(place: Path, source: str, hint: str) -> None:
    if _inside(str(place), source):
        raise Refused(f"the demo's own files in {place} would lie inside {source}", hint)


def _free(path: str) -> int:
    return shutil.disk_usage(path).free


def _check_room(place: Path, need: int) -> None:
    free = _free(str(place))
    if free < need:
        error = OutOfSpace(str(place), need, free)
        error.hint = (
            f"The demo keeps up to {_COPIES} copies for a while: about {format_bytes(need)}. Set TMPDIR or give --keep "
            "on a larger disk, or choose a smaller SOURCE."
        )
        raise error


class Notebook:
    """A few files beside the source that the demo writes and changes itself; the source is never touched."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self) -> None:
        """Make the first state."""
        (self.root / "days").mkdir(parents=True)
        for day in range(_NOTES):
            (self.root / "days" / f"note-{day:03}.txt").write_text(f"Day {day}: all is well.\n" * 20)
        (self.root / "recording.bin").write_bytes(secrets.token_bytes(_RECORDING_BYTES))
        (self.root / "latest").symlink_to("days/note-199.txt")

    def write_on_the_road(self) -> None:
        """Add something while the device travels."""
        (self.root / "while-the-device-travels.txt").write_text("Written after the device had left.\n")

    def change(self) -> None:
        """Make the second state: one file added, one removed, one renamed, one appended to, one changed inside."""
        days = self.root / "days"
        (days / "note-200.txt").write_text("Day 200: a new page.\n")
        (days / "note-000.txt").unlink()
        (days / "note-001.txt").rename(days / "note-one.txt")
        with open(days / "note-002.txt", "a") as file:
            file.write("An afterthought.\n")
        with open(self.root / "recording.bin", "r+b") as recording:
            recording.seek(_RECORDING_BYTES // 2)
            recording.write(b"a second take")

    def keep_copy(self, place: Path) -> None:
        """Copy the present state, with its times, for a later comparison."""
        shutil.copytree(self.root, place, symlinks=True)


def remove(place: Path) -> None:
    """Remove a demo's directory, restored directories without write permission included."""

    def open_up(action: Callable[..., object], path: str, _error: object) -> None:
        parent = os.path.dirname(path)
        os.chmod(parent, stat.S_IRWXU)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, stat.S_IRWXU)
        if action in (os.open, os.scandir, os.listdir):
            shutil.rmtree(path, onerror=open_up)
        else:
            action(path)

    shutil.rmtree(place, onerror=open_up)
