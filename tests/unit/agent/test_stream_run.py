"""Points that hold one stream: found again, whole or not at all, and no business of the next backup of files."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from unit.agent.engine import Server
from unit.agent.road import Road
from wain.agent.commands import CommandFailed
from wain.agent.job import Services, run_backup
from wain.agent.stream_run import Stream
from wain.base.errors import Refused, WriteFailed
from wain.base.progress import Silent
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.job.job import Job, JobKind, JobState
from wain.order.order import Stage
from wain.policy.consistency import Commands
from wain.tree.entry import Kind

DUMP = b"/db/daily/dump.sql"


@pytest.fixture
def server(tmp_path: Path) -> Server:
    server = Server(tmp_path)
    (server.source / "f").write_text("content")
    return server


def backup(server: Server, command: str, path: bytes = DUMP, vault: object = None) -> Job:
    services = Services(vault or server.vault, skip=(server.root / "vault",))
    return run_backup(server.home, services, server.clock, Silent(), Stream(path, command))


def body(server: Server, path: bytes = DUMP) -> bytes:
    with server.view() as view:
        entry = view.entry(path)
        return b"".join(view.read_chunk(ChunkType.DATA, chunk) for chunk in view.file_chunks(entry))


def blob(path: Path, size: int, seed: int = 1) -> bytes:
    path.write_bytes(random.Random(seed).randbytes(size))
    return path.read_bytes()


@pytest.mark.parametrize("size", [1, 512 << 10, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 40 * MIB + 7])
def test_a_stream_comes_back_byte_for_byte(server: Server, tmp_path: Path, size: int) -> None:
    # 16 MiB is the window that a stream is read in.
    sent = blob(tmp_path / "dump", size)
    job = backup(server, f"cat {tmp_path}/dump")
    assert (job.kind, job.state, job.files, job.directories) == (JobKind.STREAM, JobState.COMPLETED, 1, 3)
    assert (job.source_bytes, job.notes) == (size, ("kept as /db/daily/dump.sql",))
    assert body(server) == sent


def test_the_point_holds_this_file_alone_and_only_its_owner_may_read_it(server: Server) -> None:
    server.backup()
    backup(server, "echo dump")
    with server.view() as view:
        found = dict(view.walk(b"/"))
        assert view.details.roots == (DUMP,)
    assert [path for path in found if path != b"/"] == [b"/db", b"/db/daily", DUMP]
    entry = found[DUMP]
    assert (entry.kind, entry.stat.mode, entry.stat.size) == (Kind.FILE, 0o600, 5)
    assert entry.stat.mtime_ns == server.vault.points(server.rid)[-1].created_at.timestamp() * 10**9


def test_a_file_at_the_root(server: Server) -> None:
    backup(server, "echo dump", b"/dump")
    assert body(server, b"/dump") == b"dump\n"


def test_an_earlier_dump_is_found_again_and_a_file_with_the_same_bytes_too(server: Server, tmp_path: Path) -> None:
    blob(tmp_path / "dump", 20 * MIB)
    assert backup(server, f"cat {tmp_path}/dump").new_bytes > 20 * MIB
    assert backup(server, f"(cat {tmp_path}/dump; echo more)").new_bytes < 9 * MIB
    (tmp_path / "dump").rename(server.source / "dump")
    assert server.backup().new_bytes < 1 * MIB


def test_a_dump_costs_the_next_backup_of_files_nothing(server: Server, tmp_path: Path) -> None:
    for number in range(5):
        blob(server.source / str(number), 100_000, number)
        os.utime(server.source / str(number), (1, 1))
    server.backup()
    history = (server.home.agent / "trees" / "last.tree").read_bytes()
    backup(server, "echo dump")
    assert (server.home.agent / "trees" / "last.tree").read_bytes() == history
    assert not (server.home.agent / "trees" / "partial.tree").exists()
    again = server.backup()
    assert (again.files, again.new_bytes < 50_000) == (6, True)


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("seq 1 100000; echo no such table >&2; exit 3", "ended with status 3; its last words: no such table"),
        ("seq 1 100000; kill -9 $$", "was killed by SIGKILL"),
        ("no-such-dumper", "ended with status 127"),
    ],
)
def test_a_command_that_fails_makes_no_point(server: Server, command: str, how: str) -> None:
    with pytest.raises(CommandFailed, match=f"--from-command {how}"):
        backup(server, command)
    assert not server.vault.points(server.rid)
    job = server.home.jobs()[-1]
    assert (job.kind, job.state, how in job.message) == (JobKind.STREAM, JobState.FAILED, True)


def test_what_a_failed_command_gave_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    blob(tmp_path / "dump", 90 * MIB)
    with pytest.raises(CommandFailed):
        backup(server, f"cat {tmp_path}/dump; exit 1")
    job = backup(server, f"cat {tmp_path}/dump")
    assert job.new_bytes < 50 * MIB  # A pack is full at about 64 MiB.


def test_an_output_that_ends_long_before_its_command_is_waited_for(server: Server) -> None:
    server.policy(commands=Commands(limit_seconds=1))
    with pytest.raises(CommandFailed, match="ran longer than its 1 seconds"):
        backup(server, "echo dump; exec 1>&-; sleep 60")
    assert not server.vault.points(server.rid)
    assert backup(server, "echo dump; exec 1>&-; sleep 0.2").state is JobState.COMPLETED


def test_an_empty_stream_is_a_failed_one(server: Server) -> None:
    with pytest.raises(Refused, match="nothing came out of the stream"):
        backup(server, "true")
    assert not server.vault.points(server.rid)


def test_a_vault_that_fails_ends_the_command(server: Server, tmp_path: Path) -> None:
    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(server.vault, name)

        def upload(self, *_: object) -> None:
            raise WriteFailed("the vault", "no more")

    with pytest.raises(WriteFailed):
        backup(server, f"echo $$ > {tmp_path}/pid; exec cat /dev/urandom", vault=Full())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("path", [b"/", b"db/dump", b"/db/../dump", b"/db/", b"", b"/" + b"n" * 256])
def test_a_path_that_names_no_file_is_refused(path: bytes) -> None:
    with pytest.raises(Refused):
        Stream(path, "echo")


def test_no_policy_is_needed(server: Server) -> None:
    (server.home.agent / "policy.json").unlink()
    assert backup(server, "echo dump").state is JobState.COMPLETED


# A first backup that travels


@pytest.fixture
def road(tmp_path: Path) -> Road:
    made = Road(tmp_path)
    (made.server.source / "f").write_text("content")
    return made


def stream(road: Road) -> Job:
    services = Services(road.server.vault, road.orders, (road.server.root / "vault",))
    return run_backup(road.server.home, services, road.server.clock, Silent(), Stream(DUMP, "echo dump"))


def test_before_the_seed_is_sealed_a_stream_is_refused(road: Road) -> None:
    with pytest.raises(Refused, match="a stream can only follow it once that is sealed"):
        stream(road)
    assert road.server.home.jobs() == []
    assert road.server.home.seed() is None
    assert road.backup().message.endswith("safe to ship")


def test_while_the_seed_travels_a_stream_goes_over_the_wire_and_the_seed_arrives(road: Road) -> None:
    road.backup()
    road.orders.stage = Stage.PICKED_UP
    assert stream(road).state is JobState.COMPLETED
    road.copy()
    assert stream(road).state is JobState.COMPLETED
    assert road.backup().message == "Job Completed"
    points = road.server.vault.points(road.server.rid)
    assert [(point.seq, point.state.value) for point in points] == [(1, "complete"), (2, "complete"), (3, "complete")]
    assert body(road.server) == b"dump\n"
    assert road.backup().files == 1


# Memory

CHILD = """
import resource, sys
sys.path[:0] = {paths!r}
from datetime import UTC, datetime
from pathlib import Path
from wain.agent.home import AgentHome
from wain.agent.job import Services, run_backup
from wain.agent.stream_run import Stream
from wain.base.progress import Silent
from wain.vault.service import Vault
clock = lambda: datetime.now(UTC)
root = Path({root!r})
services = Services(Vault.open(root / "vault", clock=clock))
run_backup(AgentHome(root / "home"), services, clock, Silent(), Stream({path!r}, {command!r}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_stream(server: Server) -> None:
    def peak(megabytes: int) -> int:
        command = f"seq 1 100000000 | head -c {megabytes}M"
        code = CHILD.format(paths=sys.path, root=str(server.root), path=DUMP, command=command)
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    assert peak(600) - peak(150) < 64 << 10  # KiB
