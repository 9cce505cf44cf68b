"""What a recovery point holds, when files are odd, and when they change under the reader."""

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from unit.agent.engine import Server, reasons
from wain.agent import file_content, reading, tree_backup
from wain.agent.known import KnownChunks
from wain.agent.listing import Found
from wain.agent.reading import FileReader, Xattrs
from wain.agent.walk import Entered
from wain.chunk.names import ChunkType
from wain.job.job import JobState
from wain.tree import rules
from wain.tree.entry import Kind
from wain.wire.vault import Presence

MIB = 1 << 20
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(tree_backup, "SETTLE_NS", -(10**12))  # Files may be new here and unchanged all the same.
    return Server(tmp_path)


def on_read(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[int], None]) -> None:
    """Call `act(1)`, `act(2)`, ... just before the content of the file of that name is read."""
    times = 0

    def hook(real: Callable[..., object]) -> Callable[..., object]:
        def call(self: FileReader, *args: object) -> object:
            nonlocal times
            if os.path.basename(os.readlink(f"/proc/self/fd/{self._fd}").removesuffix(" (deleted)")) == name:
                times += 1
                act(times)
            return real(self, *args)

        return call

    real_once = reading._read_once

    def once(fd: int, size: int) -> bytes:
        nonlocal times
        if os.path.basename(os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")) == name:
            times += 1
            act(times)
        return real_once(fd, size)

    monkeypatch.setattr(reading, "_read_once", once)
    monkeypatch.setattr(FileReader, "small", hook(FileReader.small))
    monkeypatch.setattr(FileReader, "pieces", hook(FileReader.pieces))


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files for old enough to be remembered."""
    monkeypatch.setattr(tree_backup, "SETTLE_NS", -(10**12))


class TestKinds:
    def test_every_kind_comes_back(self, server: Server) -> None:
        source = server.source
        (source / "empty").touch()
        (source / "file").write_bytes(b"content")
        (source / "link").symlink_to("no such place")
        os.mkfifo(source / "fifo")
        (source / "directory/inner").mkdir(parents=True)
        os.link(source / "file", source / "zz-hard-link")
        os.chmod(source / "file", 0o4755)
        job = server.backup()
        assert job.state is JobState.COMPLETED
        found = server.entries()
        assert found["source/file"].stat.mode == 0o4755
        assert found["source/link"].target == b"no such place"
        assert found["source/fifo"].kind is Kind.FIFO
        assert found["source/directory/inner"].kind is Kind.DIRECTORY
        assert found["source/file"].stat.inode == found["source/zz-hard-link"].stat.inode
        assert found["source/zz-hard-link"].stat.links == 2
        assert server.content("source/zz-hard-link") == b"content"
        assert server.content("source/empty") == b""
        assert (job.files, job.source_bytes) == (3, 14)

    def test_times_and_owners_of_all_sizes(self, server: Server) -> None:
        moments = {"old": -(10**18), "before": -1, "future": 15_000_000_000 * 10**9 + 999_999_999}
        for name, moment in moments.items():
            (server.source / name).write_text(name)
            os.utime(server.source / name, ns=(0, moment))
        if os.geteuid() == 0:
            os.chown(server.source / "old", 2**31, 2**32 - 2)
        kept = {name: os.stat(server.source / name) for name in moments}
        assert server.backup().state is JobState.COMPLETED
        found = server.entries()
        for name, here in kept.items():
            entry = found[f"source/{name}"]
            assert (entry.stat.mtime_ns, entry.stat.uid, entry.stat.gid) == (here.st_mtime_ns, here.st_uid, here.st_gid)
        assert server.stores_nothing_more()

    def test_names_of_all_bytes(self, server: Server) -> None:
        names = [bytes([byte]) for byte in [*range(1, 46), *range(48, 256)]] + [b"\xff" * 255, b"new\nline"]
        for name in names:
            with open(os.path.join(os.fsencode(server.source), name), "wb") as file:
                file.write(name)
        assert server.backup().state is JobState.COMPLETED
        found = {os.fsencode(path)[7:] for path in server.entries()}
        assert set(names) <= found

    @root_only
    def test_devices(self, server: Server) -> None:
        try:
            os.mknod(server.source / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("device nodes cannot be made here")
        server.backup()
        entry = server.entries()["source/null"]
        assert (entry.kind, entry.rdev) == (Kind.CHAR_DEVICE, (1, 3))

    def test_sparse_files(self, server: Server) -> None:
        with open(server.source / "sparse", "wb") as file:
            file.truncate(8 * MIB)
            file.seek(3 * MIB)
            file.write(b"in the middle")
        with open(server.source / "hole", "wb") as file:
            file.truncate(1 << 40)
        job = server.backup()
        assert job.state is JobState.COMPLETED
        assert server.content("source/sparse") == (server.source / "sparse").read_bytes()
        assert server.entries()["source/hole"].content.extents == ((1 << 40, 0),)
        assert job.new_bytes < MIB

    def test_a_deep_tree(self, server: Server, request: pytest.FixtureRequest) -> None:
        # pytest's own cleaning up recurses and would give up.
        request.addfinalizer(lambda: subprocess.run(["rm", "-rf", server.source], check=True))
        here = os.open(server.source, os.O_RDONLY)
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        job = server.backup()
        assert (job.state, job.files) == (JobState.COMPLETED, 1)
        with server.view() as view:
            path = os.fsencode(server.source) + b"/d" * 1200 + b"/bottom"
            assert view.entry(path).kind is Kind.FILE

    def test_a_directory_of_many_files_splits_and_comes_back(self, server: Server) -> None:
        for number in range(6000):
            (server.source / f"a rather long name, so that the listing grows quickly {number:06}").touch()
        server.backup()
        assert len(server.entries()["source"].content.chunks) > 1
        assert len(server.entries()) == 6001


class TestChange:
    def test_unchanged_files_are_not_read_again(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(20):
            (server.source / f"f{number}").write_text(f"{number}")
        server.backup()
        opened = []
        for number in range(20):
            on_read(monkeypatch, f"f{number}", lambda _, name=b"f%d" % number: opened.append(name))
        (server.source / "f7").write_text("changed")
        job = server.backup()
        assert opened == [b"f7"]
        assert (job.files, job.state) == (20, JobState.COMPLETED)
        assert server.content("source/f7") == b"changed"
        assert server.content("source/f8") == b"8"

    def test_a_directory_that_is_as_it_was_needs_no_lookup_of_chunks(self, server: Server, monkeypatch) -> None:
        for folder in ("a", "b"):
            (server.source / folder).mkdir()
            for number in range(5):
                (server.source / folder / f"f{number}").write_text(f"{folder} {number}")
                os.utime(server.source / folder / f"f{number}", ns=(0, 0))
        settle(monkeypatch)
        server.backup()
        asked: list[bytes] = []
        real = KnownChunks.pack_of
        monkeypatch.setattr(KnownChunks, "pack_of", lambda self, chunk: (asked.append(chunk), real(self, chunk))[1])
        server.backup()
        assert asked == []
        (server.source / "a" / "f0").unlink()
        server.backup()
        assert len(asked) == 4, "only where something went is each of the others looked up"
        assert server.content("source/a/f1") == b"a 1"
        assert server.content("source/b/f0") == b"b 0"

    def test_a_whole_directory_is_read_again_when_one_of_its_packs_is_gone(self, server: Server, monkeypatch) -> None:
        (server.source / "f").write_text("the only copy")
        settle(monkeypatch)
        server.backup()
        known = KnownChunks(server.home.agent / "index")
        data = next(pack for pack, ref in known.packs.items() if ref.kind is ChunkType.DATA)
        known.close()
        real = server.vault.presence

        class Lost:
            def __getattr__(self, name: str) -> object:
                return getattr(server.vault, name)

            def presence(self, rid: object, packs: list[object]) -> list[Presence]:
                answers = real(rid, packs)
                return [Presence.ABSENT if pack == data else said for pack, said in zip(packs, answers, strict=True)]

        assert server.backup(Lost()).new_bytes >= len("the only copy")
        assert server.content("source/f") == b"the only copy"

    def test_a_file_changed_within_the_same_tick_is_seen(self, tmp_path: Path, monkeypatch) -> None:
        """Same size, same times: only that it was young when it was read tells that it may have changed since."""
        server = Server(tmp_path)
        path = server.source / "ledger"
        path.write_text("balance 1")
        real = os.fstat
        young = os.stat(path)
        server.backup()
        path.write_text("balance 2")
        times = (young.st_mtime_ns, young.st_ctime_ns)

        class Same:
            """The stat of a file system whose clock stood still."""

            def __init__(self, here: os.stat_result) -> None:
                self._here = here
                self.st_mtime_ns, self.st_ctime_ns = times

            def __getattr__(self, name: str) -> object:
                return getattr(self._here, name)

        def frozen(found: Found) -> Found:
            return Found(found.name, Same(found.stat)) if found.name == b"ledger" else found

        enter = tree_backup.TreeBackup._enter

        def entered(self: tree_backup.TreeBackup, event: Entered) -> None:
            event.leaves[:] = map(frozen, event.leaves)
            enter(self, event)

        monkeypatch.setattr(tree_backup.TreeBackup, "_enter", entered)
        assert real
        server.backup()
        assert server.content("source/ledger") == b"balance 2"

    def test_a_file_replaced_while_being_read_is_read_as_it_is_now(self, server: Server, monkeypatch) -> None:
        """How editors save: a new file is renamed over the old one."""
        path = server.source / "f"
        path.write_text("old content")

        def replace_it(times: int) -> None:
            if times == 1:
                (server.root / "new").write_text("new")
                os.rename(server.root / "new", path)

        on_read(monkeypatch, "f", replace_it)
        job = server.backup()
        assert job.state is JobState.COMPLETED
        assert server.content("source/f") == b"new"

    def test_a_file_that_changes_once_is_read_again(self, server: Server, monkeypatch) -> None:
        path = server.source / "f"
        path.write_text("old")
        on_read(monkeypatch, "f", lambda times: path.write_text("newer") if times == 1 else None)
        assert server.backup().state is JobState.COMPLETED
        assert server.content("source/f") == b"newer"

    @pytest.mark.parametrize("size", [100, 3 * MIB])
    def test_a_file_that_grows_all_the_time_is_kept_and_named(self, server: Server, monkeypatch, size: int) -> None:
        path = server.source / "log"
        path.write_bytes(b"x" * size)

        def grow(_: int) -> None:
            with open(path, "ab") as file:
                file.write(b"more")

        on_read(monkeypatch, "log", grow)
        job = server.backup()
        assert job.state is JobState.COMPLETED_WITH_WARNINGS
        assert "changed while being read" in reasons(job)["log"]
        assert server.content("source/log").startswith(b"x" * size)

    @pytest.mark.parametrize("size", [100, 3 * MIB])
    @pytest.mark.parametrize("left", [0, 10])
    def test_a_file_that_shrinks_all_the_time(self, server: Server, monkeypatch, size: int, left: int) -> None:
        path = server.source / "f"
        path.write_bytes(b"x" * size)

        def shrink(times: int) -> None:
            path.write_bytes(b"x" * (size + times))
            os.truncate(path, left)

        on_read(monkeypatch, "f", shrink)
        job = server.backup()
        assert job.state is JobState.COMPLETED_WITH_WARNINGS
        assert server.content("source/f") == b"x" * left

    def test_a_busy_sparse_file_is_kept_not_skipped(self, server: Server, monkeypatch) -> None:
        """A virtual machine's disk is always busy; dropping it from every point would be the worst answer."""
        path = server.source / "vm.img"
        with open(path, "wb") as file:
            file.truncate(8 * MIB)
            file.seek(2 * MIB)
            file.write(b"d" * 5000)
        on_read(monkeypatch, "vm.img", lambda times: os.utime(path, ns=(0, times)))
        job = server.backup()
        assert "changed while being read" in reasons(job)["vm.img"]
        assert server.content("source/vm.img") == path.read_bytes()

    def test_a_sparse_file_that_is_cut_all_the_time_gets_no_false_hole(self, server: Server, monkeypatch) -> None:
        path = server.source / "vm.img"
        path.write_bytes(b"d" * 5000)
        os.truncate(path, 8 * MIB)

        def cut(times: int) -> None:
            os.truncate(path, 8 * MIB)
            os.truncate(path, 2 * MIB - times)

        on_read(monkeypatch, "vm.img", cut)
        job = server.backup()
        assert "changed while being read" in reasons(job)["vm.img"]
        assert server.content("source/vm.img") == path.read_bytes()

    def test_a_file_that_vanishes_is_named(self, server: Server, monkeypatch) -> None:
        (server.source / "a").write_text("stays")
        path = server.source / "f"
        path.write_text("x")

        def vanish(fd: int, found: Found) -> bytes | None:
            if found.name == b"f":
                path.unlink()
            return reading.read_small(fd, found)

        monkeypatch.setattr(tree_backup, "read_small", vanish)
        job = server.backup()
        assert job.state is JobState.COMPLETED_WITH_WARNINGS
        assert set(reasons(job)) == {"f"}
        assert "source/f" not in server.entries()
        assert job.files == 1

    @pytest.mark.parametrize("become", ["directory", "link", "fifo"])
    def test_a_file_that_becomes_something_else(self, server: Server, monkeypatch, become: str) -> None:
        path = server.source / "f"
        path.write_text("x")

        def change(times: int) -> None:
            if times == 1:
                path.unlink()
                make = {
                    "directory": path.mkdir,
                    "link": lambda: path.symlink_to("/etc"),
                    "fifo": lambda: os.mkfifo(path),
                }
                make[become]()

        on_read(monkeypatch, "f", change)
        job = server.backup()
        found = server.entries()
        if become == "directory":
            assert "became a directory" in reasons(job)["f"]
        else:
            assert job.state is JobState.COMPLETED
            assert found["source/f"].kind is (Kind.SYMLINK if become == "link" else Kind.FIFO)
        assert (job.files, job.source_bytes) == (0, 0)

    @pytest.mark.parametrize("become", ["file", "fifo", "directory"])
    def test_a_link_that_becomes_something_else(self, server: Server, monkeypatch, become: str) -> None:
        path = server.source / "f"
        path.symlink_to("/etc/passwd")

        def change(fd: int, name: bytes) -> bytes:
            path.unlink(missing_ok=True)
            make = {"file": lambda: path.write_text("now"), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir}
            make[become]()
            return reading.link_target(fd, name)

        monkeypatch.setattr(tree_backup, "link_target", change)
        job = server.backup()
        if become == "directory":
            assert "became a directory" in reasons(job)["f"]
        elif become == "fifo":
            assert (job.problems, server.entries()["source/f"].kind) == ((), Kind.FIFO)
        else:
            assert (job.problems, job.files) == ((), 1)
            assert server.content("source/f") == b"now"

    def test_a_file_that_cannot_be_read_is_named_and_the_rest_kept(self, server: Server, monkeypatch) -> None:
        for name in "abc":
            (server.source / name).write_text(name)

        def fail(_: int) -> None:
            raise reading.SourceError("input/output error")

        on_read(monkeypatch, "b", fail)
        job = server.backup()
        assert reasons(job) == {"b": "input/output error"}
        assert {"source/a", "source/c"} <= set(server.entries())

    def test_a_linked_file_that_changes_between_its_names(self, server: Server, monkeypatch) -> None:
        """The second name must not get the new stat with the old content: nothing would ever notice."""
        (server.source / "a").write_text("old content")
        os.link(server.source / "a", server.source / "b")
        (server.source / "aa").write_text("between")
        on_read(monkeypatch, "aa", lambda _: (server.source / "b").write_text("entirely new"))
        server.backup()
        found = server.entries()
        assert server.content("source/b") == b"entirely new"
        assert found["source/b"].stat.size == len("entirely new")
        server.backup()
        assert server.content("source/a") == server.content("source/b") == b"entirely new"

    def test_linked_files_are_read_once(self, server: Server, monkeypatch) -> None:
        (server.source / "a").write_bytes(os.urandom(5000))
        for number in range(5):
            os.link(server.source / "a", server.source / f"b{number}")
        times = []
        on_read(monkeypatch, "a", times.append)
        assert server.backup().new_bytes > 5000
        assert len(times) <= 1


class TestOddEntries:
    """Nothing that one entry holds may end the job."""

    def test_too_many_attributes_are_named_and_the_file_is_kept(self, server: Server, monkeypatch) -> None:
        for name in "ab":
            (server.source / name).write_text(name)
        huge = Xattrs(tuple((b"user.%04d" % number, b"v") for number in range(rules.MAX_XATTRS + 1)))
        monkeypatch.setattr(tree_backup, "read_small", lambda *_: None)
        monkeypatch.setattr(FileReader, "xattrs", lambda _: huge)
        monkeypatch.setattr(tree_backup, "directory_xattrs", lambda _: huge)
        job = server.backup()
        assert job.state is JobState.COMPLETED_WITH_WARNINGS
        assert "attributes were not kept" in reasons(job)["a"]
        assert server.content("source/b") == b"b"

    def test_an_attribute_that_fails_does_not_cost_the_content(self, server: Server, monkeypatch) -> None:
        (server.source / "a").write_text("a")

        def listxattr(*_: object, **__: object) -> list[str]:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "listxattr", listxattr)
        job = server.backup()
        assert "extended attributes" in reasons(job)["a"]
        assert server.content("source/a") == b"a"

    def test_a_kind_nobody_knows(self, server: Server, monkeypatch) -> None:
        os.mkfifo(server.source / "odd")
        monkeypatch.delitem(tree_backup.KINDS, stat.S_IFIFO)
        job = server.backup()
        assert "unknown kind" in reasons(job)["odd"]

    @pytest.mark.parametrize("fault", [{"uid": 2**32}, {"device": 2**16}, {"mode": 0o10000}])
    def test_a_stat_that_the_format_does_not_take(self, server: Server, monkeypatch, fault: dict[str, int]) -> None:
        os.mkfifo(server.source / "odd")
        (server.source / "fine").write_text("fine")
        real = tree_backup.TreeBackup._stat

        def odd(self: tree_backup.TreeBackup, here: os.stat_result, size: int | None = None) -> object:
            found = real(self, here, size)
            return replace(found, **fault) if stat.S_ISFIFO(here.st_mode) else found

        monkeypatch.setattr(tree_backup.TreeBackup, "_stat", odd)
        job = server.backup()
        assert set(reasons(job)) == {"odd"}
        assert server.content("source/fine") == b"fine"

    def test_a_name_that_is_listed_twice(self, server: Server, monkeypatch) -> None:
        from wain.agent import walk  # noqa: PLC0415

        (server.source / "a").write_text("a")
        real = walk.Walk._list
        monkeypatch.setattr(walk.Walk, "_list", lambda self, here: [one for one in real(self, here) for _ in range(2)])
        server.backup()
        assert server.content("source/a") == b"a"


