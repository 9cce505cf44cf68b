"""What an entry may say: caps, and which fields go with which kind (FORMAT.md, "Entry", rules).

Encoder and decoder ask the same questions here, so that neither accepts what the other refuses. The fast test answers
yes or no; only after a no is the reason looked for.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NoReturn

from wain.base.errors import Malformed, TooLarge
from wain.base.sizes import KIB, MIB
from wain.tree.entry import Entry, Kind
from wain.tree.lists import LIST_CHUNKS

MAX_NAME_BYTES: Final = 255
MAX_TARGET_BYTES: Final = 64 * KIB
MAX_XATTRS: Final = 1024
MAX_XATTR_NAME_BYTES: Final = 255
MAX_XATTR_BYTES: Final = 64 * KIB
MAX_CHUNKS: Final = 1 << 18
"""Ids an entry names itself; a file with more of them is `listed`."""
MAX_EXTENTS: Final = 1 << 17
MAX_ENTRY_BYTES: Final = 12 * MIB
"""Keeps a piece of one largest entry within one segment (pack/FORMAT.md)."""
MAX_CHUNK_BYTES: Final = 8 * MIB
"""The longest chunk of a file (chunk/FORMAT.md)."""

_LISTED, _CHUNKS, _EXTENTS, _TARGET, _RDEV = 1, 2, 4, 8, 16
_FILE: Final = Kind.FILE
_SHAPES: Final = {
    Kind.FILE: frozenset((0, _CHUNKS, _EXTENTS, _CHUNKS | _EXTENTS, _LISTED | _CHUNKS, _LISTED | _CHUNKS | _EXTENTS)),
    Kind.DIRECTORY: frozenset((_CHUNKS,)),
    Kind.SYMLINK: frozenset((_TARGET,)),
    Kind.CHAR_DEVICE: frozenset((0, _RDEV)),
    Kind.BLOCK_DEVICE: frozenset((0, _RDEV)),
    Kind.FIFO: frozenset((0,)),
    Kind.SOCKET: frozenset((0,)),
}
"""Which of listed, chunks, extents, target and rdev an entry of each kind carries together."""
_SPECIAL_NAMES: Final = frozenset((b"", b".", b".."))
_NO_RDEV: Final = (0, 0)


def is_allowed(entry: Entry) -> bool:
    """Tell whether an entry's fields go together. Extents, xattrs and targets have checks of their own."""
    name, content = entry.name, entry.content
    chunks, extents = content.chunks, content.extents
    count = len(chunks)
    if name in _SPECIAL_NAMES or b"/" in name or b"\0" in name or len(name) > MAX_NAME_BYTES or count > MAX_CHUNKS:
        return False
    shape = (
        content.listed | (_CHUNKS if chunks else 0) | (_EXTENTS if extents else 0) | (_TARGET if entry.target else 0)
        | (_RDEV if entry.rdev != _NO_RDEV else 0)
    )  # fmt: skip
    if shape not in _SHAPES[entry.kind] or entry.stat.mode > 0o7777:
        return False
    if entry.kind is not _FILE:
        return True
    data = sum([length for _, length in extents]) if extents else entry.stat.size
    return count <= data <= count * _longest(entry)


def refuse(what: str, entry: Entry) -> NoReturn:
    """Raise the reason why an entry is not allowed.

    Raises:
        Malformed, TooLarge: always.
    """
    name, content = entry.name, entry.content
    if len(content.chunks) > MAX_CHUNKS:
        raise TooLarge(f"chunk count of {name!r} in a {what}", have=len(content.chunks), cap=MAX_CHUNKS)
    if len(name) > MAX_NAME_BYTES:
        raise TooLarge(f"a name in a {what}", have=len(name), cap=MAX_NAME_BYTES)
    if name in _SPECIAL_NAMES or b"/" in name or b"\0" in name:
        raise Malformed(what, f"{name!r} is not a name")
    if entry.stat.mode > 0o7777:
        raise Malformed(what, f"{name!r} has mode {entry.stat.mode:o}, which is not permission bits alone")
    if entry.kind is _FILE and not entry.target and entry.rdev == _NO_RDEV:
        raise Malformed(
            what, f"the file {name!r} of {entry.stat.size} bytes cannot lie in {len(content.chunks)} chunks"
        )
    raise Malformed(
        what, f"{name!r}, a {entry.kind.name.lower()}, has parts that only another kind has, or lacks its own"
    )


