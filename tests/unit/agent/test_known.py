"""The chunk store's memory: a chunk is never taken as present unless its pack is."""

import os
import threading
from pathlib import Path

import pytest

from unit.pack.packing import NAMER, pack
from wain.agent import known as knowns
from wain.agent.known import KnownChunks
from wain.base.errors import WriteFailed
from wain.base.ids import ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.cipher import PackKey
from wain.pack.format import PackedChunk
from wain.pack.writer import SealedPack


def sealed(*bodies: bytes, kind: ChunkType = ChunkType.DATA) -> SealedPack:
    return pack([list(bodies)], kind, PackKey(os.urandom(32)), os.urandom(32))


def name(body: bytes, kind: ChunkType = ChunkType.DATA) -> ChunkId:
    return NAMER.name(kind, body)


def claim(known: KnownChunks, chunk: ChunkId) -> bool:
    """Do as the pipeline does with a chunk it meets; True when it has to be stored."""
    if known.place(chunk) is not None:
        return False
    known.claim(chunk, 7)
    return True


def keep(known: KnownChunks, one: SealedPack) -> SealedPack:
    known.log(one)
    known.settle(one)
    return one


def fake(number: int, count: int) -> SealedPack:
    """A pack of many chunks that need no bytes."""
    chunks = tuple(PackedChunk(ChunkId(b"%08d%024d" % (number, at)), 0, at, 1) for at in range(count))
    return SealedPack(PackId(b"%032d" % number), ChunkType.DATA, bytes(4096), chunks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_a_chunk_is_claimed_once(folder: Path) -> None:
    known = KnownChunks(folder)
    assert claim(known, name(b"x"))
    assert not claim(known, name(b"x"))
    assert known.pack_of(name(b"x")) is None, "in flight is not present"
    one = keep(known, sealed(b"x"))
    assert known.pack_of(name(b"x")) == one.id
    assert known.exists(one.id)


def test_what_a_killed_job_logged_is_known_again(folder: Path) -> None:
    one = keep(KnownChunks(folder), sealed(b"x", b"y"))
    known = KnownChunks(folder)
    assert known.pack_of(name(b"y")) == one.id
    known.spill()
    assert not (folder / "pending.log").exists()
    again = KnownChunks(folder)
    assert again.pack_of(name(b"x")) == one.id
    assert not claim(again, name(b"x"))


def test_a_pack_that_was_logged_and_never_written_holds_nothing(folder: Path) -> None:
    """Killed between the log and the sink: the vault says absent, so the chunk is stored again."""
    KnownChunks(folder).log(one := sealed(b"x"))
    known = KnownChunks(folder)
    assert list(known.packs) == [one.id]
    known.settle_presence([one.id])
    assert claim(known, name(b"x"))
    other = keep(known, sealed(b"x"))
    known.spill()
    assert known.pack_of(name(b"x")) == other.id
    reopened = KnownChunks(folder)
    reopened.settle_presence([one.id])
    assert reopened.pack_of(name(b"x")) == other.id


def test_an_absent_pack_in_a_table_is_not_believed(folder: Path) -> None:
    known = KnownChunks(folder)
    one = keep(known, sealed(b"x"))
    known.spill()
    known = KnownChunks(folder)
    known.settle_presence([one.id])
    assert known.pack_of(name(b"x")) is None
    assert not known.exists(one.id)
    assert claim(known, name(b"x"))


def test_spilling_keeps_what_is_in_flight(folder: Path) -> None:
    known = KnownChunks(folder)
    claim(known, name(b"flying"))
    keep(known, sealed(b"x"))
    known.spill()
    assert not claim(known, name(b"flying"))
    assert known.pack_of(name(b"flying")) is None


def test_claims_go_on_while_the_writer_spills(folder: Path) -> None:
    """The reading thread claims and looks up all the time; no chunk is ever in neither layer, nothing breaks."""
    known = KnownChunks(folder)
    stop, wrong, settled = threading.Event(), [], []

    def read() -> None:
        number = 0
        while not stop.is_set():
            claim(known, ChunkId(b"f%031d" % number))
            number += 1
            for one in settled[-50:]:
                first = one.chunks[0].chunk
                wrong.extend([one] if claim(known, first) or known.pack_of(first) != one.id else [])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 40):
        one = keep(known, fake(number, 500))
        settled.append(one)
        known.spill()
    stop.set()
    reader.join()
    assert not wrong


