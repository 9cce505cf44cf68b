"""What is mounted where (Linux, /proc/self/mountinfo): the file systems that snapshots are made of."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wain.storage.durable import reading

_MOUNTS: Final = "/proc/self/mountinfo"
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system. `root` is the part of it that is to be seen at `point`: mostly all, which is `/`."""

    point: bytes
    root: bytes
    kind: str
    source: bytes
    """Mostly the block device."""
    writable: bool = True

    @property
    def has_device(self) -> bool:
        """It keeps files on a disk, and not in memory or nowhere."""
        return self.source.startswith(b"/dev/") or self.kind in {"btrfs", "zfs"}


def mounts() -> list[Mount]:
    """Return what can be reached, in the order of mounting; nothing where no such list is kept."""
    if not os.path.exists(_MOUNTS):
        return []
    with reading(_MOUNTS), open(_MOUNTS, "rb") as lines:
        return reachable(parse(line) for line in lines)


def parse(line: bytes) -> Mount:
    """Return what a line of mountinfo says (proc(5))."""
    fields = line.split()
    kind, source, options = fields[fields.index(b"-", 6) + 1 :][:3]
    writable = b"rw" in fields[5].split(b",") and b"rw" in options.split(b",")
    return Mount(_plain(fields[4]), _plain(fields[3]), kind.decode(), _plain(source), writable)


def reachable(every: Iterable[Mount]) -> list[Mount]:
    """Leave out what a later mount covers."""
    kept: list[Mount] = []
    for one in every:
        kept = [before for before in kept if not within(before.point, one.point)]
        kept.append(one)
    return kept


def within(path: bytes, directory: bytes) -> bool:
    """Return True when a path is a directory or lies below it."""
    return path == directory or path.startswith(os.path.join(directory, b""))


def _plain(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), field)
