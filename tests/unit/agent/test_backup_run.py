"""Whole runs: what a cut at any write leaves, and that every later point can be restored in full."""

import os
import shutil
from pathlib import Path

import pytest

from unit.agent.engine import Faulty, Server, reasons
from wain.agent import backup_run, tree_backup
from wain.agent.known import KnownChunks
from wain.base.errors import OutOfSpace, Refused, WriteFailed
from wain.chunk.names import ChunkType
from wain.job.job import JobState
from wain.policy.compression import Compression
from wain.tree.manifest import decode_manifest

MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(tree_backup, "SETTLE_NS", -(10**12))
    server = Server(tmp_path)
    for number in range(12):
        (server.source / f"d{number % 3}").mkdir(exist_ok=True)
        (server.source / f"d{number % 3}/f{number}").write_bytes(os.urandom(50_000))
    (server.source / "text").write_text("words " * 1000)
    return server


def check(server: Server) -> None:
    """Compare the newest point with the source, byte for byte, from the vault alone."""
    found = server.entries()
    files = {path for path in server.source.rglob("*") if path.is_file()}
    for path in files:
        name = str(path.relative_to(server.root))
        assert name in found, f"{name} is not in the point"
        assert server.content(name) == path.read_bytes(), name
    assert {name for name, one in found.items() if one.content.chunks or one.stat.size == 0} >= {
        str(path.relative_to(server.root)) for path in files
    }


def test_first_second_and_third_backup(server: Server) -> None:
    first = server.backup()
    assert first.state is JobState.COMPLETED
    check(server)
    (server.source / "text").write_text("other words")
    shutil.rmtree(server.source / "d1")
    second = server.backup()
    assert second.new_bytes < 5000
    check(server)
    third = server.backup()
    assert third.new_bytes == third.stored_bytes == 0
    assert [point.seq for point in server.vault.points(server.rid)] == [1, 2, 3]
    for point in server.vault.points(server.rid):
        assert server.entries(point.id)


def test_the_manifest_lists_the_packs_of_everything_and_of_the_index(server: Server) -> None:
    server.backup()
    server.backup()
    for point in server.vault.points(server.rid):
        refs = decode_manifest(server.vault.manifest(server.rid, point.id)).packs
        assert {ref.kind for ref in refs} == set(ChunkType)
        with server.view(point.id) as view:
            assert not view.index_damage, "the index must be found in the point's own packs"


def test_a_missing_item_is_named_and_the_others_are_kept(server: Server) -> None:
    server.policy(server.source, server.root / "gone")
    job = server.backup()
    assert job.state is JobState.COMPLETED_WITH_WARNINGS
    assert reasons(job) == {"gone": "no such file or directory"}
    check(server)


def test_nothing_to_back_up_is_refused_and_says_why(server: Server) -> None:
    server.policy(server.root / "gone")
    with pytest.raises(Refused, match="gone: no such file"):
        server.backup()
    assert not server.vault.points(server.rid)
    assert server.home.jobs()[-1].state is JobState.FAILED


def test_an_empty_directory_is_something(server: Server) -> None:
    (server.root / "empty").mkdir()
    server.policy(server.root / "empty")
    assert server.backup().state is JobState.COMPLETED
    assert "empty" in server.entries()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["put_pack", "commit_point", "presence", "points"])
def test_a_cut_at_any_call_of_the_vault_is_gone_on_from(server: Server, verb: str, after: bool) -> None:
    for at in range(1, 4):
        (server.source / f"new{at}").write_bytes(os.urandom(9000))
        try:
            server.backup(Faulty(server.vault, verb, at, after=after))
        except WriteFailed:
            assert server.home.jobs()[-1].state is JobState.FAILED
            server.backup()
        check(server)