class TestTables:
    def with_tables(self, folder: Path, *sizes: int) -> KnownChunks:
        known = KnownChunks(folder)
        for number, size in enumerate(sizes, 1):
            keep(known, fake(number, size))
            known.spill()
            known.set_note(number - 1, (ChunkId(b"c" * 32),), (PackId(b"%032d" % number),))
        return known

    def counts(self, known: KnownChunks) -> list[int]:
        return [len(table) for _, table in known._tables]

    def test_a_note_holds_only_for_its_own_table(self, folder: Path) -> None:
        """A damaged table's note must not make its successor look stored: its chunks would never be found again."""
        known = self.with_tables(folder, 5)
        path = known.table_path(0)
        assert known.note(0) is not None
        body = bytearray(path.read_bytes())
        body[60] ^= 1
        path.write_bytes(body)
        known = KnownChunks(folder)
        assert known.table_count() == 0
        keep(known, fake(7, 3))
        known.spill()
        assert known.note(0) is None
        (folder / "00000001.stored").write_bytes(b'{"table": 5}')
        assert known.note(0) is None

    def test_a_stale_note_under_the_same_name_is_not_believed(self, folder: Path) -> None:
        known = self.with_tables(folder, 5)
        stale = known.table_path(0).with_suffix(".stored").read_bytes()
        for name_ in os.listdir(folder):
            (folder / name_).unlink()
        known = KnownChunks(folder)
        keep(known, fake(1, 4))
        known.spill()
        known.table_path(0).with_suffix(".stored").write_bytes(stale)
        assert known.note(0) is None

    def test_a_note_whose_pack_is_gone_does_not_hold(self, folder: Path) -> None:
        known = self.with_tables(folder, 5)
        known.settle_presence([PackId(b"%032d" % 1)])
        assert known.note(0) is None

    @pytest.mark.parametrize("suffix", [".idx", ".packs"])
    @pytest.mark.parametrize("damage", ["empty", "cut", "flip", "gone"])
    def test_a_damaged_table_is_dropped_not_believed(self, folder: Path, suffix: str, damage: str) -> None:
        path = self.with_tables(folder, 50).table_path(0).with_suffix(suffix)
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 4
        harm = {"empty": b"", "cut": bytes(body[:-1]), "flip": bytes(body)}
        path.unlink() if damage == "gone" else path.write_bytes(harm[damage])
        known = KnownChunks(folder)
        assert claim(known, fake(1, 1).chunks[0].chunk)
        assert known.table_count() == 0

    def test_a_flipped_bit_in_a_location_is_not_believed(self, folder: Path) -> None:
        path = self.with_tables(folder, 50).table_path(0)
        body = bytearray(path.read_bytes())
        body[16 + 32 + 32] ^= 1  # Header, one pack, the first entry's chunk: now its pack's number.
        path.write_bytes(body)
        assert KnownChunks(folder).table_count() == 0

    def test_tables_of_this_job_become_one(self, folder: Path) -> None:
        known = KnownChunks(folder)
        for number in range(1, 6):
            keep(known, fake(number, 10))
            known.spill()
        known.compact()
        assert self.counts(known) == [50]
        assert [known.pack_of(fake(n, 1).chunks[0].chunk) for n in range(1, 6)] == [fake(n, 1).id for n in range(1, 6)]
        assert [os.path.splitext(one)[1] for one in sorted(os.listdir(folder))] == [".idx", ".packs"]
        again = KnownChunks(folder)
        assert self.counts(again) == [50]
        assert len(again.packs) == 5

    def test_a_long_job_looks_through_few_tables(self, folder: Path) -> None:
        known = self.with_tables(folder, 3, 10)
        for number in range(3, 131):
            keep(known, fake(number, 10))
            known.spill()
            assert known.table_count() <= 2 + 3 * 4
        assert self.counts(known) == [3, 10, 640, 640]
        assert known.note(0) is not None
        assert known.note(1) is not None
        assert all(known.pack_of(fake(n, 1).chunks[0].chunk) == fake(n, 1).id for n in range(1, 131))
        again = KnownChunks(folder)
        assert self.counts(again) == self.counts(known)

    def test_a_huge_old_table_is_never_merged_with_small_ones(self, folder: Path, monkeypatch) -> None:
        """A merged table has to be sent: the seed's must not travel over the wire because of a few small ones."""
        monkeypatch.setattr(knowns, "MAX_TABLES", 4)
        known = self.with_tables(folder, 1000, 1, 1, 1, 1)
        keep(known, fake(9, 1))
        known.spill()
        known.compact()
        assert self.counts(known) == [1000, 5]
        assert known.note(0) is not None
        assert known.note(1) is None

    def test_the_number_of_tables_stays_small(self, folder: Path) -> None:
        known = self.with_tables(folder, 500)
        for number in range(2, 60):
            keep(known, fake(number, 1 + number % 7))
            known.spill()
            known.compact()
            for at in range(known.table_count()):
                if known.note(at) is None:
                    known.set_note(at, (ChunkId(b"c" * 32),), (fake(number, 1).id,))
        assert known.table_count() <= knowns.MAX_TABLES + 3
        assert all(known.pack_of(fake(n, 1).chunks[0].chunk) == fake(n, 1).id for n in range(1, 60))

    def test_merging_drops_absent_packs_and_index_packs_nobody_names(self, folder: Path) -> None:
        known = KnownChunks(folder)
        for number in range(1, 4):
            keep(known, fake(number, 10))
            index = sealed(b"%d" % number, kind=ChunkType.INDEX)
            keep(known, index)
            known.spill()
        known = KnownChunks(folder)
        known.settle_presence([fake(2, 1).id])
        known.compact()
        again = KnownChunks(folder)
        assert set(again.packs) == {fake(1, 1).id, fake(3, 1).id}
        assert self.counts(again) == [20]

    def test_a_merge_keeps_index_packs_that_older_notes_name(self, folder: Path) -> None:
        known = KnownChunks(folder)
        keep(known, fake(1, 10))
        known.spill()
        index = keep(known, sealed(b"table one", kind=ChunkType.INDEX))
        known.set_note(0, (name(b"table one", ChunkType.INDEX),), (index.id,))
        for number in (2, 3):
            keep(known, fake(number, 10))
            known.spill()
        known.compact()
        again = KnownChunks(folder)
        assert self.counts(again) == [10, 20]
        assert again.note(0) is not None

    @pytest.mark.parametrize("left", ["merged only", "merged and some old", "packs only"])
    def test_a_merge_may_be_cut_anywhere(self, folder: Path, left: str) -> None:
        known = KnownChunks(folder)
        for number in (1, 2, 3):
            keep(known, fake(number, 10))
            known.spill()
        before = {one: (folder / one).read_bytes() for one in os.listdir(folder)}
        known.compact()
        if left == "merged and some old":
            for one in ("00000002.idx", "00000002.packs", "00000003.packs"):
                (folder / one).write_bytes(before[one])
        if left == "packs only":
            (folder / "00000004.idx").unlink()
            for one, body in before.items():
                (folder / one).write_bytes(body)
        (folder / ".new-00000009.idx").write_bytes(b"torn")
        again = KnownChunks(folder)
        assert all(again.pack_of(fake(n, 1).chunks[0].chunk) == fake(n, 1).id for n in (1, 2, 3))
        assert ".new-00000009.idx" not in os.listdir(folder)

    def test_a_table_that_does_not_read_back_ends_the_job(self, folder: Path, monkeypatch) -> None:
        """Else the run's chunks would be in no index: stored, and never found."""
        known = KnownChunks(folder)
        one = keep(known, fake(1, 10))
        real = knowns.write_table

        def bad(path: Path, entries: object, about: object) -> None:
            real(path, entries, about)
            path.write_bytes(path.read_bytes()[:-5])

        monkeypatch.setattr(knowns, "write_table", bad)
        with pytest.raises(WriteFailed):
            known.spill()
        monkeypatch.undo()
        assert KnownChunks(folder).pack_of(one.chunks[0].chunk) == one.id, "and the log still has them"
