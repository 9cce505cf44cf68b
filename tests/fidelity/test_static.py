"""Everything a POSIX file system can hold is backed up and comes back, on each file system: Zwicky's list and ours."""

import os
from pathlib import Path

import pytest

from device.disks import KINDS, Disk
from fidelity import extras
from fidelity.bench import Bench
from fidelity.conftest import FULL
from oracle import torture
from wain.job.job import JobState


@pytest.mark.parametrize("disk", KINDS, indirect=True)
def test_a_torture_tree_comes_back(disk: Disk, tmp_path: Path) -> None:
    source = disk.point / "source"
    made = torture.build(os.fsencode(source / "torture"), full=FULL)
    assert set(made.skipped) <= {"reflinks"}, made.skipped
    extra = os.fsencode(source / "extra")
    extras.fill(extra)
    bench = Bench(tmp_path / "server", source)
    try:
        with extras.bound(extra):
            job = bench.backup()
            assert (job.state, job.problems) == (JobState.COMPLETED, ())
            report = bench.restore(disk.point / "restored")
            assert (report.exit_code, report.notes) == (0, ())
            assert bench.differences(disk.point / "restored") == []
            again = bench.backup()
        assert again.state is JobState.COMPLETED
        assert again.new_bytes < 200_000, "what is unchanged is not stored twice"
    finally:
        extras.unlock(extra)
