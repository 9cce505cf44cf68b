import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Refused
from wain.pageblob.layout import BLOB_LIMIT_BYTES, MAX_BLOB_LIMIT_BYTES, Layout, Placement

BLOCK = 4096


def test_packs_lie_end_to_end_and_a_full_blob_opens_the_next():
    layout = Layout(4 * BLOCK)
    places = [layout.place(size * BLOCK) for size in (2, 1, 1, 3, 2)]
    assert places == [
        Placement(0, 0, 2 * BLOCK),
        Placement(0, 2 * BLOCK, BLOCK),
        Placement(0, 3 * BLOCK, BLOCK),
        Placement(1, 0, 3 * BLOCK),
        Placement(2, 0, 2 * BLOCK),
    ]
    assert layout.next == (2, 2 * BLOCK)


def test_going_on_and_skipping():
    layout = Layout(4 * BLOCK, (7, BLOCK))
    assert layout.place(BLOCK) == Placement(7, BLOCK, BLOCK)
    layout.skip()
    assert layout.place(BLOCK) == Placement(8, 0, BLOCK)


@pytest.mark.parametrize("length", [0, -BLOCK, 1, BLOCK + 512, 5 * BLOCK])
def test_lengths_that_cannot_be_placed(length):
    layout = Layout(4 * BLOCK)
    with pytest.raises(Refused):
        layout.place(length)
    assert layout.next == (0, 0)


@pytest.mark.parametrize("limit", [0, 512, BLOCK + 1, MAX_BLOB_LIMIT_BYTES + BLOCK])
def test_limits_that_cannot_be(limit):
    with pytest.raises(Refused):
        Layout(limit)


def test_the_default_limit():
    layout = Layout(next=(0, BLOB_LIMIT_BYTES - BLOCK))
    assert layout.place(BLOCK).blob == 0
    assert layout.place(BLOCK) == Placement(1, 0, BLOCK)
    Layout(MAX_BLOB_LIMIT_BYTES)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 8), max_size=60), st.integers(8, 20))
def test_no_pack_overlaps_or_crosses_a_limit(sizes, limit):
    layout = Layout(limit * BLOCK)
    ends: dict[int, int] = {}
    for size in sizes:
        place = layout.place(size * BLOCK)
        assert place.offset == ends.get(place.blob, 0)
        assert place.end <= limit * BLOCK
        ends[place.blob] = place.end
    assert list(ends) == list(range(len(ends)))
