"""What earlier walks saw: `last.tree` of the last job, and `partial.tree` of a job that was interrupted.

Both are local streams of directories in walk order, each with its encoded entries (all but subdirectories), so that an
unchanged file is recognised and taken over without decoding or reading it. Losing them costs reading, never content.
Layout: agent/FORMAT.md.
"""

import os
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from zlib import crc32

from wain.base.errors import DataError
from wain.base.ids import HASH_BYTES, PackId
from wain.storage.durable import fsync_dir, writing
from wain.tree.compare import split_entries

HISTORY_MAGIC: Final = b"WAINHIST"
HISTORY_VERSION: Final = 1
HISTORY_HEADER_BYTES: Final = 26
FRAME_HEADER_BYTES: Final = 16
FRAME_BYTES: Final = 4 << 20
"""A directory with more bytes of entries than this takes several frames."""
_HEAD: Final = struct.Struct("<8sH16s")
_FRAME: Final = struct.Struct("<IIII")
_LISTED: Final = struct.Struct("<HI")


def walk_key(path: bytes) -> bytes:
    """Return what orders directories as a walk meets them: component by component."""
    return path.replace(b"/", b"\0") if path != b"/" else b""


class HistoryWriter:
    """Writes the stream of the running job. It is not made durable until `publish`: a torn tail is harmless.

    Raises (all methods): `OutOfSpace`, `WriteFailed`, `Refused`: the agent's own disk, never the source.
    """

    def __init__(self, path: Path, registration: bytes) -> None:
        self._path = path
        with writing(str(path)):
            self._file: BinaryIO = open(path, "wb", buffering=1 << 20)  # noqa: SIM115 (closed by __exit__)
            self._file.write(_HEAD.pack(HISTORY_MAGIC, HISTORY_VERSION, registration))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with writing(str(self._path)):
            self._file.close()

    def add(self, directory: bytes, entries: Iterable[bytes], listed: Mapping[bytes, Collection[PackId]]) -> None:
        """Append a directory, in walk order, with its encoded entries in name order.

        `listed` gives, for each file whose chunks stand in lists, the packs that hold them: the lists themselves
        cannot be read back here.
        """
        packs = b"".join(_LISTED.pack(len(name), len(ids)) + name + b"".join(ids) for name, ids in listed.items())
        for body in _bodies(entries):
            crc = crc32(packs, crc32(body, crc32(directory)))
            with writing(str(self._path)):
                self._file.write(_FRAME.pack(len(directory), len(body), len(packs), crc) + directory)
                self._file.write(body)
                self._file.write(packs)
            packs = b""

    def publish(self, final: Path) -> None:
        """Make the closed stream durable under its final name."""
        with writing(str(final)):
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(self._path, final)
            fsync_dir(final.parent)


def _bodies(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the entries end to end in one piece or, when they are many, in pieces of about `FRAME_BYTES`."""
    body = b"".join(entries) if isinstance(entries, list) and len(entries) < FRAME_BYTES >> 14 else None
    if body is not None:
        yield body
        return
    piece: list[bytes] = []
    size = 0
    for encoded in entries:
        piece.append(encoded)
        size += len(encoded)
        if size >= FRAME_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    yield b"".join(piece)


def set_interrupted_aside(partial: Path) -> Path:
    """Return where an interrupted job's history is, moved out of the way of the next one's.

    Of two, the one that saw more is kept: a job that is interrupted early must not cost what an earlier one knew.
    """
    aside = partial.with_suffix(".resumed")
    with writing(str(aside)):
        if partial.exists():
            if not aside.exists() or partial.stat().st_size >= aside.stat().st_size:
                partial.replace(aside)
            else:
                partial.unlink()
    return aside


@dataclass(frozen=True, slots=True)
class Seen:
    """What a walk saw in one directory."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    """Encoded entries by name."""
    listed: dict[bytes, tuple[PackId, ...]] = field(default_factory=dict)
    """The packs of each file whose chunks stand in lists."""


NOTHING: Final = Seen()


class HistoryReader:
    """Reads one stream along a walk.

    A file that is missing, of another registration, or that cannot be read is an empty history; what follows a torn or
    damaged frame is not believed.
    """

    def __init__(self, path: Path, registration: bytes) -> None:
        self._file: BinaryIO | None = None
        self._left = 0
        self._pending: tuple[bytes, bytes, bytes] | None = None
        try:
            self._file = open(path, "rb", buffering=1 << 20)  # noqa: SIM115 (closed by close)
            self._left = os.fstat(self._file.fileno()).st_size - _HEAD.size
            head = self._file.read(_HEAD.size)
        except OSError:
            self.close()
            return
        if head == _HEAD.pack(HISTORY_MAGIC, HISTORY_VERSION, registration):
            self._advance()
        else:
            self.close()

    def seen(self, directory: bytes) -> Seen:
        """Return what the directory held. Ask in walk order."""
        pending = self._pending
        if pending is None:
            return NOTHING
        key = walk_key(directory)
        while pending is not None and pending[0] < key:
            pending = self._advance()
        found = NOTHING
        while pending is not None and pending[0] == key:
            try:
                entries, listed = split_entries(pending[1]), _decode_listed(pending[2])
            except (DataError, struct.error):
                return NOTHING
            if found is NOTHING:
                found = Seen(entries, listed)
            else:
                found.entries.update(entries)
            pending = self._advance()
        return found

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._pending = None

    def _advance(self) -> tuple[bytes, bytes, bytes] | None:
        assert self._file is not None
        self._pending = None
        try:
            frame = self._file.read(_FRAME.size)
            if len(frame) < _FRAME.size:
                return None
            path_bytes, body_bytes, packs_bytes, crc = _FRAME.unpack(frame)
            size = path_bytes + body_bytes + packs_bytes
            self._left -= _FRAME.size + size
            if self._left < 0 or not path_bytes:
                return None  # Zeros, which a power cut may leave, are no frame.
            whole = self._file.read(size)
        except OSError:
            return None
        # A torn or damaged tail ends the history here: what follows is looked at anew.
        if len(whole) == size and crc32(whole) == crc:
            middle = path_bytes + body_bytes
            self._pending = (walk_key(whole[:path_bytes]), whole[path_bytes:middle], whole[middle:])
        return self._pending


def _decode_listed(rows: bytes) -> dict[bytes, tuple[PackId, ...]]:
    found: dict[bytes, tuple[PackId, ...]] = {}
    at = 0
    while at < len(rows):
        name_bytes, count = _LISTED.unpack_from(rows, at)
        start = at + _LISTED.size + name_bytes
        name = rows[start - name_bytes : start]
        at = start + count * HASH_BYTES
        found[name] = tuple([PackId(rows[one : one + HASH_BYTES]) for one in range(start, at, HASH_BYTES)])
    return found
