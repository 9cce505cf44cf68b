"""What earlier walks saw: `last.tree` of the last job, and `partial.tree` of a job that was interrupted.

Both are local streams of directories in walk order, each with its encoded entries (all but subdirectories), so that an
unchanged file is recognised and taken over without decoding or reading it. Losing them costs reading, never content.
Layout: agent/FORMAT.md.
"""

import os
import struct
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from zlib import crc32

from wain.base.errors import DataError
from wain.base.ids import HASH_BYTES, PackId
from wain.storage.durable import fsync_dir, writing
from wain.tree.compare import split_entries

MAGIC: Final = b"WAINHIST"
VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sH16s")
_FRAME: Final = struct.Struct("<IIII")
_LISTED: Final = struct.Struct("<HI")


def walk_key(path: bytes) -> bytes:
    """Return what orders directories as a walk meets them: component by component."""
    return path.replace(b"/", b"\0") if path != b"/" else b""


class HistoryWriter:
    """Writes the stream of the running job. It is not made durable until `publish`: a torn tail is harmless."""

    def __init__(self, path: Path, registration: bytes) -> None:
        self._path = path
        with writing(str(path)):
            self._file: BinaryIO = open(path, "wb", buffering=1 << 20)  # noqa: SIM115 (closed by __exit__)
            self._file.write(_HEAD.pack(MAGIC, VERSION, registration))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, directory: bytes, entries: Iterable[bytes], listed: Mapping[bytes, Collection[PackId]]) -> None:
        """Append a directory, in walk order, with its encoded entries in name order.

        `listed` gives, for each file whose chunks stand in lists, the packs that hold them: the lists themselves
        cannot be read back here.
        """
        body = b"".join(entries)
        packs = b"".join(_LISTED.pack(len(name), len(ids)) + name + b"".join(ids) for name, ids in listed.items())
        crc = crc32(packs, crc32(body, crc32(directory)))
        with writing(str(self._path)):
            self._file.write(_FRAME.pack(len(directory), len(body), len(packs), crc) + directory)
            self._file.write(body)
            self._file.write(packs)

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


def set_interrupted_aside(partial: Path) -> Path:
    """Return where an interrupted job's history is, moved out of the way of the next one's.

    Of two, the one that saw more is kept: a job that is interrupted early must not cost what an earlier one knew.
    """
    aside = partial.with_suffix(".resumed")
    if partial.exists():
        if not aside.exists() or partial.stat().st_size >= aside.stat().st_size:
            partial.replace(aside)
        else:
            partial.unlink()
    return aside


class HistoryReader:
    """Reads one stream along a walk. A file that is missing or of another registration is an empty history."""

    def __init__(self, path: Path, registration: bytes) -> None:
        self._file: BinaryIO | None = None
        self._pending: tuple[bytes, bytes, bytes] | None = None
        try:
            file = open(path, "rb", buffering=1 << 20)  # noqa: SIM115 (closed by close)
        except FileNotFoundError:
            return
        if file.read(_HEAD.size) == _HEAD.pack(MAGIC, VERSION, registration):
            self._file = file
            self._advance()
        else:
            file.close()

    def entries(self, directory: bytes) -> dict[bytes, bytes]:
        """Return the encoded entries, by name, that a directory had. Ask in walk order."""
        key = walk_key(directory)
        while self._pending is not None and self._pending[0] < key:
            self._advance()
        if self._pending is None or self._pending[0] != key:
            return {}
        try:
            return split_entries(self._pending[1])
        except DataError:
            return {}

    def listed(self) -> dict[bytes, tuple[PackId, ...]]:
        """Return, for the directory last asked for, the packs of each file whose chunks stand in lists."""
        found: dict[bytes, tuple[PackId, ...]] = {}
        rows = b"" if self._pending is None else self._pending[2]
        at = 0
        while at < len(rows):
            name_bytes, count = _LISTED.unpack_from(rows, at)
            start = at + _LISTED.size + name_bytes
            name = rows[start - name_bytes : start]
            at = start + count * HASH_BYTES
            found[name] = tuple([PackId(rows[one : one + HASH_BYTES]) for one in range(start, at, HASH_BYTES)])
        return found

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._pending = None

    def _advance(self) -> None:
        assert self._file is not None
        frame = self._file.read(_FRAME.size)
        self._pending = None
        if len(frame) < _FRAME.size:
            return
        path_bytes, body_bytes, packs_bytes, crc = _FRAME.unpack(frame)
        path, body, packs = (self._file.read(size) for size in (path_bytes, body_bytes, packs_bytes))
        # A torn or damaged tail ends the history here: what follows is looked at anew.
        if len(packs) == packs_bytes and crc32(packs, crc32(body, crc32(path))) == crc:
            self._pending = (walk_key(path), body, packs)
