import itertools
import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.sizes import KIB, MIB
from wain.chunk.cutter import MAX_BYTES, MIN_BYTES, SMALL_BYTES, Cutter

NOISE = memoryview(blake3(b"cutter vector").digest(length=24 * MIB))
SEED = 438565577559935221
# Changing one of these numbers stores every large file of every user anew.
FROZEN = [
    *(1055133, 1798322, 1601329, 2454079, 759621, 1370624, 1690279, 1151243, 1104249),
    *(1538573, 1085587, 1734074, 1690959, 1095271, 1277621, 1027943, 1797896, 933021),
]


def test_cuts_are_frozen():
    assert Cutter(SEED).cut(NOISE, last=True) == FROZEN


def test_another_seed_cuts_elsewhere():
    places = [set(itertools.accumulate(Cutter(seed).cut(NOISE, last=True))) for seed in (SEED, 1, 2**63 - 1)]
    assert places[0] & places[1] & places[2] == {len(NOISE)}


@pytest.mark.parametrize("size", [1, 2, 511 * KIB, SMALL_BYTES])
def test_a_small_file_is_one_chunk(size):
    assert Cutter(SEED).cut(NOISE[:size], last=True) == [size]
    assert Cutter(SEED).cut(NOISE[:size], last=False) == []


def test_nothing_has_no_chunk():
    assert Cutter(SEED).cut(memoryview(b""), last=True) == []
    assert Cutter(SEED).cut(memoryview(b""), last=False) == []


def test_sizes_are_within_bounds():
    lengths = Cutter(7).cut(NOISE, last=True)
    assert all(MIN_BYTES <= length <= MAX_BYTES for length in lengths[:-1])


def test_what_never_cuts_is_cut_at_the_maximum():
    zeros = memoryview(bytes(20 * MIB))
    assert Cutter(1).cut(zeros, last=True) == [MAX_BYTES, MAX_BYTES, 4 * MIB]
    assert Cutter(1).cut(zeros, last=False) == [MAX_BYTES, MAX_BYTES]
    assert Cutter(1).cut(zeros[:MAX_BYTES], last=False) == [MAX_BYTES]
    assert Cutter(1).cut(zeros[: MAX_BYTES - 1], last=False) == []


def stream(cutter: Cutter, body: memoryview, reads: list[int]) -> list[int]:
    """Cut as the pipeline does: windows that grow by each read and begin at the last decided cut."""
    lengths: list[int] = []
    start = end = 0
    for step in itertools.cycle(reads):
        end = min(end + step, len(body))
        last = end == len(body)
        decided = cutter.cut(body[start:end], last=last)
        lengths += decided
        start += sum(decided)
        if last:
            return lengths
    raise AssertionError


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(MIB // 4, 12 * MIB), min_size=1, max_size=5))
def test_the_size_of_reads_changes_nothing(reads):
    assert stream(Cutter(SEED), NOISE, reads) == FROZEN


def test_every_window_end_near_a_cut_decides_alike():
    cut = FROZEN[0]
    for end in range(cut - 3, cut + 4):
        decided = Cutter(SEED).cut(NOISE[:end], last=False)
        assert decided in ([], [cut])
        assert decided == [cut] or end <= cut


def test_a_full_window_always_decides():
    for start in range(0, len(NOISE) - MAX_BYTES, 3 * MIB + 1):
        assert Cutter(3).cut(NOISE[start : start + MAX_BYTES], last=False)


def test_one_cutter_serves_stream_after_stream():
    cutter = Cutter(SEED)
    cutter.cut(NOISE[5 * MIB :], last=False)
    assert cutter.cut(NOISE, last=True) == FROZEN


def test_an_insertion_changes_few_chunks():
    at = random.Random(1).randrange(10 * MIB, 12 * MIB)
    changed = memoryview(bytes(NOISE[:at]) + b"inserted" + bytes(NOISE[at:]))
    before = pieces(NOISE)
    after = pieces(changed)
    assert len(after - before) <= 3


def pieces(body: memoryview) -> set[bytes]:
    ends = list(itertools.accumulate(Cutter(SEED).cut(body, last=True)))
    return {blake3(body[start:end]).digest() for start, end in itertools.pairwise([0, *ends])}
