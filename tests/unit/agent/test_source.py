"""Holding a source still: the order of commands and snapshots, and what is left when any of them fails."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from unit.agent.engine import Faulty, Server
from wain.agent import backup_run
from wain.agent import source as sources
from wain.agent.commands import CommandFailed
from wain.agent.freeze import FreezeFailed, Freezing, Frozen
from wain.agent.mounts import Mount
from wain.agent.source import Remarks, Source, held_still, source_of
from wain.agent.view import LIVE, Place
from wain.base.errors import Refused, WriteFailed
from wain.base.progress import Silent
from wain.job.job import JobState
from wain.policy.consistency import Commands, SourceMode


@dataclass
class Paper:
    """A freezer that freezes everything by noting it down; a copy stands for the snapshot."""

    said: Path
    copy: Path
    reason: str = ""
    fails: frozenset[str] = frozenset()
    left: int = 0
    name: str = "paper"
    made: list[bytes] = field(default_factory=list)

    def _say(self, word: str) -> None:
        with open(self.said, "a") as file:
            file.write(f"{word}\n")
        if word in self.fails:
            raise FreezeFailed("paper", f"{word} does not work")

    def why_not(self, mount: Mount) -> str:
        return self.reason

    def nested(self, mount: Mount) -> list[bytes]:
        return []

    def freeze(self, mount: Mount, point: bytes, number: int) -> Frozen:
        self._say("freeze")
        return Frozen(point, Place.at(os.fsencode(self.copy)), os.stat(point).st_dev, mount, str(number))

    def thaw(self, frozen: Frozen) -> None:
        self._say("thaw")

    def clear(self, mounts: Iterable[Mount]) -> int:
        self._say("clear")
        return self.left


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said"


def make(server: Server, said: Path, mode: SourceMode = SourceMode.AUTO, **paper: object) -> Source:
    commands = Commands(f"echo before >> {said}", f'echo "after $WAIN_RESULT" >> {said}')
    server.policy(source=mode, commands=commands)
    policy = server.home.require_policy()
    made = source_of(policy, server.home.agent, server.rid, "job")
    copy = server.root / "copy"
    copy.mkdir(exist_ok=True)
    return Source(mode, commands, made.scope, (Paper(said, copy, **paper),), made.marker, "job")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def read(source: Source, said: Path, error: BaseException | None = None) -> Remarks:
    remarks = Remarks(Silent())
    with held_still(source, remarks):
        with open(said, "a") as file:
            file.write("read\n")
        if error:
            raise error
    return remarks


def test_a_snapshot_lets_the_command_after_run_before_the_reading(server: Server, said: Path) -> None:
    source = make(server, said)
    remarks = read(source, said)
    assert said.read_text().split("\n")[:-1] == ["before", "freeze", "after completed", "read", "thaw"]
    assert (remarks.lines, remarks.warnings) == (["read from 1 paper snapshot"], 0)
    assert not source.marker.exists()


def test_without_snapshots_the_command_after_runs_when_all_is_read(server: Server, said: Path) -> None:
    read(make(server, said, SourceMode.LIVE), said)
    assert said.read_text().split("\n")[:-1] == ["before", "read", "after completed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("boom")])
@pytest.mark.parametrize("mode", [SourceMode.LIVE, SourceMode.SNAPSHOT])
def test_whatever_ends_the_reading(server: Server, said: Path, mode: SourceMode, error: BaseException) -> None:
    with pytest.raises(type(error)):
        read(make(server, said, mode), said, error)
    words = said.read_text().split("\n")[:-1]
    if mode is SourceMode.LIVE:
        assert words == ["before", "read", "after failed"]
    else:
        assert words == ["before", "freeze", "after completed", "read", "thaw"]


def test_a_required_snapshot_that_fails_ends_the_run_and_the_database_goes_on(server: Server, said: Path) -> None:
    with pytest.raises(FreezeFailed, match="freeze does not work"):
        read(make(server, said, SourceMode.SNAPSHOT, fails=frozenset({"freeze"})), said)
    assert said.read_text().split("\n")[:-1] == ["before", "freeze", "after failed"]


def test_a_required_snapshot_where_none_can_be_made_is_refused(server: Server, said: Path) -> None:
    with pytest.raises(Refused, match=r"no snapshot can be made of .*paper: it is too thin") as refused:
        read(make(server, said, SourceMode.SNAPSHOT, reason="it is too thin"), said)
    assert "--source live" in refused.value.hint


def test_auto_reads_files_as_they_are_and_says_so(server: Server, said: Path) -> None:
    remarks = Remarks(Silent())
    with held_still(make(server, said, reason="it is too thin"), remarks) as view:
        assert view is LIVE
    assert "was read as it is: paper: it is too thin" in remarks.lines[0]
    with held_still(make(server, said, fails=frozenset({"freeze"})), remarks) as view:
        assert view is LIVE
    assert remarks.lines[1] == "no snapshot was made (paper: freeze does not work): the files were read as they are"
    assert remarks.warnings == 0


def test_a_snapshot_that_stays_is_a_warning_and_the_next_job_removes_it(server: Server, said: Path) -> None:
    source = make(server, said, fails=frozenset({"thaw"}))
    remarks = read(source, said)
    assert remarks.warnings == 1
    assert "a snapshot was not removed (paper: thaw does not work)" in remarks.lines[-1]
    # It is still in the marker's care, whatever the policy says by then.
    assert source.marker.is_dir()
    said.unlink()
    remarks = read(make(server, said, SourceMode.LIVE, left=1), said)
    assert said.read_text().split("\n")[:2] == ["clear", "before"]
    assert remarks.lines == ["removed 1 snapshot that an earlier job had left behind"]
    assert not source.marker.exists()


def test_a_snapshot_that_stays_after_a_failed_freeze_is_not_forgotten(server: Server, said: Path) -> None:
    source = make(server, said, fails=frozenset({"thaw"}))
    paper = source.freezers[0]
    second = Mount(os.fsencode(server.source), b"/", "paper", b"")
    freezing = Freezing((paper,), [second], source.scope, required=False)
    freezing.freeze()
    assert len(freezing.thaw()) == freezing.stuck == 1
    assert freezing.thaw() == []
    assert freezing.stuck == 1


def test_leftovers_that_stay_are_a_warning_again(server: Server, said: Path) -> None:
    source = make(server, said, SourceMode.LIVE, fails=frozenset({"clear"}))
    source.marker.mkdir()
    remarks = read(source, said)
    assert remarks.warnings == 1
    assert source.marker.is_dir()


def test_a_command_before_that_fails_ends_the_job_before_anything_is_read(server: Server, said: Path) -> None:
    (server.source / "f").write_text("content")
    server.policy(commands=Commands("echo the disk is on fire; exit 9", f"touch {said}"))
    with pytest.raises(CommandFailed, match="status 9; its last words: the disk is on fire"):
        server.backup()
    job = server.home.jobs()[-1]
    assert (job.state, "the disk is on fire" in job.message) == (JobState.FAILED, True)
    assert not server.vault.points(server.rid)
    assert not said.exists()


def test_a_command_after_that_fails_is_a_warning_of_the_job(server: Server) -> None:
    (server.source / "f").write_text("content")
    server.policy(commands=Commands(after="echo cannot start it again; exit 1"))
    job = server.backup()
    assert job.state is JobState.COMPLETED_WITH_WARNINGS
    assert job.point is not None
    assert "cannot start it again" in job.notes[0]
    assert server.home.jobs()[-1] == job


def test_commands_know_the_job_and_the_items(server: Server, said: Path) -> None:
    other = server.root / "other"
    other.mkdir()
    commands = Commands(f'printf "%s\\n%s" "$WAIN_JOB" "$WAIN_INCLUDES" > {said}')
    server.policy(server.source, other, commands=commands)
    job = server.backup()
    assert said.read_text().split("\n") == [job.id, str(other), str(server.source)]


def test_very_many_items_are_not_told_to_commands(server: Server, said: Path) -> None:
    items = [server.source / f"{'x' * 200}-{number}" for number in range(1000)]
    server.policy(server.source, *items, commands=Commands(f'printf %s "$WAIN_INCLUDES" > {said}'))
    server.backup()
    assert said.read_text() == ""


def test_nothing_of_a_snapshot_is_open_when_it_is_removed(
    server: Server, said: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A mounted snapshot cannot be unmounted else; also when the vault fails in the middle of a directory.
    source = make(server, said)
    copy = server.root / "copy"
    (copy / str(server.source).strip("/")).mkdir(parents=True)
    for number in range(20):
        (copy / str(server.source).strip("/") / str(number)).write_bytes(os.urandom(8 << 20))
    left: list[str] = []
    real = Paper.thaw

    def thaw(paper: Paper, frozen: Frozen) -> None:
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
        left.extend(path for path in held if path.startswith(str(copy)))
        real(paper, frozen)

    monkeypatch.setattr(Paper, "thaw", thaw)
    monkeypatch.setattr(backup_run, "source_of", lambda *_: source)
    monkeypatch.setattr(sources, "mounts", lambda: [Mount(b"/", b"/", "paper", b"")])
    with pytest.raises(WriteFailed):
        server.backup(Faulty(server.vault, "put_pack"))
    assert server.backup().files == 20
    assert said.read_text().split().count("thaw") == 2
    assert left == []


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_on_windows_it_would_be_vss(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.sys, "platform", "win32")
    made = source_of(server.home.require_policy(), server.home.agent, server.rid, "job")
    assert [one.name for one in made.freezers] == ["VSS"]
