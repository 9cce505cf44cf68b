"""Backing up what changes all the time: a file kept is one that was there, or is named; nothing outside is opened."""

import os
import time
from pathlib import Path

import pytest

from device.disks import KINDS, Disk
from fidelity import active
from fidelity.bench import Bench, reasons
from fidelity.watch import watching
from fidelity.writers import writing
from wain.agent.tree_backup import SETTLE_NS
from wain.job.job import JobState

ROUNDS = int(os.environ.get("WAIN_ACTIVE_ROUNDS", "3"))
SEED = int(os.environ.get("WAIN_SEED", "1991"))


def test_the_watch_sees_what_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with watching(str(tmp_path)) as opened:
        (tmp_path / "file").read_text()
        os.listdir(tmp_path)
        os.lstat(tmp_path / "file")
    assert {"file", ""} == set(opened)


def test_the_judge_sees_what_is_wrong() -> None:
    good = active.lines("name", 7, 20)
    assert not active.fault("name", good)
    assert not active.fault("name", good[:-5])
    assert active.fault("name", good[:64] + active.lines("name", 8, 20)[64:])
    assert active.fault("name", good[:64] + bytes(64))
    assert active.fault("other", good)
    assert active.fault("name", b"what nobody may read")


@pytest.mark.parametrize("disk", KINDS, indirect=True)
def test_what_is_kept_was_there_or_is_named(disk: Disk, tmp_path: Path) -> None:
    source = disk.point / "source"
    active.begin(source)
    bench = Bench(tmp_path / "server", source)
    with watching(str(disk.point / "outside")) as opened:
        with writing("everything", str(source), SEED):
            for number in range(ROUNDS):
                job = bench.backup()
                named = reasons(job, source)
                print(f"{disk.kind}: {job.files} files, {len(named)} named: {named}")
                assert job.state in (JobState.COMPLETED, JobState.COMPLETED_WITH_WARNINGS)
                report = bench.restore(tmp_path / f"restored{number}")
                assert report.exit_code == 0
                assert active.judge(bench.copy_in(tmp_path / f"restored{number}"), set(named)) == []
        time.sleep(SETTLE_NS / 1e9)
        assert bench.backup().state is JobState.COMPLETED
        report = bench.restore(disk.point / "at-rest")
    assert opened == []
    assert bench.differences(disk.point / "at-rest") == [], "nothing that changed meanwhile was taken for unchanged"
