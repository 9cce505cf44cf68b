"""Histories: walk order, torn tails, zeros, damage: a history that lies costs reading, never content."""

import io
import os
import struct
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wain.agent import history
from wain.agent.history import NOTHING, HistoryReader, HistoryWriter, Remembered, Seen, set_interrupted_aside, walk_key
from wain.agent.history_needs import encode_needs, encode_places, read_places, resolve_needs
from wain.agent.pipeline import Needs
from wain.base.errors import WriteFailed
from wain.base.ids import PackId
from wain.tree.entry import Entry, Kind, Stat
from wain.tree.format import encode_entry

RID = b"registration 16b"
DIRECTORIES = [b"/", b"/a", b"/a/b", b"/a b", b"/a-b", b"/b"]


def entry(name: bytes) -> bytes:
    return encode_entry(Entry(name, Kind.FIFO, Stat(0o600, 0, 0, 0, 1, 2, 3, 0, 1)))


def write(path: Path, directories: list[bytes] = DIRECTORIES, names: int = 3) -> None:
    with HistoryWriter(path, RID) as record:
        for directory in directories:
            entries = [entry(b"%d of %s" % (number, directory.replace(b"/", b"|"))) for number in range(names)]
            record.add(directory, Remembered(entries, {}, None))


def test_directories_are_in_walk_order() -> None:
    assert sorted(DIRECTORIES, key=walk_key) == DIRECTORIES


def test_what_was_written_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "h")
    reader = HistoryReader(tmp_path / "h", RID)
    for directory in DIRECTORIES:
        assert len(reader.seen(directory).entries) == 3
    reader.close()


def test_directories_that_come_and_go_do_not_disturb_the_others(tmp_path: Path) -> None:
    write(tmp_path / "h", [b"/", b"/a", b"/c", b"/d"])
    reader = HistoryReader(tmp_path / "h", RID)
    seen = {directory: len(reader.seen(directory).entries) for directory in (b"/", b"/a", b"/b", b"/d", b"/e")}
    assert seen == {b"/": 3, b"/a": 3, b"/b": 0, b"/d": 3, b"/e": 0}


def test_packs_of_listed_files(tmp_path: Path) -> None:
    packs = (PackId(b"p" * 32), PackId(b"q" * 32))
    with HistoryWriter(tmp_path / "h", RID) as record:
        record.add(b"/", Remembered([entry(b"x")], {b"x": packs, b"y": ()}, None))
    assert HistoryReader(tmp_path / "h", RID).seen(b"/").listed == {b"x": packs, b"y": ()}


def all_parts(reader: HistoryReader, directory: bytes) -> list[Seen]:
    parts = [reader.seen(directory)]
    while reader.more:
        parts.append(reader.next_part())
    return parts


def test_a_huge_directory_takes_several_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the needs of all, and of the packs of listed files those of its own."""
    monkeypatch.setattr(history, "FRAME_BYTES", 1000)
    names = [b"%05d" % number for number in range(100)]
    packs = {name: (PackId(b"p" * 32),) for name in (names[0], names[50], names[99])}
    with HistoryWriter(tmp_path / "h", RID) as record:
        record.add(b"/", Remembered([entry(name) for name in names], packs, Needs({PackId(b"q" * 32)}, set())))
        record.add(b"/b", Remembered([entry(b"x")], {}, None))
    reader = HistoryReader(tmp_path / "h", RID)
    parts = all_parts(reader, b"/")
    assert [name for part in parts for name in part.entries] == names
    assert len(parts) > 5
    assert {name: ids for part in parts for name, ids in part.listed.items()} == packs
    assert all(set(part.listed) <= set(part.entries) and part.packs == {b"q" * 32} for part in parts)
    assert not reader.more
    assert reader.next_part() is NOTHING
    assert list(reader.seen(b"/b").entries) == [b"x"]


def test_what_is_left_of_a_huge_directory_is_passed_over(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h", RID) as record:
        for number in range(4):
            record.add(b"/a", Remembered([entry(b"%d" % number)], {}, None))
        record.add(b"/b", Remembered([entry(b"x")], {}, None))
    reader = HistoryReader(tmp_path / "h", RID)
    assert list(reader.seen(b"/a").entries) == [b"0"]
    assert list(reader.next_part().entries) == [b"1"]
    assert reader.more
    assert list(reader.seen(b"/b").entries) == [b"x"]
    assert not reader.more


def test_a_history_of_version_2_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the first frame of a huge directory speaks for all of them, and the others of nothing but entries."""
    with monkeypatch.context() as patch:
        patch.setattr(history, "HISTORY_VERSION", 2)
        needs = Needs({PackId(b"q" * 32)}, set())
        with HistoryWriter(tmp_path / "h", RID) as record:
            record.add(b"/", Remembered([entry(b"a")], {b"b": (PackId(b"p" * 32),)}, needs))
            record.add(b"/", Remembered([entry(b"b")], {}, None))
    first, second = all_parts(HistoryReader(tmp_path / "h", RID), b"/")
    assert (list(first.entries), first.packs) == ([b"a"], {b"q" * 32})
    assert (list(second.entries), second.packs, second.listed) == ([b"b"], None, {})


