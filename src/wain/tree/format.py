"""The bytes of directory listings: entries, and the pieces they lie in (FORMAT.md, "Entry" and "Piece").

Both directions run once for each of millions of files, so the fixed part is one `struct` call, and a field that looks
wrong is named only after the fast test has failed.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from wain.base.errors import Malformed, TooLarge, Truncated, UnknownVersion, WrongMagic
from wain.base.ids import HASH_BYTES, ChunkId
from wain.base.sizes import KIB, MIB
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.rules import MAX_ENTRY_BYTES, MAX_XATTRS, check_extents, check_target, check_xattrs, is_allowed, refuse

PIECE_MAGIC: Final = b"WAINTREE"
PIECE_VERSION: Final = 1
PIECE_HEADER_BYTES: Final = 14
PIECE_BYTES: Final = MIB
"""The most a piece takes, unless it holds one single entry that is larger."""
ENTRY_FIXED_BYTES: Final = 90
"""An entry up to its name, its length field included."""
_WHAT: Final = "tree piece"
_HEADER: Final = struct.Struct("<8sHI")
_FIXED: Final = struct.Struct("<IBBHIIIQqIqIQHIIIIIII")
_NAME_LENGTH: Final = struct.Struct("<H")
_NAME_LENGTH_AT: Final = 6
_ID: Final = struct.Struct("<32s")
_XATTR: Final = struct.Struct("<BI")
_EXTENT: Final = struct.Struct("<QQ")
_SECOND: Final = 10**9
_KINDS: Final = {int(kind): kind for kind in Kind}
PIECE_MIN_BYTES: Final = 256 * KIB
"""A piece is ended by a name only when it has this many bytes."""
_PIECE_CUT_MASK: Final = 0x7FF
_NO_XATTRS: Final[tuple[tuple[bytes, bytes], ...]] = ()
_NO_EXTENTS: Final[tuple[tuple[int, int], ...]] = ()


def encode_entry(entry: Entry) -> bytes:
    """Return an entry's bytes, its length first.

    Raises:
        Malformed, TooLarge: a field that the format does not allow.
    """
    name, kind, stat, content, target = entry.name, entry.kind, entry.stat, entry.content, entry.target
    chunks, extents = content.chunks, content.extents
    major, minor = entry.rdev
    mtime_s, mtime_ns = divmod(stat.mtime_ns, _SECOND)
    ctime_s, ctime_ns = divmod(stat.ctime_ns, _SECOND)
    count = len(chunks)
    tail = b"".join(chunks)
    if len(tail) != count * HASH_BYTES or not is_allowed(entry):
        refuse(_WHAT, entry)
    if extents or target or entry.xattrs:
        tail = _encode_rest(entry, tail)
    length = ENTRY_FIXED_BYTES - 4 + len(name) + len(tail)
    if length > MAX_ENTRY_BYTES:
        raise TooLarge(f"entry {name!r} of a {_WHAT}", have=length, cap=MAX_ENTRY_BYTES)
    try:
        fixed = _FIXED.pack(
            length, kind, content.listed, len(name), stat.mode, stat.uid, stat.gid, stat.size, mtime_s, mtime_ns,
            ctime_s, ctime_ns, stat.inode, stat.device, stat.links, major, minor, len(target), len(entry.xattrs), count,
            len(extents),
        )  # fmt: skip
    except struct.error as error:
        raise Malformed(_WHAT, f"entry {name!r}: {error}") from None
    return fixed + name + tail


def entry_name(encoded: bytes | memoryview) -> bytes:
    """Return the name in an entry that `encode_entry` made."""
    (length,) = _NAME_LENGTH.unpack_from(encoded, _NAME_LENGTH_AT)
    return bytes(encoded[ENTRY_FIXED_BYTES : ENTRY_FIXED_BYTES + length])


def encode_piece(encoded: Sequence[bytes]) -> bytes:
    """Return the piece of these encoded entries, which must be strictly in order of their names.

    Raises:
        TooLarge: several entries that need more than `PIECE_BYTES`. `PieceBuilder` splits them.
    """
    piece = _HEADER.pack(PIECE_MAGIC, PIECE_VERSION, len(encoded)) + b"".join(encoded)
    if len(piece) > PIECE_BYTES and len(encoded) != 1:
        raise TooLarge(_WHAT, have=len(piece), cap=PIECE_BYTES)
    return piece


def decode_piece(body: bytes | memoryview) -> list[Entry]:
    """Return the entries of a piece, in order of their names.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not a piece of ours.
    """
    if not isinstance(body, bytes):
        body = bytes(body)
    if len(body) < PIECE_HEADER_BYTES:
        raise Truncated(_WHAT, want=PIECE_HEADER_BYTES, have=len(body))
    magic, version, count = _HEADER.unpack_from(body)
    if magic != PIECE_MAGIC:
        raise WrongMagic(_WHAT, want=PIECE_MAGIC, have=magic)
    if version != PIECE_VERSION:
        raise UnknownVersion(_WHAT, have=version, known=PIECE_VERSION)
    if len(body) > PIECE_BYTES and count != 1:
        raise Malformed(_WHAT, f"{count} entries in {len(body)} bytes")
    entries: list[Entry] = []
    at, last = PIECE_HEADER_BYTES, b""
    for _ in range(count):
        entry, at = _decode_entry(body, at)
        if entry.name <= last:
            raise Malformed(_WHAT, f"{entry.name!r} does not follow {last!r}")
        last = entry.name
        entries.append(entry)
    if at != len(body):
        raise Malformed(_WHAT, f"{len(body) - at} bytes follow the end")
    return entries


def decode_pieces(bodies: Iterable[bytes]) -> Iterator[Entry]:
    """Iterate over the entries of a directory from all its pieces, one piece in memory at a time.

    Raises:
        DataError: a piece is not ours, does not follow the one before it, or is empty and not alone.
    """
    last, empty = b"", False
    for number, body in enumerate(bodies):
        entries = decode_piece(body)
        empty = empty or not entries
        if empty and number:
            raise Malformed(_WHAT, "an empty piece is not alone")
        if entries and entries[0].name <= last:
            raise Malformed(_WHAT, f"{entries[0].name!r} does not follow {last!r} of the piece before")
        yield from entries
        last = entries[-1].name if entries else last


class PieceBuilder:
    """Splits a directory into pieces: feed its encoded entries in order of their names, then `finish`.

    Where a piece ends depends on the names near its end, not on how many entries came before: a new name in a
    directory of millions changes one or two pieces.
    """

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._bytes = PIECE_HEADER_BYTES
        self._last = b""
        self._full: list[bytes] = []
        self._closed = 0

    def add(self, encoded: bytes) -> None:
        """Append an entry.

        Raises:
            Malformed: its name does not follow the one before.
        """
        name = entry_name(encoded)
        if name <= self._last:
            raise Malformed(_WHAT, f"{name!r} does not follow {self._last!r}")
        if self._bytes + len(encoded) > PIECE_BYTES and self._entries:
            self._close()
        self._entries.append(encoded)
        self._bytes += len(encoded)
        self._last = name
        if self._bytes >= PIECE_MIN_BYTES and not crc32(name) & _PIECE_CUT_MASK:
            self._close()

    def take_full(self) -> list[bytes]:
        """Return, once, the pieces that are full by now, so that a huge directory need not stay in memory."""
        full, self._full = self._full, []
        return full

    def finish(self) -> list[bytes]:
        """Return the pieces not yet taken. A directory has at least one piece in all, an empty one exactly one."""
        if self._entries or not self._closed:
            self._close()
        return self.take_full()

    def _close(self) -> None:
        self._full.append(encode_piece(self._entries))
        self._entries.clear()
        self._bytes = PIECE_HEADER_BYTES
        self._closed += 1


def _decode_entry(body: bytes, at: int) -> tuple[Entry, int]:
    """Return the entry at an offset, and the offset after it."""
    start = at + ENTRY_FIXED_BYTES
    if start > len(body):
        raise Truncated(_WHAT, want=start, have=len(body))
    (
        length, number, listed, name_bytes, mode, uid, gid, size, mtime_s, mtime_ns, ctime_s, ctime_ns, inode, device,
        links, major, minor, target_bytes, xattr_count, chunk_count, extent_count,
    ) = _FIXED.unpack_from(body, at)  # fmt: skip
    end = at + 4 + length
    if end > len(body):
        raise Truncated(_WHAT, want=end, have=len(body))
    if length > MAX_ENTRY_BYTES:
        raise TooLarge(f"an entry of a {_WHAT}", have=length, cap=MAX_ENTRY_BYTES)
    first = start + name_bytes
    name = body[start:first]
    kind = _KINDS.get(number)
    if kind is None or listed > 1 or mtime_ns >= _SECOND or ctime_ns >= _SECOND:
        raise Malformed(_WHAT, f"entry {name!r} has an unknown kind, a reserved flag or a second of too many parts")
    target, xattrs, extents = b"", _NO_XATTRS, _NO_EXTENTS
    if target_bytes or xattr_count or extent_count:
        counts = (target_bytes, xattr_count, extent_count)
        target, xattrs, extents, used = _decode_rest(body[first:end], counts, size)
        first += used
    last = first + chunk_count * HASH_BYTES
    if last + extent_count * _EXTENT.size != end:
        raise Malformed(_WHAT, f"the parts of entry {name!r} do not add up to {length} bytes")
    if chunk_count == 1:
        chunks: tuple[ChunkId, ...] = _ID.unpack_from(body, first)
    else:
        chunks = tuple([chunk for (chunk,) in _ID.iter_unpack(body[first:last])])
    mtime, ctime = mtime_s * _SECOND + mtime_ns, ctime_s * _SECOND + ctime_ns
    stat = Stat(mode, uid, gid, size, mtime, ctime, inode, device, links)
    entry = Entry(name, kind, stat, Content(chunks, extents, listed == 1), target, (major, minor), xattrs)
    if not is_allowed(entry):
        refuse(_WHAT, entry)
    return entry, end


class _Rest(NamedTuple):
    """The rarer parts of an entry. `chunks_at` is the offset of the chunk ids within the rest."""

    target: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]
    extents: tuple[tuple[int, int], ...]
    chunks_at: int


def _encode_rest(entry: Entry, chunks: bytes) -> bytes:
    """Return everything after the name, for an entry that has more than chunks."""
    if entry.content.extents:
        check_extents(_WHAT, entry.content.extents, entry.stat.size)
    check_target(_WHAT, entry.target)
    check_xattrs(_WHAT, entry.xattrs)
    xattrs = [_XATTR.pack(len(name), len(value)) + name + value for name, value in entry.xattrs]
    extents = [_EXTENT.pack(offset, length) for offset, length in entry.content.extents]
    return b"".join((entry.target, *xattrs, chunks, *extents))


def _decode_rest(rest: bytes, counts: tuple[int, int, int], size: int) -> _Rest:
    """Read the bytes after a name. That they are all used is the caller's to check."""
    target_bytes, xattr_count, extent_count = counts
    extents_at = len(rest) - extent_count * _EXTENT.size
    if extents_at < target_bytes + xattr_count * _XATTR.size:
        raise Malformed(_WHAT, f"{xattr_count} xattrs and {extent_count} extents in {len(rest)} bytes")
    if xattr_count > MAX_XATTRS:
        raise TooLarge(f"xattr count in a {_WHAT}", have=xattr_count, cap=MAX_XATTRS)
    target = rest[:target_bytes]
    check_target(_WHAT, target)
    at = target_bytes
    xattrs: list[tuple[bytes, bytes]] = []
    for _ in range(xattr_count):
        if at + _XATTR.size > extents_at:
            raise Malformed(_WHAT, "an xattr is cut short")
        name_bytes, value_bytes = _XATTR.unpack_from(rest, at)
        start = at + _XATTR.size
        at = start + name_bytes + value_bytes
        xattrs.append((rest[start : start + name_bytes], rest[start + name_bytes : at]))
    check_xattrs(_WHAT, xattrs)
    extents = tuple(_EXTENT.iter_unpack(rest[extents_at:]))
    if extents:
        check_extents(_WHAT, extents, size)
    return _Rest(target, tuple(xattrs), extents, at)
