"""Tidy extents describe the same bytes, and every encoder accepts them."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import TooLarge
from wain.tree import rules
from wain.tree.rules import MAX_EXTENTS, check_extents, tidy_extents


def covered(extents: tuple[tuple[int, int], ...]) -> set[int]:
    return {byte for offset, length in extents for byte in range(offset, offset + length)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12))
def test_tidy_extents_cover_the_same_bytes(cuts: list[int]) -> None:
    found, at = [], 0
    for number, length in enumerate(cuts):
        if number % 2:
            found.append((at, length))
        at += length
    tidy = tidy_extents(found, at)
    if tidy:
        check_extents("a test", tidy, at)
    assert covered(tidy or ((0, at),)) == covered(tuple(found))
    assert tidy == () or tidy_extents(tidy, at) == tidy
    assert all(sum(one) < two[0] for one, two in pairwise(tidy))


def test_dense_holes_and_empty() -> None:
    assert tidy_extents([(0, 9)], 9) == ()
    assert tidy_extents([(0, 4), (4, 5)], 9) == ()
    assert tidy_extents([], 9) == ((9, 0),)
    assert tidy_extents([], 0) == ()
    assert tidy_extents([(0, 2), (2, 0), (2, 2), (8, 1)], 9) == ((0, 4), (8, 1))


def test_too_many_extents_fill_the_smallest_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_EXTENTS", 2)
    assert tidy_extents([(0, 1), (3, 1), (5, 1), (20, 1)], 30) == ((0, 6), (20, 1))


def test_extents_over_the_cap_are_refused() -> None:
    many = [(2 * number, 1) for number in range(MAX_EXTENTS + 1)]
    with pytest.raises(TooLarge):
        check_extents("a test", many, 1 << 40)
    tidy = tidy_extents(many, 1 << 40)
    assert len(tidy) == MAX_EXTENTS
    check_extents("a test", tidy, 1 << 40)
