"""Groups of hard links: the names that were met, the first that was restored, in memory or not."""

import resource
import sqlite3

import pytest

from wain.agent import restore_links
from wain.agent.restore_links import First, LinkGroups
from wain.base.errors import WriteFailed

LARGEST = 2**64 - 1


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> LinkGroups:
    monkeypatch.setattr(restore_links, "KEPT_GROUPS", 8)
    return LinkGroups()


def test_the_first_name_is_no_further_name(groups: LinkGroups) -> None:
    assert [groups.meet(key(1), 3) for _ in range(5)] == [False, True, True, True, True]
    assert groups.first(key(1)) is None
    assert groups.first(key(2)) is None


def test_what_went_out_of_memory_comes_back_whole(groups: LinkGroups) -> None:
    for number in range(100):
        assert not groups.meet(key(number), 3)
        if number % 2:
            groups.restored(key(number), First(b"dir", b"%d" % number, (LARGEST, number)))
    for number in range(100):
        assert groups.meet(key(number), 3)
        first = groups.first(key(number))
        assert first == (First(b"dir", b"%d" % number, (LARGEST, number)) if number % 2 else None)
    for number in range(0, 100, 2):
        groups.restored(key(number), First(b"late", b"", (0, LARGEST)))
    assert groups.first(key(2)) == First(b"late", b"", (0, LARGEST))


def test_nothing_is_kept_of_what_was_met_in_full(groups: LinkGroups) -> None:
    for number in range(100):
        groups.meet(key(number), 2)
        groups.meet(key(number), 2)
    assert len(groups._groups) <= 8
    assert groups._spilled is None
    groups.close()
    groups.close()


def test_no_room_for_temporary_files_is_said(groups: LinkGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", connect)
    for number in range(8):
        groups.meet(key(number), 2)
    with pytest.raises(WriteFailed, match="hard links"):
        groups.meet(key(8), 2)


def test_memory_stays_flat() -> None:
    groups = LinkGroups()
    name = b"n" * 100
    grown = []
    for number in range(240_000):
        groups.meet(key(number), 2)
        groups.restored(key(number), First(b"some/directory", name + b"%d" % number, (number, number)))
        if number % 120_000 == 119_999:
            grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert grown[1] - grown[0] < 4096, "KiB"
    assert groups.first(key(7)) == First(b"some/directory", name + b"7", (7, 7))
