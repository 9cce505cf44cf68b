"""Which packs the content of a remembered directory lies in (agent/FORMAT.md, "Needs" and "Tail").

While a job runs nobody knows which pack a segment will be in, so a directory's frame names segments by their ordinal.
The stream's tail, written when the job is done, says where each segment went.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final
from zlib import crc32

from wain.agent.pipeline import Needs
from wain.base.ids import HASH_BYTES, PackId

PLACES_MAGIC: Final = b"WAINHEND"
PLACES_VERSION: Final = 1
PLACES_FIXED_BYTES: Final = 22
MAX_RUNS: Final = 1 << 24
MAX_PLACE_PACKS: Final = 1 << 22
NOWHERE: Final = (1 << 32) - 1
"""The pack number of segments that went into no pack that is known."""
_END: Final = struct.Struct("<8sHIII")
_COUNTS: Final = struct.Struct("<II")
_PAIR: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the segments of a finished job went: run n begins with segment `first[n]` and lies in one pack."""

    first: "array[int]"
    pack: "array[int]"
    packs: tuple[PackId, ...]
    stored_bytes: int
    """What the tail occupies in the file."""

    def packs_of(self, start: int, count: int) -> Iterator[PackId | None]:
        """Yield the packs of a run of segments; None for each that is not known."""
        at, end = bisect_right(self.first, start) - 1, start + count
        if at < 0:
            yield None
            return
        while at < len(self.first) and self.first[at] < end:
            number = self.pack[at]
            yield self.packs[number] if number < len(self.packs) else None
            at += 1


NO_PLACES: Final = Places(array("I"), array("I"), (), 0)


def encode_needs(needs: Needs | None) -> bytes:
    """Return the needs of a directory as its frame holds them; nothing when they are not known."""
    if needs is None:
        return b""
    runs = list(_runs(sorted(needs.segments)))
    packs = sorted(needs.packs)
    return b"".join((_COUNTS.pack(len(packs), len(runs)), *packs, *(_PAIR.pack(*run) for run in runs)))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of runs of successive numbers, which come ascending."""
    first = count = 0
    for number in numbers:
        if count and number == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = number, 1
    if count:
        yield first, count


def resolve_needs(stored: bytes, places: Places) -> frozenset[PackId] | None:
    """Return the packs that a frame's needs stand for; None when one is not known.

    Raises:
        struct.error: these are no needs.
    """
    if not stored:
        return None
    packs, runs = _COUNTS.unpack_from(stored)
    at = _COUNTS.size + packs * HASH_BYTES
    found: set[PackId | None] = {PackId(stored[one : one + HASH_BYTES]) for one in range(_COUNTS.size, at, HASH_BYTES)}
    for number in range(runs):
        found.update(places.packs_of(*_PAIR.unpack_from(stored, at + number * _PAIR.size)))
    known = frozenset(pack for pack in found if pack is not None)
    return known if len(known) == len(found) else None


def encode_places(segment_packs: Sequence[PackId | None]) -> bytes:
    """Return the tail of a stream: `segment_packs` gives the pack of each segment, by its ordinal."""
    numbers: dict[PackId, int] = {}
    runs: list[bytes] = []
    last: PackId | int | None = 0
    for ordinal, pack in enumerate(segment_packs):
        if pack != last:
            number = NOWHERE if pack is None else numbers.setdefault(pack, len(numbers))
            runs.append(_PAIR.pack(ordinal, number))
            last = pack
    runs.append(_PAIR.pack(len(segment_packs), NOWHERE))  # What comes behind the last segment is nowhere.
    body = b"".join((*numbers, *runs))
    return body + _END.pack(PLACES_MAGIC, PLACES_VERSION, len(numbers), len(runs), crc32(body))


def read_places(file: BinaryIO) -> Places:
    """Read the tail of a stream; without a whole one nothing is known. Raises `OSError`."""
    size = file.seek(0, 2)
    if size < _END.size:
        return NO_PLACES
    file.seek(size - _END.size)
    magic, version, packs, runs, crc = _END.unpack(file.read(_END.size))
    stored = packs * HASH_BYTES + runs * _PAIR.size
    ours = (magic, version) == (PLACES_MAGIC, PLACES_VERSION)
    if not ours or packs > MAX_PLACE_PACKS or runs > MAX_RUNS or stored > size - _END.size:
        return NO_PLACES
    file.seek(size - _END.size - stored)
    body = file.read(stored)
    if len(body) != stored or crc32(body) != crc:
        return NO_PLACES
    middle = packs * HASH_BYTES
    pairs = array("I", body[middle:])
    ids = tuple(PackId(body[at : at + HASH_BYTES]) for at in range(0, middle, HASH_BYTES))
    return Places(pairs[0::2], pairs[1::2], ids, stored + _END.size)
