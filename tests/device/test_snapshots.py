"""btrfs snapshots for real: files that never hold still, subvolumes, and a job that is killed in the middle."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle.mounts import mounted, why_not
from unit.agent.engine import Server
from wain.agent import reading
from wain.agent.freeze import FreezeFailed
from wain.agent.freeze_btrfs import HIDDEN_PREFIX, BtrfsFreezer
from wain.agent.mounts import mounts
from wain.base.errors import Refused
from wain.job.job import Job, JobState
from wain.policy.consistency import Commands, SourceMode

pytestmark = pytest.mark.skipif(bool(why_not("btrfs")), reason=f"btrfs: {why_not('btrfs')}")

SIZE = 256 << 20
BLOCK = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted("btrfs", str(tmp_path), SIZE) as point:
        yield Path(point)


@pytest.fixture
def server(tmp_path: Path, disk: Path) -> Server:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    server.root = tmp_path  # Names in this file's tests begin with "btrfs/".
    server.policy(disk, source=SourceMode.SNAPSHOT)
    return server


def backup(server: Server) -> Job:
    server.root, root = server.root / "server", server.root
    try:
        return server.backup()
    finally:
        server.root = root


def subvolume(path: Path) -> Path:
    subprocess.run(["btrfs", "subvolume", "create", str(path)], check=True, capture_output=True)
    return path


def hidden(disk: Path) -> list[str]:
    return [name for name in os.listdir(disk) if os.fsencode(name).startswith(HIDDEN_PREFIX)]


def settle() -> None:
    """Wait until files are old enough to be recognised (`tree_backup.SETTLE_NS`)."""
    time.sleep(2.2)


def test_a_file_that_never_holds_still_is_kept_as_it_was_at_one_moment(server: Server, disk: Path) -> None:
    # Every round writes its number all over one file, syncs it, and then does the same to the other: as databases do,
    # which keep their order by syncing. (What was not synced, a snapshot holds as a power cut would leave it.)
    files = [disk / "first", disk / "second"]
    for file in files:
        file.write_bytes(bytes(BLOCK * 256))
    stop, number = threading.Event(), 0

    def churn() -> None:
        nonlocal number
        while not stop.is_set():
            number += 1
            for file in files:
                with open(file, "r+b", buffering=0) as out:
                    out.write(number.to_bytes(8, "big") * (BLOCK // 8) * 256)
                    os.fsync(out)

    writer = threading.Thread(target=churn)
    writer.start()
    while number < 3:
        time.sleep(0.01)
    try:
        job = backup(server)
    finally:
        stop.set()
        writer.join()
    assert (job.state, job.problems) == (JobState.COMPLETED, ())
    assert job.notes == ("read from 1 btrfs snapshot",)
    first, second = (numbers(server.content(f"btrfs/{file.name}")) for file in files)
    assert 0 < max(first) < number
    assert max(first) - max(second) in (0, 1)
    assert max(second) <= min(first)  # The second is begun when the first is whole.
    assert hidden(disk) == []


def numbers(body: bytes) -> set[int]:
    return {int.from_bytes(body[at : at + 8], "big") for at in range(0, len(body), BLOCK)}


def test_live_reading_of_such_a_file_is_a_warning(server: Server, disk: Path) -> None:
    # The other half of the claim: without a snapshot the same file is reported.
    file = disk / "busy"
    file.write_bytes(bytes(64 << 20))
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            os.utime(file)
            time.sleep(0.001)

    server.policy(disk)
    writer = threading.Thread(target=churn)
    writer.start()
    try:
        assert backup(server).state is JobState.COMPLETED_WITH_WARNINGS
        server.policy(disk, source=SourceMode.AUTO)
        assert backup(server).state is JobState.COMPLETED
    finally:
        stop.set()
        writer.join()


def test_the_point_names_the_files_where_they_are(server: Server, disk: Path) -> None:
    (disk / "dir").mkdir()
    (disk / "dir" / "f").write_text("as it was")
    server.policy(
        disk, source=SourceMode.SNAPSHOT, commands=Commands(after=f"echo changed > {disk}/dir/f; touch {disk}/g")
    )
    backup(server)
    names = {name for name in server.entries() if name.startswith("btrfs")}
    assert names == {"btrfs", "btrfs/dir", "btrfs/dir/f"}
    assert server.content("btrfs/dir/f") == b"as it was"


def test_unchanged_files_are_recognised_in_another_snapshot_and_in_none(server: Server, disk: Path) -> None:
    (disk / "f").write_bytes(os.urandom(100_000))
    (disk / "d").mkdir()
    (disk / "d" / "g").write_bytes(os.urandom(100_000))
    settle()
    first = backup(server)
    assert first.new_bytes > 200_000
    assert unread(server, disk)
    server.policy(disk, source=SourceMode.LIVE)
    assert unread(server, disk)


def unread(server: Server, disk: Path) -> bool:
    """Return True when a backup opens no file to read it, though a new one would be."""
    opened: list[bytes] = []
    real = reading._open

    def counting(directory_fd: int, name: bytes) -> int:
        opened.append(name)
        return real(directory_fd, name)

    fresh = disk / f"fresh-{time.time_ns()}"
    fresh.write_text("new")
    reading._open = counting
    try:
        backup(server)
    finally:
        reading._open = real
    assert os.fsencode(fresh.name) in opened
    fresh.unlink()
    return set(opened) == {os.fsencode(fresh.name)}


def test_a_mount_and_one_file_of_another_file_system_keep_their_numbers(server: Server, disk: Path) -> None:
    # An item of the machine's own file system comes behind the snapshot: its device's place must not move.
    (disk / "f").write_text("f")
    other = server.root / "other"
    other.mkdir()
    (other / "g").write_text("g")
    server.policy(disk, other, source=SourceMode.AUTO)
    settle()
    job = backup(server)
    assert any("was read as it is" in note for note in job.notes)
    assert unread(server, disk)
    server.policy(disk, other, source=SourceMode.LIVE)
    assert unread(server, disk)


def test_a_part_that_is_read_as_it_is_keeps_the_number_of_its_file_system(server: Server, disk: Path) -> None:
    (disk / "dir").mkdir()
    (disk / "dir" / "f").write_text("f")
    bound = server.root / "zbound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", str(disk / "dir"), str(bound)], check=True)
    try:
        server.policy(disk, bound)
        settle()
        backup(server)
        server.policy(disk, bound, source=SourceMode.AUTO)
        assert unread(server, disk)
    finally:
        subprocess.run(["umount", str(bound)], check=True)


def test_subvolumes_below_are_frozen_too(server: Server, disk: Path) -> None:
    for path in ("a", "a/b", "a/b/c"):
        (subvolume(disk / path) / "f").write_text(path)
    (disk / "plain").mkdir()
    (subvolume(disk / "plain" / "deep") / "f").write_text("deep")
    job = backup(server)
    assert (job.state, job.notes) == (JobState.COMPLETED, ("read from 5 btrfs snapshots",))
    for path, text in (("a", "a"), ("a/b", "a/b"), ("a/b/c", "a/b/c"), ("plain/deep", "deep")):
        assert server.content(f"btrfs/{path}/f").decode() == text
    assert hidden(disk) == []


def test_a_file_system_that_is_mounted_over_its_own_subvolume_has_an_end(server: Server, disk: Path) -> None:
    subvolume(disk / "a")
    (subvolume(disk / "b") / "f").write_text("b")
    subprocess.run(["mount", "--bind", str(disk), str(disk / "a")], check=True)
    try:
        assert backup(server).notes == ("read from 5 btrfs snapshots",)
        assert server.content("btrfs/b/f") == server.content("btrfs/a/b/f") == b"b"
    finally:
        subprocess.run(["umount", str(disk / "a")], check=True)
    assert hidden(disk) == []


def test_an_item_in_a_subvolume_freezes_that_alone(server: Server, disk: Path) -> None:
    (subvolume(disk / "a") / "f").write_text("a")
    (subvolume(disk / "b") / "f").write_text("b")
    server.policy(disk / "a" / "f", source=SourceMode.SNAPSHOT)
    assert backup(server).notes == ("read from 1 btrfs snapshot",)
    assert server.content("btrfs/a/f") == b"a"


def test_what_is_left_out_is_not_frozen(server: Server, disk: Path) -> None:
    (subvolume(disk / "keep") / "f").write_text("keep")
    for number in range(3):
        subvolume(disk / f"snap-{number}")
    server.policy(disk, source=SourceMode.SNAPSHOT, excludes=("snap-*",))
    assert backup(server).notes == ("read from 2 btrfs snapshots",)
    server.policy(disk, source=SourceMode.SNAPSHOT, one_file_system=True)
    assert backup(server).notes == ("read from 1 btrfs snapshot",)


def test_other_file_systems_below_a_snapshot_are_read_where_they_are(server: Server, disk: Path) -> None:
    (disk / "m").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(disk / "m")], check=True)
    try:
        (disk / "m" / "f").write_text("in memory")
        assert backup(server).state is JobState.COMPLETED
        assert server.content("btrfs/m/f") == b"in memory"
        server.policy(disk, source=SourceMode.SNAPSHOT, one_file_system=True)
        backup(server)
        assert "btrfs/m/f" not in server.entries()
    finally:
        subprocess.run(["umount", str(disk / "m")], check=True)


def test_the_agents_own_directory_is_left_out_of_the_snapshot_too(tmp_path: Path, disk: Path) -> None:
    (disk / "all").mkdir()
    server = Server(disk / "all")
    (server.source / "f").write_text("f")
    server.policy(disk, source=SourceMode.SNAPSHOT)
    try:
        job = server.backup()
        assert job.state is JobState.COMPLETED
        assert set(server.entries()) == {"source", "source/f"}
    finally:
        server.vault.close()  # Else its files keep the disk from being unmounted.


def test_it_is_refused_where_there_is_no_btrfs(server: Server) -> None:
    server.policy(server.root / "server", source=SourceMode.SNAPSHOT)
    with pytest.raises(Refused, match="no snapshot can be made of"):
        backup(server)
    assert not server.vault.points(server.rid)


def test_making_and_removing_snapshots_leaves_the_times_of_their_parent(server: Server, disk: Path) -> None:
    (disk / "f").write_text("f")
    before = os.stat(disk).st_mtime_ns
    backup(server)
    assert os.stat(disk).st_mtime_ns == before
    assert server.entries()["btrfs"].stat.mtime_ns == before


CHILD = """
import sys
sys.path[:0] = {paths!r}
from datetime import UTC, datetime
from pathlib import Path
from wain.agent.home import AgentHome
from wain.agent.job import Services, run_backup
from wain.base.progress import Silent
from wain.vault.service import Vault
clock = lambda: datetime.now(UTC)
root = Path({root!r})
run_backup(AgentHome(root / "home"), Services(Vault.open(root / "vault", clock=clock)), clock, Silent())
"""


def test_a_killed_job_leaves_a_snapshot_that_the_next_job_removes(server: Server, disk: Path) -> None:
    (disk / "f").write_text("f")
    subvolume(disk / "sub")
    going = server.root / "going"
    # After the snapshots are made the command holds the job up, so that the kill lands there.
    server.policy(disk, source=SourceMode.SNAPSHOT, commands=Commands(after=f"touch {going}; sleep 60"))
    code = CHILD.format(paths=sys.path, root=str(server.root / "server"))
    child = subprocess.Popen([sys.executable, "-c", code])
    while not going.exists():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    [left] = hidden(disk)
    assert left.endswith(server.rid.hex())
    assert sorted(os.listdir(disk / left)) == ["0", "1"]
    stranger = disk / f"{os.fsdecode(HIDDEN_PREFIX)}{'00' * 16}"
    stranger.mkdir(mode=0o700)
    subvolume(stranger / "0")

    server.policy(disk)  # The policy says "live" by now.
    job = backup(server)
    assert job.notes == ("removed 2 snapshots that an earlier job had left behind",)
    assert hidden(disk) == [stranger.name]
    assert (stranger / "0").is_dir()


def test_somebody_elses_directory_of_that_name_is_not_touched(server: Server, disk: Path) -> None:
    trap = disk / f"{os.fsdecode(HIDDEN_PREFIX)}{server.rid.hex()}"
    trap.mkdir(mode=0o777)
    trap.chmod(0o777)
    with pytest.raises(FreezeFailed, match="somebody else made a directory of that name"):
        backup(server)
    server.policy(disk, source=SourceMode.AUTO)
    job = backup(server)
    assert "no snapshot was made" in job.notes[-1]
    assert trap.is_dir()


def test_a_part_of_a_subvolume_and_a_read_only_mount_cannot_be_frozen(server: Server, disk: Path) -> None:
    (disk / "dir").mkdir()
    bound = server.root / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", str(disk / "dir"), str(bound)], check=True)
    try:
        freezer = BtrfsFreezer(server.rid.hex())
        [mount] = [one for one in mounts() if one.point == os.fsencode(bound)]
        assert freezer.why_not(mount) == "only a part of a subvolume is mounted"
        subprocess.run(["mount", "-o", "remount,ro,bind", str(bound)], check=True)
        [mount] = [one for one in mounts() if one.point == os.fsencode(bound)]
        assert freezer.why_not(mount) == "it is mounted read-only"
    finally:
        subprocess.run(["umount", str(bound)], check=True)
