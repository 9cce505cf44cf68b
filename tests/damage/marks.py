"""Where packs lie, found from outside: the vault's pack objects are searched for in the page blobs, byte by byte."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LEAF_BYTES = 1 << 20
FOOTER_BYTES = 4096
_PACK_NAME = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class PackAt:
    """One pack in one file. Offsets in bytes."""

    name: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What a report must name for a damaged byte: nothing more than the file, or the pack and its leaf."""

    path: Path
    offset: int
    pack: str = ""
    leaf: int | None = None
    """None in a pack's footer page, and outside of packs."""


def packs_of_vault(vault: Path) -> list[Path]:
    """Return the vault's pack objects, by the rule that such a file is named by 64 hex digits."""
    return sorted(each for each in vault.rglob("*") if each.is_file() and _PACK_NAME.match(each.name))


def packs_in(blob: Path, packs: list[Path]) -> list[PackAt]:
    """Return which of the vault's packs lie in a page blob, and where."""
    found = []
    if blob.stat().st_size == 0:
        return []
    with open(blob, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for pack in packs:
            body = pack.read_bytes()
            at = view.find(body[:8192])
            if at >= 0 and view[at : at + len(body)] == body:
                found.append(PackAt(pack.name, at, len(body)))
    return found


def mark(path: Path, offset: int, packs: list[PackAt]) -> Mark:
    """Say what a report must name when the byte at `offset` of `path` is wrong."""
    for pack in packs:
        inside = offset - pack.start
        if 0 <= inside < pack.length:
            leaf = inside // LEAF_BYTES if inside < pack.length - FOOTER_BYTES else None
            return Mark(path, offset, pack.name, leaf)
    return Mark(path, offset)


def named(report: str, wanted: Mark) -> bool:
    """Say whether a report names what it must: pack and leaf in a pack, anything at all elsewhere."""
    if not wanted.pack:
        return bool(report.strip())
    if wanted.pack not in report:
        return False
    return wanted.leaf is None or re.search(rf"\bleaf {wanted.leaf}\b", report) is not None


@contextmanager
def flipped(path: Path, offset: int, bit: int) -> Iterator[None]:
    """Flip one bit of a file for as long as the block lasts; times stay as they were."""
    before = path.stat()
    _flip(path, offset, bit)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        yield
    finally:
        if path.exists() and path.stat().st_size > offset:  # A cache may have been made anew.
            _flip(path, offset, bit)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _flip(path: Path, offset: int, bit: int) -> None:
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ (1 << bit)]), offset)
        os.fsync(file.fileno())
