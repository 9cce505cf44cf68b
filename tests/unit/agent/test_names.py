"""Names sorted on disk: any order, any bytes, any number of listings, with limits of two and three names."""

import os
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wain.agent import names as module
from wain.agent.names import NameQueue, NameSorter

EVERY_BYTE = [bytes([byte]) for byte in range(1, 256) if byte != ord("/")]
NAMES = st.binary(min_size=1, max_size=5).map(lambda name: name.replace(b"\0", b"\1").replace(b"/", b"0"))


@pytest.fixture(params=[(2, 2), (3, 2), (3, 1), (2, 100), (1, 1), (100, 3)], ids=str)
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SORTED_NAMES", request.param[0])
    monkeypatch.setattr(module, "BLOCK_NAMES", request.param[1])


def sort(where: Path, *listings: Iterable[bytes]) -> tuple[list[bytes], set[bytes]]:
    sorter = NameSorter(where)
    for listing in listings:
        sorter.begin()
        for name in listing:
            sorter.add(name)
    batches = list(sorter.batches())
    sorter.close()
    assert all(batch.names for batch in batches)
    return [name for one in batches for name in one.names], {name for one in batches for name in one.newest}


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 50])
def test_names_come_sorted(tmp_path: Path, count: int) -> None:
    given_names = [b"%03d" % number for number in range(count)]
    random.Random(count).shuffle(given_names)
    assert sort(tmp_path, given_names) == (sorted(given_names), set(given_names))


@pytest.mark.usefixtures("limits")
def test_names_of_every_byte_and_of_every_length(tmp_path: Path) -> None:
    given_names = EVERY_BYTE + [b"\xff" * length for length in range(2, 256)] + [b"a\nb", b"\x01\x01"]
    random.Random(1).shuffle(given_names)
    assert sort(tmp_path, given_names)[0] == sorted(given_names)


@pytest.mark.usefixtures("limits")
def test_listings_are_joined_and_the_newest_is_known(tmp_path: Path) -> None:
    first, second, third = [b"c", b"a", b"b", b"a"], [b"d", b"a"], [b"e", b"a", b"c"]
    assert sort(tmp_path, first, second, third) == ([b"a", b"b", b"c", b"d", b"e"], {b"a", b"c", b"e"})
    assert sort(tmp_path, first, []) == ([b"a", b"b", b"c"], set())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(NAMES, max_size=12), max_size=3), st.integers(1, 4), st.integers(1, 3))
def test_it_is_the_same_as_sorting_in_memory(
    tmp_path: Path, listings: list[list[bytes]], kept: int, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SORTED_NAMES", kept)
        patch.setattr(module, "BLOCK_NAMES", block)
        everything = {name for listing in listings for name in listing}
        assert sort(tmp_path, *listings) == (sorted(everything), set(listings[-1]) if listings else set())


def test_few_names_make_no_file(tmp_path: Path) -> None:
    assert sort(tmp_path / "never made", [b"b", b"a"])[0] == [b"a", b"b"]
    assert not (tmp_path / "never made").exists()


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 50])
def test_a_queue_gives_back_in_order(tmp_path: Path, count: int) -> None:
    queue = NameQueue(tmp_path)
    wanted = [b"%d\xff" % number for number in range(count)]
    for name in wanted:
        queue.add(name)
    got = []
    while queue:
        got.append(queue.pop())
    assert got == wanted
    assert not queue


@pytest.mark.usefixtures("limits")
def test_a_queue_that_is_cleared_gives_its_room_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    queue = NameQueue(tmp_path)
    for number in range(20):
        queue.add(b"%d" % number)
    queue.pop()
    queue.clear()
    assert not queue
    assert len(os.listdir("/proc/self/fd")) == before