def test_another_registrations_history_is_none(tmp_path: Path) -> None:
    write(tmp_path / "h")
    assert HistoryReader(tmp_path / "h", b"another registra").seen(b"/").entries == {}
    assert HistoryReader(tmp_path / "missing", RID).seen(b"/").entries == {}
    assert HistoryReader(tmp_path, RID).seen(b"/").entries == {}, "a directory cannot be read: no reason to fail"


@pytest.mark.parametrize("keep", range(0, 900, 37))
def test_any_prefix_is_a_history(tmp_path: Path, keep: int) -> None:
    write(tmp_path / "h")
    body = (tmp_path / "h").read_bytes()[:keep]
    (tmp_path / "h").write_bytes(body)
    reader = HistoryReader(tmp_path / "h", RID)
    found = [len(reader.seen(directory).entries) for directory in DIRECTORIES]
    assert sorted(found, reverse=True) == found
    assert set(found) <= {0, 3}


def test_zeros_that_a_power_cut_left_are_no_history(tmp_path: Path) -> None:
    write(tmp_path / "h", [b"/"])
    with open(tmp_path / "h", "ab") as file:
        file.write(bytes(100_000))
    reader = HistoryReader(tmp_path / "h", RID)
    assert len(reader.seen(b"/").entries) == 3
    assert reader._pending is None


def test_a_frame_that_claims_gigabytes_allocates_nothing(tmp_path: Path) -> None:
    write(tmp_path / "h", [b"/"])
    with open(tmp_path / "h", "ab") as file:
        file.write(struct.pack("<IIII", 2, 0xFFFFFFF0, 0xFFFFFFF0, 0) + b"/a")
    reader = HistoryReader(tmp_path / "h", RID)
    assert len(reader.seen(b"/").entries) == 3
    assert reader.seen(b"/a").entries == {}


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    write(tmp_path / "h", [b"/", b"/a"], names=1)
    good = (tmp_path / "h").read_bytes()
    whole = {directory: HistoryReader(tmp_path / "h", RID).seen(directory).entries for directory in (b"/", b"/a")}
    for at in range(len(good)):
        body = bytearray(good)
        body[at] ^= 0x10
        (tmp_path / "h").write_bytes(body)
        reader = HistoryReader(tmp_path / "h", RID)
        for directory in (b"/", b"/a"):
            assert reader.seen(directory).entries in ({}, whole[directory])


def test_a_frame_whose_entries_make_no_sense_is_nothing(tmp_path: Path) -> None:
    write(tmp_path / "h", [b"/"])
    body = b"\xff" * 40
    with open(tmp_path / "h", "ab") as file:
        file.write(struct.pack("<IIII", 2, len(body), 0, crc32(b"/a" + body)) + b"/a" + body)
    reader = HistoryReader(tmp_path / "h", RID)
    assert reader.seen(b"/a").entries == {}


def test_of_two_interrupted_histories_the_one_that_saw_more_is_kept(tmp_path: Path) -> None:
    partial = tmp_path / "partial.tree"
    write(partial)
    aside = set_interrupted_aside(partial)
    long = aside.read_bytes()
    write(partial, [b"/"])
    assert set_interrupted_aside(partial) == aside
    assert aside.read_bytes() == long
    assert not partial.exists()
    write(partial, [*DIRECTORIES, b"/c"])
    assert set_interrupted_aside(partial).read_bytes() != long


