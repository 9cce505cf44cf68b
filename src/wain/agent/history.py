"""What earlier walks saw: `last.tree` of the last job, and `partial.tree` of a job that was interrupted.

Both are local streams of directories in walk order, each with its encoded entries (all but subdirectories), so that an
unchanged file is recognised and taken over without decoding or reading it; and with the packs that hold the content of
all of them, so that a whole unchanged directory is. Losing them costs reading, never content. Layout: agent/FORMAT.md.
"""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self
from zlib import crc32

from wain.agent.history_needs import NO_PLACES, Places, encode_needs, encode_places, read_places, resolve_needs
from wain.agent.pipeline import Needs
from wain.base.errors import DataError
from wain.base.ids import HASH_BYTES, PackId
from wain.storage.durable import fsync_dir, write_all, writing
from wain.tree.compare import split_entries
from wain.tree.format import entry_name

HISTORY_MAGIC: Final = b"WAINHIST"
HISTORY_VERSION: Final = 3
READABLE_VERSIONS: Final = (2, HISTORY_VERSION)
HISTORY_HEADER_BYTES: Final = 26
FRAME_HEADER_BYTES: Final = 20
FRAME_BYTES: Final = 4 << 20
"""A directory with more bytes of entries than this takes several frames."""
_HEAD: Final = struct.Struct("<8sH16s")
_FRAME: Final = struct.Struct("<IIIII")
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

    def add(self, directory: bytes, remembered: "Remembered") -> None:
        """Append a directory, in walk order, or the next part of one, in the order of its names."""
        needs = encode_needs(remembered.needs)
        for body, listed in _frames(remembered):
            packs = b"".join(_LISTED.pack(len(name), len(ids)) + name + b"".join(ids) for name, ids in listed.items())
            crc = crc32(needs, crc32(packs, crc32(body, crc32(directory))))
            head = _FRAME.pack(len(directory), len(body), len(packs), len(needs), crc)
            with writing(str(self._path)):
                self._file.write(b"".join((head, directory, body, packs, needs)))

    def publish(self, final: Path, segment_packs: Sequence[PackId | None]) -> None:
        """Make the closed stream durable under its final name. `segment_packs` says where the job's segments lie."""
        with writing(str(final)):
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                write_all(fd, encode_places(segment_packs), os.fstat(fd).st_size)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(self._path, final)
            fsync_dir(final.parent)


def _frames(remembered: "Remembered") -> Iterator[tuple[bytes, Mapping[bytes, Sequence[PackId]]]]:
    """Yield the entries end to end, in one piece or in pieces of about `FRAME_BYTES`, each with the packs it lists."""
    entries, listed = remembered.entries, remembered.listed
    whole = b"".join(entries)
    if len(whole) <= FRAME_BYTES:
        yield whole, listed
        return
    del whole
    first = size = 0
    for number, encoded in enumerate(entries, 1):
        size += len(encoded)
        if size >= FRAME_BYTES or number == len(entries):
            piece = entries[first:number]
            names = set(map(entry_name, piece)) if listed else set()
            yield b"".join(piece), {name: ids for name, ids in listed.items() if name in names}
            first, size = number, 0


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
class Remembered:
    """What is kept of one directory, or of a part of it."""

    entries: list[bytes]
    """Encoded entries, in name order."""
    listed: Mapping[bytes, Sequence[PackId]]
    """For each file whose chunks stand in lists, the packs that hold them: the lists cannot be read back here."""
    needs: Needs | None
    """Where the content of exactly these entries lies; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a walk saw in one directory, or in a part of it."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    """Encoded entries by name, in the order of the names."""
    listed: dict[bytes, tuple[PackId, ...]] = field(default_factory=dict)
    """The packs of each file whose chunks stand in lists."""
    packs: frozenset[PackId] | None = None
    """All packs that the content of all entries lies in; None when that is not known."""


NOTHING: Final = Seen()


class HistoryReader:
    """Reads one stream along a walk.

    A file that is missing, of another registration, or that cannot be read is an empty history; what follows a torn or
    damaged frame is not believed.
    """

    def __init__(self, path: Path, registration: bytes) -> None:
        self._file: BinaryIO | None = None
        self._left = 0
        self._pending: _Frame | None = None
        self._places: Places = NO_PLACES
        self._key = b""
        try:
            self._file = open(path, "rb", buffering=1 << 20)  # noqa: SIM115 (closed by close)
            self._places = read_places(self._file)
            self._left = os.fstat(self._file.fileno()).st_size - _HEAD.size - self._places.stored_bytes
            self._file.seek(0)
            head = self._file.read(_HEAD.size)
        except OSError:
            self.close()
            return
        if head in [_HEAD.pack(HISTORY_MAGIC, version, registration) for version in READABLE_VERSIONS]:
            self._advance()
        else:
            self.close()

    def seen(self, directory: bytes) -> Seen:
        """Return what the directory held, or the first part of it, when it held much. Ask in walk order."""
        pending = self._pending
        if pending is None:
            return NOTHING
        self._key = walk_key(directory)
        while pending is not None and pending.key < self._key:
            pending = self._advance()
        return self.next_part()

    @property
    def more(self) -> bool:
        """True when a further part of the directory that was asked for last follows."""
        return self._pending is not None and self._pending.key == self._key

    def next_part(self) -> Seen:
        """Return the next part of the directory that was asked for last; nothing when there is none."""
        pending = self._pending
        if pending is None or pending.key != self._key:
            return NOTHING
        self._advance()
        try:
            return Seen(
                split_entries(pending.entries),
                _decode_listed(pending.listed),
                resolve_needs(pending.needs, self._places),
            )
        except (DataError, struct.error):
            return NOTHING

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._pending = None

    def _advance(self) -> "_Frame | None":
        assert self._file is not None
        self._pending = None
        try:
            frame = self._file.read(_FRAME.size)
            if len(frame) < _FRAME.size:
                return None
            path_bytes, body_bytes, packs_bytes, needs_bytes, crc = _FRAME.unpack(frame)
            size = path_bytes + body_bytes + packs_bytes + needs_bytes
            self._left -= _FRAME.size + size
            if self._left < 0 or not path_bytes:
                return None  # Zeros, which a power cut may leave, are no frame.
            whole = self._file.read(size)
        except OSError:
            return None
        # A torn or damaged tail ends the history here: what follows is looked at anew.
        if len(whole) == size and crc32(whole) == crc:
            listed_at = path_bytes + body_bytes
            needs_at = listed_at + packs_bytes
            self._pending = _Frame(
                walk_key(whole[:path_bytes]),
                whole[path_bytes:listed_at],
                whole[listed_at:needs_at],
                whole[needs_at:],
            )
        return self._pending


class _Frame(NamedTuple):
    """One frame as it was read: the directory's place in the walk, and three parts that are decoded when asked for."""

    key: bytes
    entries: bytes
    listed: bytes
    needs: bytes


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