class TestListed:
    """Files of more chunks than an entry takes."""

    @pytest.fixture(autouse=True)
    def small_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rules, "MAX_CHUNKS", 6)
        monkeypatch.setattr(file_content, "LIST_CHUNKS", 4)

    def test_they_come_back_and_stay_unchanged(self, server: Server, monkeypatch) -> None:
        body = os.urandom(12 * MIB)
        (server.source / "huge").write_bytes(body)
        assert server.backup().state is JobState.COMPLETED
        entry = server.entries()["source/huge"]
        assert entry.content.listed
        assert server.content("source/huge") == body
        times = []
        on_read(monkeypatch, "huge", times.append)
        assert server.stores_nothing_more()
        assert not times
        with open(server.source / "huge", "r+b") as file:
            file.write(b"changed")
        server.backup()
        assert times
        assert server.content("source/huge") == b"changed" + body[7:]

    def test_their_packs_are_in_every_later_manifest(self, server: Server) -> None:
        (server.source / "huge").write_bytes(os.urandom(12 * MIB))
        server.backup()
        with server.view() as view:
            first = set(view.packs.refs)
            data = {view.locate(chunk).pack for chunk in view.file_chunks(server_entry(view, server))}
        server.backup()
        with server.view() as view:
            assert data <= set(view.packs.refs)
            assert first & set(view.packs.refs) >= data

    def test_a_listed_file_whose_chunks_are_gone_is_read_again(self, server: Server, monkeypatch) -> None:
        body = os.urandom(12 * MIB)
        (server.source / "huge").write_bytes(body)
        server.backup()
        with server.view() as view:
            gone = {view.locate(chunk).pack for chunk in view.file_chunks(server_entry(view, server))}
        for pack in gone:
            for path in (server.root / "vault/objects").rglob(pack.hex()):
                path.unlink()
        server.vault.rebuild()
        server.backup()
        assert server.content("source/huge") == body


def server_entry(view: object, server: Server) -> object:
    return view.entry(os.fsencode(server.source / "huge"))
