"""Where the bytes of a file lie."""

from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.agent.points import stat
from wain.agent import file_ranges
from wain.agent.file_ranges import HOLE, ChunkMap, Layout
from wain.agent.point_packs import StillTravelling
from wain.base.errors import Corrupt, Missing
from wain.base.ids import NO_SEED, ChunkId, PackId
from wain.pack.index import Location
from wain.tree.entry import Content, Entry, Kind
from wain.tree.rules import tidy_extents

PACK = PackId(bytes(32))


def sparse(size: int, extents: tuple[tuple[int, int], ...]) -> Layout:
    return Layout(Entry(b"f", Kind.FILE, stat(size), Content((), extents)))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=6), st.integers(0, 9), st.data())
def test_runs_rebuild_the_file(gaps: list[tuple[int, int]], tail: int, data: st.DataObject) -> None:
    found, at, whole = [], 0, bytearray()
    for gap, length in gaps:
        found.append((at + gap, length))
        whole += bytes(gap) + bytes(range(1 + len(whole), 1 + len(whole) + length))
        at += gap + length
    whole += bytes(tail)
    extents = tidy_extents(found, len(whole))
    layout = sparse(len(whole), extents)
    held = b"".join(whole[offset : offset + length] for offset, length in extents) if extents else bytes(whole)
    assert layout.data_bytes == len(held)
    offset, length = data.draw(st.integers(0, len(whole) + 3)), data.draw(st.integers(0, len(whole) + 3))
    got = b"".join(
        bytes(run.length) if run.data == HOLE else held[run.data : run.data + run.length]
        for run in layout.runs(offset, length)
    )
    assert got == bytes(whole[offset : offset + length])
    in_data = {place for start, size in (extents or ((0, len(whole)),)) for place in range(start, start + size)}
    places = range(offset, len(whole))
    assert layout.next_data(offset) == next((place for place in places if place in in_data), None)
    hole = next((place for place in places if place not in in_data), len(whole))
    assert layout.next_hole(offset) == (hole if offset < len(whole) else None)


def test_a_file_that_is_one_hole_and_one_that_is_empty() -> None:
    hole = sparse(1 << 50, ((1 << 50, 0),))
    assert (hole.data_bytes, hole.next_data(0), hole.next_hole(7)) == (0, None, 7)
    assert list(hole.runs(5, 10)) == [(HOLE, 10)]
    empty = sparse(0, ())
    assert (list(empty.runs(0, 10)), empty.next_data(0), empty.next_hole(0)) == ([], None, None)


# Chunks


def chunk(number: int) -> ChunkId:
    return ChunkId(number.to_bytes(32, "big"))


class Index:
    """Lengths of chunks by number, and what was asked for."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self.asked = 0
        self.lists: list[int] = []

    def locate(self, one: ChunkId) -> Location:
        self.asked += 1
        number = int.from_bytes(one, "big")
        if self.lengths[number] < 0:
            raise Missing("a chunk") if self.lengths[number] == -1 else StillTravelling(PACK, NO_SEED)
        return Location(PACK, 0, 0, self.lengths[number])

    def read_list(self, one: ChunkId) -> Sequence[ChunkId]:
        number = int.from_bytes(one, "big")
        self.lists.append(number)
        return [chunk(each) for each in range(len(self.lengths))[number * 3 : number * 3 + 3]]

    def plain(self, data_bytes: int | None = None) -> ChunkMap:
        content = Content(tuple(map(chunk, range(len(self.lengths)))))
        return ChunkMap(content, sum(self.lengths) if data_bytes is None else data_bytes, self.locate, self.read_list)

    def listed(self, data_bytes: int | None = None) -> ChunkMap:
        content = Content(tuple(map(chunk, range(-(-len(self.lengths) // 3)))), listed=True)
        return ChunkMap(content, sum(self.lengths) if data_bytes is None else data_bytes, self.locate, self.read_list)


def parts(found: ChunkMap, start: int, end: int) -> list[tuple[int, int, int]]:
    return [(int.from_bytes(part.chunk, "big"), part.start, part.end) for part in found.parts(start, end)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.booleans(), st.data())
def test_parts_are_the_range(lengths: list[int], listed: bool, data: st.DataObject) -> None:
    index = Index(lengths)
    starts = [0, *accumulate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_ranges, "LIST_CHUNKS", 4)
        patch.setattr(file_ranges, "KEPT_BLOCKS", 2)
        found = index.listed() if listed else index.plain()
        for _ in range(4):
            start = data.draw(st.integers(0, sum(lengths)))
            end = data.draw(st.integers(start, sum(lengths)))
            places = [starts[number] + at for number, low, high in parts(found, start, end) for at in range(low, high)]
            assert places == list(range(start, end))


def test_lists_are_read_when_they_are_needed_and_few_are_kept() -> None:
    index = Index([1] * 30)
    found = index.listed()
    assert parts(found, 0, 1) == [(0, 0, 1)]
    assert index.lists == [0]
    parts(found, 14, 16)
    assert index.lists == [0, 1, 2, 3, 4, 5]
    parts(found, 12, 15)
    assert index.lists == [0, 1, 2, 3, 4, 5]  # Kept.
    parts(found, 0, 1)
    assert index.lists == [0, 1, 2, 3, 4, 5, 0]  # Given up meanwhile, and not all those between are read again.


@pytest.mark.parametrize("claimed", [5, 7])
def test_chunks_that_do_not_add_up_are_damage(claimed: int) -> None:
    for found in (Index([2, 2, 2]).plain(claimed), Index([2, 2, 2]).listed(claimed)):
        with pytest.raises(Corrupt, match=f"hold 6 bytes where it has {claimed}"):
            parts(found, 0, claimed)


@pytest.mark.parametrize(("length", "error"), [(-1, Missing), (-2, StillTravelling)])
def test_what_lies_before_an_unknown_chunk_can_be_read(length: int, error: type[Exception]) -> None:
    for found in (Index([2, 2, length, 2]).plain(8), Index([2, 2, length, 2]).listed(8)):
        assert parts(found, 1, 4) == [(0, 1, 2), (1, 0, 2)]
        for _ in range(2):
            with pytest.raises(error):
                parts(found, 3, 5)


def test_a_file_without_chunks_that_has_bytes_is_damage() -> None:
    with pytest.raises(Corrupt, match="hold 0 bytes where it has 3"):
        parts(Index([]).plain(3), 0, 3)
