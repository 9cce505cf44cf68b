"""One job and its record, however it ends; and the chain of recovery points it continues."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from unit.agent.engine import START, Clock, Faulty, Server
from wain.agent import sinks
from wain.agent.home import AgentHome, Head
from wain.agent.job import Services, run_backup
from wain.agent.sinks import VaultSink
from wain.base.errors import Corrupt, Refused, WriteFailed
from wain.base.ids import PackId, PointId
from wain.base.progress import Silent
from wain.job.job import Job, JobKind, JobState
from wain.vault.service import Vault


@pytest.fixture
def server(tmp_path: Path) -> Server:
    server = Server(tmp_path)
    (server.source / "f").write_text("content")
    return server


def test_a_job_keeps_its_record(server: Server) -> None:
    job = server.backup()
    assert server.home.jobs() == [job]
    assert (job.kind, job.state, job.files, job.directories > 1) == (JobKind.BACKUP, JobState.COMPLETED, 1, True)
    assert job.point == server.vault.points(server.rid)[-1].id
    assert job.ended_at is not None
    assert job.ended_at > job.started_at


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (WriteFailed("the vault", "no"), JobState.FAILED, "cannot write the vault"),
        (KeyboardInterrupt(), JobState.CANCELLED, "interrupted"),
        (RuntimeError("a bug"), JobState.FAILED, "unexpected RuntimeError: a bug"),
        (MemoryError(), JobState.FAILED, "unexpected MemoryError"),
    ],
)
def test_however_a_job_ends_its_record_says_so(server: Server, error, state: JobState, words: str) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(server.vault, name)

        def upload(self, *_: object) -> None:
            raise error

    with pytest.raises(type(error)):
        server.backup(Broken())
    (job,) = server.home.jobs()
    assert (job.state, words in job.message) == (state, True)
    assert server.backup().state is JobState.COMPLETED


def test_a_record_that_cannot_be_written_does_not_hide_what_happened(server: Server, monkeypatch) -> None:
    real, calls = AgentHome.save_job, []

    def save_job(self: AgentHome, job: Job) -> None:
        calls.append(job)
        if len(calls) > 1:
            raise WriteFailed("the home", "full")
        real(self, job)

    monkeypatch.setattr(AgentHome, "save_job", save_job)
    with pytest.raises(WriteFailed, match="test's vault"):
        server.backup(Faulty(server.vault, "put_pack"))


def test_records_of_killed_jobs_are_ended_by_the_next(server: Server) -> None:
    server.home.save_job(Job("dead", JobKind.BACKUP, JobState.RUNNING, START))
    server.backup()
    first, second = server.home.jobs()
    assert (first.id, first.state) == ("dead", JobState.FAILED)
    assert "killed" in first.message
    assert second.state is JobState.COMPLETED


def test_a_second_job_is_refused_and_leaves_no_record(server: Server) -> None:
    with server.home.lock(), pytest.raises(Refused, match="another job"):
        server.backup()
    assert not server.home.jobs()


def test_without_registration_or_policy(tmp_path: Path, server: Server) -> None:
    with pytest.raises(Refused, match="not registered"):
        run_backup(AgentHome(tmp_path / "other"), Services(server.vault), Clock(), Silent())
    (server.home.agent / "policy.json").unlink()
    with pytest.raises(Refused, match="no backup policy"):
        server.backup()


class TestChain:
    def test_a_crash_between_the_commit_and_the_head(self, server: Server, monkeypatch) -> None:
        with monkeypatch.context() as patch, pytest.raises(WriteFailed):  # noqa: PT012
            patch.setattr(AgentHome, "save_head", lambda *_: (_ for _ in ()).throw(WriteFailed("home", "killed")))
            server.backup()
        assert len(server.vault.points(server.rid)) == 1
        (server.source / "f").write_text("later content")
        server.backup()
        assert [one.seq for one in server.vault.points(server.rid)] == [1, 2]
        assert server.content("source/f") == b"later content"

    def test_a_lost_acknowledgement_makes_no_fork(self, server: Server) -> None:
        server.backup()
        with pytest.raises(WriteFailed):
            server.backup(Faulty(server.vault, "commit_point", after=True))
        server.backup()
        assert [one.seq for one in server.vault.points(server.rid)] == [1, 2, 3]

    def test_a_vault_that_was_rolled_back_is_told_so(self, server: Server) -> None:
        server.backup()
        server.home.save_head(Head(5, PointId(b"x" * 32)))
        with pytest.raises(Corrupt, match="recovery point 5"):
            server.backup()
        assert len(server.vault.points(server.rid)) == 1

    def test_a_vault_that_shows_another_point_in_the_same_place(self, server: Server) -> None:
        server.backup()
        server.home.save_head(Head(1, PointId(b"x" * 32)))
        with pytest.raises(Corrupt):
            server.backup()

    def test_a_vault_that_shows_nothing(self, server: Server) -> None:
        server.backup()

        class Empty:
            def __getattr__(self, name: str) -> object:
                return getattr(server.vault, name)

            def points(self, _: object) -> list[object]:
                return []

        with pytest.raises(Corrupt):
            server.backup(Empty())


def test_a_long_job_asks_again_for_the_packs_it_counts_on(server: Server, monkeypatch) -> None:
    asked: list[list[PackId]] = []

    class Watched:
        def upload(self, _: object) -> "Watched":
            return self

        def finish(self, _: object) -> bool:
            return True

        def presence(self, _: object, packs: list[PackId]) -> None:
            asked.append(packs)

    from unit.agent.test_known import sealed  # noqa: PLC0415

    def put(body: bytes) -> None:
        sink.draft().finish(sealed(body))

    sink = VaultSink(Watched(), server.rid, lambda: [PackId(b"p" * 32)])
    put(b"x")
    assert not asked
    monkeypatch.setattr(sinks, "RENEW_SECONDS", 0)
    put(b"y")
    assert asked == [[b"p" * 32]]


KILLED = """
import os, sys
from pathlib import Path
from datetime import UTC, datetime
from wain.agent.home import AgentHome
from wain.agent.job import Services, run_backup
from wain.base.progress import Silent
from wain.vault.service import Vault
root = Path(sys.argv[1])
clock = lambda: datetime.now(UTC)
vault = Vault.open(root / "vault", clock=clock)
print("ready", flush=True)
run_backup(AgentHome(root / "home"), Services(vault, skip=(root / "vault",)), clock, Silent())
"""


def test_kill_9_at_any_moment_is_gone_on_from(tmp_path: Path) -> None:
    server = Server(tmp_path, lambda: datetime.now(UTC))
    for number in range(300):
        (server.source / f"f{number}").write_bytes(os.urandom(20_000))
    server.vault.close()
    for wait in (0.0, 0.03, 0.06, 0.1, 0.15):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    server.vault = Vault.open(tmp_path / "vault", clock=server.clock)
    job = server.backup()
    assert job.state is JobState.COMPLETED
    assert not [one for one in server.home.jobs() if one.state is JobState.RUNNING]
    for number in range(0, 300, 37):
        assert server.content(f"source/f{number}") == (server.source / f"f{number}").read_bytes()
