"""What lies on a block device or image: a lock, a file system, a partition table, or nothing (blkid, without udev)."""

import json
import os
import stat
from pathlib import Path
from typing import Final

from wain.base.errors import Refused
from wain.device.programs import ProgramFailed, Run, run_program

LOCKS: Final = {"crypto_LUKS": "LUKS", "BitLocker": "BitLocker"}
"""The locks Wain can open, by blkid's names."""
_NOTHING: Final = 2
_SEVERAL: Final = 8


def probe(path: Path, run: Run = run_program) -> dict[str, str]:
    """Return what blkid finds on a device or image; nothing when it is blank.

    Raises:
        Refused: it is not there, or is neither a block device nor a file.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Refused(f"{path} is not there: {error.strerror}", "Attach the device, or correct the path.") from error
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise Refused(f"{path} is neither a block device nor an image file", "Give the device, such as /dev/sdb1.")
    try:
        said = run(["blkid", "-p", "-o", "export", str(path)], b"")
    except ProgramFailed as error:
        if error.status == _NOTHING:
            return {}
        if error.status == _SEVERAL:
            return {"TYPE": "several things at once"}
        raise
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def check_blank(path: Path, overwrite: str, run: Run = run_program) -> None:
    """Check that formatting a device loses nothing, or that the operator has typed its path or serial number.

    Raises:
        Refused: it holds something, or is in use; what and where is named.
    """
    found = probe(path, run)
    _check_unused(path)
    if not found.keys() & {"TYPE", "PTTYPE"}:
        return
    what = f"a file system or lock ({found['TYPE']})" if "TYPE" in found else f"a partition table ({found['PTTYPE']})"
    serial = serial_of(path, run)
    if overwrite and overwrite in {str(path), serial}:
        return
    typed = f"--overwrite {serial or path}"
    raise Refused(f"{path} is not blank: it holds {what}", f"To lose what is on it, add: {typed}")


def _check_unused(path: Path) -> None:
    """The kernel refuses an exclusive opening of a block device that is mounted or part of something (open(2))."""
    if not stat.S_ISBLK(path.stat().st_mode):
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        raise Refused(f"{path} cannot be formatted: {error.strerror}", "Unmount it first.") from error


def serial_of(path: Path, run: Run = run_program) -> str:
    """Return the serial number that a disk reports, or nothing."""
    try:
        listed = json.loads(run(["lsblk", "--json", "--nodeps", "-o", "serial", str(path)], b""))
        return str(listed["blockdevices"][0]["serial"] or "")
    except (ProgramFailed, ValueError, KeyError, IndexError):
        return ""


def locked_devices(run: Run = run_program) -> dict[Path, str]:
    """Return the attached block devices that carry a lock, and which."""
    listed = json.loads(run(["lsblk", "--json", "--list", "-o", "path,type"], b""))
    found = {}
    for row in listed.get("blockdevices", ()):
        path = Path(str(row["path"]))
        if row["type"] not in ("disk", "part", "loop"):
            continue
        try:
            kind = LOCKS.get(probe(path, run).get("TYPE", ""))
        except (Refused, ProgramFailed):
            continue  # An empty loop device or card reader.
        if kind:
            found[path] = kind
    return found