def test_a_cut_at_any_local_write_is_gone_on_from(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the N-th fsync, rename and unlink of the agent, N = 1, 2, ... until the job passes."""
    for call in ("fdatasync", "replace", "rename", "unlink"):
        for number in range(1, 40):
            struck = cut_once(server, monkeypatch, call, number)
            server.backup()
            check(server)
            if not struck:
                break
        else:
            raise AssertionError(f"{call} was always struck")


def cut_once(server: Server, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> bool:
    real, left = getattr(os, call), number
    (server.source / "new").write_bytes(os.urandom(3000))

    def strike(*args: object, **over: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(28, "No space left on device")
        return real(*args, **over)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, strike)
        try:
            job = server.backup()
        except (OutOfSpace, WriteFailed, Refused):
            return True
    # A fault may hit what a job can do without, such as cleaning up; but then it has a point, or says failed.
    assert job.state is JobState.COMPLETED
    return left <= 0


def test_no_room_for_local_state_is_never_a_warning_about_a_file(server: Server, monkeypatch) -> None:
    from wain.agent.history import HistoryWriter  # noqa: PLC0415

    def add(self: HistoryWriter, *_: object) -> None:
        from wain.storage.durable import writing  # noqa: PLC0415

        with writing("partial.tree"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(HistoryWriter, "add", add)
    with pytest.raises(OutOfSpace):
        server.backup()
    assert not server.vault.points(server.rid)


def test_an_interrupted_job_is_gone_on_with_not_begun_again(server: Server, monkeypatch) -> None:
    monkeypatch.setattr("wain.pack.writer.PACK_BYTES", 128 * 1024)
    monkeypatch.setattr(backup_run, "PackFor", small_packs)
    with pytest.raises(WriteFailed):
        server.backup(Faulty(server.vault, "put_pack", 3, after=True))
    job = server.backup()
    assert job.new_bytes < 12 * 50_000
    check(server)


def small_packs(rid: object, public: bytes) -> object:
    from wain.pack.writer import PackFor  # noqa: PLC0415

    return PackFor(rid, public, 128 * 1024)


def test_many_spills_and_merges_still_give_whole_points(server: Server, monkeypatch) -> None:
    monkeypatch.setattr("wain.agent.known.SPILL_CHUNKS", 2)
    monkeypatch.setattr("wain.agent.known.MAX_TABLES", 3)
    monkeypatch.setattr(backup_run, "PackFor", small_packs)
    for number in range(9):
        (server.source / f"more{number}").write_bytes(os.urandom(70_000))
        assert server.backup().state is JobState.COMPLETED
        check(server)
    names = os.listdir(server.home.agent / "index")
    assert sum(name.endswith(".idx") for name in names) <= 5
    for point in server.vault.points(server.rid):
        with server.view(point.id) as view:
            assert not view.index_damage


def test_a_large_index_is_stored_in_pieces(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(backup_run, "INDEX_CHUNK_BYTES", 256)
    server.backup()
    with server.view() as view:
        assert len(view.details.index[0]) > 3
    check(server)


class TestLostState:
    def test_the_index_is_lost(self, server: Server) -> None:
        server.backup()
        shutil.rmtree(server.home.agent / "index")
        (server.source / "new").write_text("new")
        job = server.backup()
        assert job.state is JobState.COMPLETED
        check(server)

    def test_the_history_is_lost(self, server: Server) -> None:
        server.backup()
        shutil.rmtree(server.home.agent / "trees")
        assert server.stores_nothing_more()
        check(server)

    def test_everything_but_keys_and_policy_is_lost(self, server: Server) -> None:
        server.backup()
        for name in ("index", "trees", "jobs"):
            shutil.rmtree(server.home.agent / name)
        (server.home.agent / "head.json").unlink()
        assert server.backup().state is JobState.COMPLETED
        check(server)
        assert len(server.vault.points(server.rid)) == 2

    @pytest.mark.parametrize("parts", [["index"], ["trees"], ["head.json"], ["index", "trees", "head.json", "jobs"]])
    def test_an_old_copy_of_local_state_is_put_back(self, server: Server, parts: list[str]) -> None:
        """A virtual machine is rolled back, or single files of the home are restored from somewhere."""
        server.backup()
        old = server.root / "old"
        shutil.copytree(server.home.agent, old)
        for number in range(3):
            (server.source / "text").write_text(f"version {number}")
            (server.source / f"later{number}").write_bytes(os.urandom(5000))
            server.backup()
        for part in parts:
            target = server.home.agent / part
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            copy = shutil.copytree if (old / part).is_dir() else shutil.copy
            copy(old / part, target)
        (server.source / "text").write_text("after the roll-back")
        assert server.backup().state is JobState.COMPLETED
        check(server)

    def test_two_clones_of_a_server_write_one_chain(self, server: Server) -> None:
        server.backup()
        clone = server.root / "clone"
        shutil.copytree(server.home.root, clone)
        (server.source / "text").write_text("one")
        server.backup()
        server.home.agent.rename(server.root / "set aside")
        (clone / "agent").rename(server.home.agent)
        (server.source / "text").write_text("two")
        assert server.backup().state is JobState.COMPLETED
        check(server)
        assert [point.seq for point in server.vault.points(server.rid)] == [1, 2, 3]

    @pytest.mark.parametrize("kind", list(ChunkType))
    def test_a_vault_that_lost_packs_gets_them_again(self, server: Server, kind: ChunkType) -> None:
        server.backup()
        refs = decode_manifest(server.vault.manifest(server.rid, server.vault.points(server.rid)[-1].id)).packs
        for ref in refs:
            if ref.kind is kind:
                for path in (server.root / "vault/objects").rglob(ref.id.hex()):
                    path.unlink()
        server.vault.rebuild()
        server.backup()
        check(server)
        with server.view() as view:
            assert not view.index_damage

    def test_a_damaged_log_costs_nothing_but_work(self, server: Server) -> None:
        server.backup()
        path = server.home.agent / "index/pending.log"
        assert path.exists(), "the index packs of the last job are in it"
        path.write_bytes(path.read_bytes()[:-7] + b"garbage")
        server.backup()
        check(server)

    @pytest.mark.parametrize("name", ["last.tree", "partial.tree", "partial.resumed"])
    def test_damaged_histories_cost_nothing_but_reading(self, server: Server, name: str) -> None:
        server.backup()
        body = bytearray((server.home.agent / "trees/last.tree").read_bytes())
        for at in range(40, len(body), 90):
            body[at] ^= 0x20
        (server.home.agent / "trees" / name).write_bytes(body)
        (server.source / "text").write_text("new")
        server.backup()
        check(server)

    def test_an_older_interrupted_history_does_not_hide_the_newer_one(self, server: Server, monkeypatch) -> None:
        server.backup()
        trees = server.home.agent / "trees"
        old = (trees / "last.tree").read_bytes()
        (server.source / "text").write_text("newer")
        server.backup()
        (trees / "partial.resumed").write_bytes(old)
        opened = []
        real = tree_backup.FileReader
        monkeypatch.setattr(tree_backup, "FileReader", lambda fd, one: (opened.append(one.name), real(fd, one))[1])
        server.backup()
        assert not opened
        check(server)


def test_wains_own_directories_are_not_in_the_backup(server: Server) -> None:
    server.policy(server.root)
    server.backup()
    found = server.entries()
    assert not [name for name in found if name.startswith(("home", "vault"))]
    assert "source/text" in found


def test_claims_of_a_failed_run_do_not_outlive_it(server: Server) -> None:
    with pytest.raises(WriteFailed):
        server.backup(Faulty(server.vault, "put_pack", 1))
    known = KnownChunks(server.home.agent / "index")
    assert known.packs
    known.close()
    server.backup()
    check(server)


def test_compression_is_the_users_choice(tmp_path: Path) -> None:
    stored = {}
    for choice in Compression:
        (tmp_path / choice.value).mkdir()
        server = Server(tmp_path / choice.value)
        for number, path in enumerate(sorted(Path(os.__file__).parent.glob("*.py"))[:120]):
            shutil.copy(path, server.source / str(number))
        server.policy(compression=choice)
        stored[choice] = server.backup().stored_bytes
    assert stored[Compression.SMALL] < stored[Compression.DEFAULT] < stored[Compression.FAST]
