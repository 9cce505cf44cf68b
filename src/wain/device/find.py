"""Finds a device on the desk: a directory that holds `PageBlob`, or a share that is `<account>_PageBlob` itself.

A Data Box Disk (and a drive mapped to the appliance) has a root with a `PageBlob` directory; the appliance's SMB and
NFS share *is* the page-blob directory (azure.md C11). Anything else is refused and nothing is ever made there, so a
device that was unplugged cannot be mistaken for its empty mount point.
"""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wain.base.errors import Refused, WainError
from wain.device.label import LABEL_FILE, MAX_LABEL_BYTES, Label, decode_label
from wain.device.share import check_answers, resolve
from wain.pageblob.names import PAGE_BLOB_DIR
from wain.storage.durable import reading

_SHARE_SUFFIX: Final = "_" + PAGE_BLOB_DIR
_MOUNTS: Final = "/proc/self/mountinfo"
_UNSEEN: Final = frozenset(
    {"proc", "sysfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "mqueue"}
)
"""File systems that hold no device."""
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class DeviceRoot:
    """A device that may be written or read. `label` is None on devices that Wain did not prepare.

    `is_share` tells the two shapes apart: the path is the page-blob directory itself.
    """

    path: Path
    pageblob: Path
    label: Label | None
    is_share: bool


def _is_directory(path: Path, *, follow: bool) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path, follow_symlinks=follow).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_label(root: Path) -> Label | None:
    """Return the label in a device's root, or None when there is none.

    Raises:
        DataError: there is one that cannot be read or is damaged.
    """
    path = root / LABEL_FILE
    with reading(f"device label {path}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            stored = os.read(fd, MAX_LABEL_BYTES + 1)
        finally:
            os.close(fd)
    return decode_label(stored)


def check_root(path: str | Path) -> DeviceRoot:
    """Return the device at `path`: its root, its `PageBlob` directory, or a `<account>_PageBlob` share; UNC names too.

    Raises:
        Refused: says what is there instead and what to do; also when this account cannot reach it, and why.
        DeviceLost, ShareSilent: it is mounted, and what it was mounted from is gone or does not answer.
        DataError: the device has a label and it is damaged.
    """
    here = resolve(path)
    check_answers(here)
    with reading(str(here)):
        if not _is_directory(here, follow=True):
            hint = "Connect and unlock the device, or correct the path."
            raise Refused(f"there is no directory at {here}", hint)
        inside = here / PAGE_BLOB_DIR
        if _is_directory(inside, follow=False):
            return DeviceRoot(here, inside, read_label(here), is_share=False)
        if here.name == PAGE_BLOB_DIR:
            return DeviceRoot(here.parent, here, read_label(here.parent), is_share=False)
        if here.name.endswith(_SHARE_SUFFIX):
            return DeviceRoot(here, here, None, is_share=True)
    raise Refused(
        f"{here} is not a Data Box device: it holds no {PAGE_BLOB_DIR} directory",
        f"Give the directory that contains {PAGE_BLOB_DIR}, or the share <account>{_SHARE_SUFFIX} itself; an empty "
        "mount point means that the device is not mounted.",
    )


def detect(candidates: Iterable[Path]) -> list[DeviceRoot]:
    """Return the devices among `candidates`, in order; what is no device, or one with a damaged label, is left out."""
    found = []
    for candidate in candidates:
        try:
            found.append(check_root(candidate))
        except WainError:
            continue
    return found


def mount_points() -> list[Path]:
    """Return where file systems are mounted (Linux, /proc/self/mountinfo): the candidates for `detect`."""
    with reading(_MOUNTS), open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
        rows = [line.split() for line in lines]
    points = []
    for row in rows:
        kind = row[row.index("-") + 1]
        if kind not in _UNSEEN:
            points.append(Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), row[4])))
    return points
