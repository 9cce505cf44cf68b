"""What counts as restored: the walker and rsync both find nothing."""

import os
from pathlib import Path

from oracle import rsync
from oracle.walker import Options, compare


def differences(source: Path, restored: Path, options: Options | None = None) -> list[str]:
    """Return every difference as a line, by the walker and (where it is installed) by rsync."""
    if not os.path.lexists(restored):
        return [f"there is no {restored}"]
    lines = [f"walker: {each}" for each in compare(os.fsencode(source), os.fsencode(restored), options)]
    if rsync.available():
        lines += [f"rsync: {line}" for line in rsync.differences(os.fsencode(source), os.fsencode(restored))]
    return lines


def assert_equal(source: Path, restored: Path, options: Options | None = None) -> None:
    """Fail with the first differences by name."""
    found = differences(source, restored, options)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:40])


def stored_bytes(root: Path) -> int:
    """Return the sizes of all files below a directory, added up."""
    return sum(each.lstat().st_size for each in root.rglob("*") if each.is_file() and not each.is_symlink())