def test_publishing_replaces_the_last_history(tmp_path: Path) -> None:
    write(tmp_path / "last", [b"/"])
    record = HistoryWriter(tmp_path / "partial", RID)
    with record:
        record.add(b"/", Remembered([], {}, None))
    record.publish(tmp_path / "last", [])
    assert sorted(os.listdir(tmp_path)) == ["last"]
    assert HistoryReader(tmp_path / "last", RID).seen(b"/").entries == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_never_a_bare_os_error(tmp_path: Path) -> None:
    from wain.base.errors import OutOfSpace  # noqa: PLC0415

    with pytest.raises((OutOfSpace, WriteFailed)), HistoryWriter(Path("/dev/full"), RID) as record:
        record.add(b"/", Remembered([entry(b"x")], {}, None))


class TestNeeds:
    """Which packs an unchanged directory needs is known from the history alone, or not at all."""

    P, Q = PackId(b"p" * 32), PackId(b"q" * 32)

    def kept(self, path: Path, needs: Needs | None, packs: list[PackId | None]) -> frozenset[PackId] | None:
        with HistoryWriter(path, RID) as record:
            record.add(b"/", Remembered([entry(b"x")], {}, needs))
        record.publish(path.with_suffix(".last"), packs)
        reader = HistoryReader(path.with_suffix(".last"), RID)
        seen = reader.seen(b"/")
        assert list(seen.entries) == [b"x"]
        assert reader.seen(b"/z").entries == {}
        reader.close()
        return seen.packs

    def test_packs_and_segments_are_packs_in_the_end(self, tmp_path: Path) -> None:
        places = [self.P, self.P, self.Q, self.P]
        assert self.kept(tmp_path / "h", Needs({self.Q}, {0, 1}), places) == {self.P, self.Q}
        assert self.kept(tmp_path / "h", Needs(set(), {1, 2}), places) == {self.P, self.Q}
        assert self.kept(tmp_path / "h", Needs(set(), {3}), places) == {self.P}
        assert self.kept(tmp_path / "h", Needs(), places) == frozenset()

    def test_what_is_not_known_is_not_guessed(self, tmp_path: Path) -> None:
        assert self.kept(tmp_path / "h", None, [self.P]) is None
        assert self.kept(tmp_path / "h", Needs({self.Q}, {1}), [self.P, None]) is None
        assert self.kept(tmp_path / "h", Needs({self.Q}, {0, 4}), [self.P]) is None, "a segment beyond the last"
        assert self.kept(tmp_path / "h", Needs(set(), {0}), []) is None

    def test_an_interrupted_job_knows_only_what_lay_in_packs_before(self, tmp_path: Path) -> None:
        with HistoryWriter(tmp_path / "h", RID) as record:
            record.add(b"/", Remembered([entry(b"x")], {}, Needs({self.P}, {0})))
            record.add(b"/a", Remembered([entry(b"x")], {}, Needs({self.P}, set())))
        reader = HistoryReader(tmp_path / "h", RID)
        assert reader.seen(b"/").packs is None
        assert reader.seen(b"/a").packs == {self.P}

    @pytest.mark.parametrize("at", range(1, 120, 7))
    def test_a_flipped_bit_in_the_tail_costs_knowledge_never_truth(self, tmp_path: Path, at: int) -> None:
        self.kept(tmp_path / "h", Needs({self.Q}, {0, 1, 2}), [self.P, self.Q, self.P])
        path = tmp_path / "h.last"
        body = bytearray(path.read_bytes())
        body[-at] ^= 4
        path.write_bytes(body)
        assert HistoryReader(path, RID).seen(b"/").packs in (None, {self.P, self.Q})

    @given(st.lists(st.sampled_from([P, Q, None]), max_size=30), st.sets(st.integers(0, 35)))
    def test_every_run_of_segments(self, packs: list[PackId | None], segments: set[int]) -> None:
        tail = encode_places(packs)
        found = resolve_needs(encode_needs(Needs(set(), segments)), read_places(io.BytesIO(tail)))
        wanted = {packs[one] if one < len(packs) else None for one in segments}
        assert found == (None if None in wanted else wanted)