def check_target(what: str, target: bytes) -> None:
    """Refuse a symlink's text that no file system holds."""
    if len(target) > MAX_TARGET_BYTES:
        raise TooLarge(f"a target in a {what}", have=len(target), cap=MAX_TARGET_BYTES)
    if b"\0" in target:
        raise Malformed(what, "a target has a NUL")


def check_xattrs(what: str, xattrs: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse extended attributes over their caps, out of order, twice or without a name."""
    if len(xattrs) > MAX_XATTRS:
        raise TooLarge(f"xattr count in a {what}", have=len(xattrs), cap=MAX_XATTRS)
    last = b""
    for name, value in xattrs:
        if len(name) > MAX_XATTR_NAME_BYTES:
            raise TooLarge(f"an xattr's name in a {what}", have=len(name), cap=MAX_XATTR_NAME_BYTES)
        if len(value) > MAX_XATTR_BYTES:
            raise TooLarge(f"xattr {name!r} in a {what}", have=len(value), cap=MAX_XATTR_BYTES)
        if name <= last or b"\0" in name:
            raise Malformed(what, f"xattr {name!r} does not follow {last!r}")
        last = name


def check_extents(what: str, extents: Sequence[tuple[int, int]], size: int) -> None:
    """Refuse extents that do not describe a file of `size` bytes with at least one hole.

    They ascend without overlap, end within the file and are not empty, except that a file which is one hole has the
    single extent (size, 0). An extent may begin where the one before ended.
    """
    if len(extents) > MAX_EXTENTS:
        raise TooLarge(f"extent count in a {what}", have=len(extents), cap=MAX_EXTENTS)
    if list(extents) == [(size, 0)] and size:
        return
    end = data = 0
    for offset, length in extents:
        if offset < end or length < 1:
            raise Malformed(what, f"extent at {offset} of {length} bytes, after one that ends at {end}")
        end = offset + length
        data += length
    if end > size or data == size:
        raise Malformed(what, f"extents of {data} bytes, up to {end}, in a file of {size}")


def tidy_extents(found: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Return the extents to store for the data ranges found in a file of `size` bytes, ascending and disjoint.

    Nothing for a dense file, one mark for a file that is one hole, no two that touch, and at most `MAX_EXTENTS`: beyond
    that the smallest holes count as data, and are read as zeros.
    """
    ranges: list[tuple[int, int]] = []
    for offset, length in found:
        if ranges and sum(ranges[-1]) == offset:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
        elif length:
            ranges.append((offset, length))
    if len(ranges) > MAX_EXTENTS:
        ranges = _fill_small_holes(ranges)
    if not ranges and size:
        return ((size, 0),)
    return () if ranges in ([], [(0, size)]) else tuple(ranges)


def _fill_small_holes(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    holes = sorted((later[0] - sum(earlier), later[0]) for earlier, later in pairwise(ranges))
    filled = {start for _, start in holes[: len(ranges) - MAX_EXTENTS]}
    kept: list[tuple[int, int]] = []
    for offset, length in ranges:
        if offset in filled:
            kept[-1] = (kept[-1][0], offset + length - kept[-1][0])
        else:
            kept.append((offset, length))
    return kept


def _longest(entry: Entry) -> int:
    """Return the most bytes that one id in the entry can stand for."""
    return LIST_CHUNKS * MAX_CHUNK_BYTES if entry.content.listed else MAX_CHUNK_BYTES
