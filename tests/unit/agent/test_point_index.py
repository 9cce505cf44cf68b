"""The index of a point that is read piece by piece."""

import errno
import os
from dataclasses import dataclass, field
from random import Random

import pytest

from wain.agent import point_index
from wain.agent.point_index import PointIndex
from wain.agent.point_packs import StillTravelling
from wain.base.errors import Corrupt, Missing, OutOfSpace, WainError
from wain.base.ids import ChunkId, PackId, SeedId
from wain.chunk.names import ChunkType
from wain.pack.format import PackedChunk, PackIndex
from wain.pack.index import Location, encode_index
from wain.tree.manifest import PackRef
from wain.wire.vault import Presence

PIECE = 4096
HOMES = [PackId(bytes([number]) * 32) for number in range(1, 6)]
INDEX_PACK = PackId(b"i" * 32)
DICE = Random(8)
ENTRIES = {
    ChunkId(DICE.randbytes(32)): Location(HOMES[number % 5], number % 7, number, 1 + number) for number in range(3000)
}
TABLE = encode_index(ENTRIES.items())
PIECES = {ChunkId(b"%032d" % at): TABLE[at : at + PIECE] for at in range(0, len(TABLE), PIECE)}


@dataclass
class Opened:
    index: PackIndex
    id: PackId


@dataclass
class Packs:
    """Packs that know their chunks; those of the index hold its pieces end to end."""

    travelling: SeedId = field(default=SeedId(b"s" * 16))
    on_the_road: bool = False
    refs: dict[PackId, PackRef] = field(
        default_factory=lambda: (
            {pack: PackRef(pack, ChunkType.DATA, 1) for pack in HOMES}
            | {INDEX_PACK: PackRef(INDEX_PACK, ChunkType.INDEX, 1)}
        )
    )
    opened: list[PackId] = field(default_factory=list)

    def of_kind(self, kind: ChunkType) -> list[PackRef]:
        return [ref for ref in self.refs.values() if ref.kind is kind]

    def presence(self, refs: list[PackRef]) -> list[tuple[PackRef, Presence]]:
        return [(ref, Presence.IN_TRANSIT if self.on_the_road else Presence.IN_VAULT) for ref in refs]

    def reader(self, pack: PackId) -> Opened:
        self.opened.append(pack)
        if pack == INDEX_PACK:
            held = [PackedChunk(chunk, 0, at * PIECE, len(body)) for at, (chunk, body) in enumerate(PIECES.items())]
        else:
            held = [PackedChunk(chunk, at[1], at[2], at[3]) for chunk, at in ENTRIES.items() if at.pack == pack]
        return Opened(PackIndex((), tuple(held)), pack)


@dataclass
class Pieces:
    """Gives pieces, and notes which; `broken` ones raise."""

    given: list[ChunkId] = field(default_factory=list)
    broken: dict[ChunkId, WainError] = field(default_factory=dict)

    def __call__(self, chunk: ChunkId, home: Location | None) -> bytes:
        assert home is not None
        if chunk in self.broken:
            raise self.broken[chunk]
        self.given.append(chunk)
        return PIECES[chunk]


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_index, "IN_MEMORY_BYTES", 0)


def opened(pieces: Pieces, packs: Packs | None = None) -> PointIndex:
    return PointIndex(packs or Packs(), [tuple(PIECES)], pieces)  # type: ignore[arg-type]


def test_one_chunk_takes_few_pieces_and_all_take_each_once() -> None:
    pieces = Pieces()
    index = opened(pieces)
    chunk, home = next(iter(ENTRIES.items()))
    assert index.locate(chunk) == home
    assert len(pieces.given) <= 5 < len(PIECES)
    for each, where in ENTRIES.items():
        assert index.locate(each) == where
    assert sorted(pieces.given) == sorted(PIECES)
    index.load()
    assert len(pieces.given) == len(PIECES)
    assert index.damage == []
    index.close()


def test_what_is_nowhere_is_missing_and_asks_the_packs_once() -> None:
    packs = Packs()
    index = opened(Pieces(), packs)
    for _ in range(3):
        with pytest.raises(Missing):
            index.locate(ChunkId(b"\xff" * 32))
    assert packs.opened == [INDEX_PACK, *HOMES]


@pytest.mark.parametrize("number", range(0, len(PIECES), 7))
def test_a_damaged_piece_is_made_up_for_by_the_packs(number: int) -> None:
    bad = Corrupt("index", "a flipped bit")
    pieces = Pieces(broken={list(PIECES)[number]: bad})
    index = opened(pieces)
    for chunk, home in ENTRIES.items():
        assert index.locate(chunk) == home
    assert index.damage == [bad]


@pytest.mark.parametrize("number", range(0, len(PIECES), 7))
def test_loading_finds_every_damaged_piece(number: int) -> None:
    bad = Corrupt("index", "a flipped bit")
    index = opened(Pieces(broken={list(PIECES)[number]: bad}))
    index.load()
    assert index.damage == [bad]


def test_a_piece_that_is_too_short_is_damage() -> None:
    index = PointIndex(Packs(), [tuple(PIECES)], lambda chunk, _: PIECES[chunk][:-1])  # type: ignore[arg-type]
    assert isinstance(index.damage[0], Corrupt)
    chunk, home = next(iter(ENTRIES.items()))
    assert index.locate(chunk) == home


def test_a_piece_on_the_road_says_so() -> None:
    packs = Packs(on_the_road=True)
    away = StillTravelling(INDEX_PACK, packs.travelling)
    index = opened(Pieces(broken=dict.fromkeys(list(PIECES)[1:-1], away)), packs)
    with pytest.raises(StillTravelling):
        index.locate(next(iter(ENTRIES)))


def test_a_full_scratch_disk_is_said_plainly_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    index = opened(Pieces())
    real = os.pwrite

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    chunk, home = next(iter(ENTRIES.items()))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutOfSpace, match="scratch"):
        index.locate(chunk)
    monkeypatch.setattr(os, "pwrite", real)
    assert index.locate(chunk) == home
    assert index.damage == []
