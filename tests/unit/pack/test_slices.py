"""Slices of all packs: disjoint, complete, and the same whatever other packs there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wain.base.errors import Refused
from wain.base.ids import PackId
from wain.pack.slices import MOST_SLICES, WHOLE, Slice, is_slice, parse_slice

PACKS = st.frozensets(st.binary(min_size=32, max_size=32).map(PackId), max_size=200)
TOTALS = st.integers(1, 40)


def held(packs: frozenset[PackId], total: int) -> list[frozenset[PackId]]:
    return [frozenset(filter(Slice(n, total).holds, packs)) for n in range(1, total + 1)]


@given(PACKS, TOTALS)
def test_slices_are_everything_and_do_not_overlap(packs: frozenset[PackId], total: int) -> None:
    slices = held(packs, total)
    assert frozenset().union(*slices) == packs
    assert sum(map(len, slices)) == len(packs)


@given(PACKS, PACKS, TOTALS)
def test_a_pack_stays_in_its_slice_when_others_come_and_go(
    before: frozenset[PackId], later: frozenset[PackId], total: int
) -> None:
    for old, new in zip(held(before, total), held(before | later, total), strict=True):
        assert new & before == old


@given(PACKS, PACKS, st.integers(1, 12))
def test_a_round_of_runs_reads_all_that_was_there_at_its_beginning(
    packs: frozenset[PackId], added: frozenset[PackId], total: int
) -> None:
    """Packs come between the runs; what comes late is read in this round or in the next."""
    coming = iter(added)
    there, read = set(packs), []
    for n in range(1, total + 1):
        read += filter(Slice(n, total).holds, there)
        there.update(pack for pack, _ in zip(coming, range(7), strict=False))
    assert packs <= set(read)
    assert len(set(read)) == len(read)


def test_the_whole_is_one_slice() -> None:
    assert WHOLE.holds(PackId(bytes(32)))
    assert WHOLE.holds(PackId(b"\xff" * 32))


@pytest.mark.parametrize("text", ["1/1", "3/10", "65536/65536"])
def test_slices_as_people_write_them(text: str) -> None:
    assert is_slice(text)
    found = parse_slice(text)
    assert f"{found.n}/{found.t}" == text


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", f"1/{MOST_SLICES + 1}", "3", "a/b", "-1/3", "1/2/3", "", "1 /2"])
def test_what_is_no_slice_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not a slice"):
        parse_slice(text)
