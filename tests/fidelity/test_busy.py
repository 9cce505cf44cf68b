"""Backups of trees that change meanwhile: what they hold existed, or is named; nothing is missing without a word.

`WAIN_BUSY` is the number of seeds (default 2), `WAIN_SEED` the first one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.disks import KINDS, Disk
from fidelity import busy
from unit.agent.engine import Server
from wain.agent.restore import Policy, RestoreRequest, restore
from wain.base.progress import Silent
from wain.job.job import Job, JobState

SEEDS = int(os.environ.get("WAIN_BUSY", "2"))
FIRST = int(os.environ.get("WAIN_SEED", str(time.time_ns() % 1_000_000)))
SIZES = {"ext4": 512 << 20, "xfs": 512 << 20, "btrfs": 512 << 20}


@contextmanager
def workers(root: Path, seed: int) -> Iterator[None]:
    command = [sys.executable, "-m", "fidelity.busy", str(root)]
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    shares = range(busy.WORKERS)
    at_work = [subprocess.Popen([*command, str(seed * 10 + share), str(share)], env=place) for share in shares]
    try:
        yield
        assert all(one.poll() is None for one in at_work), "a writer failed"
    finally:
        for one in at_work:
            one.kill()
            one.wait()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [FIRST + number for number in range(SEEDS)])
def test_a_busy_tree(kind: str, seed: int, tmp_path: Path) -> None:
    disk = Disk(kind, tmp_path, size=SIZES[kind])
    server = Server(disk.mount())
    try:
        busy.make(server.source)
        with workers(server.source, seed):
            jobs = [server.backup() for _ in range(3)]
        for job, point in zip(jobs, server.vault.points(server.rid), strict=True):
            out = tmp_path / f"out-{point.seq}"
            with server.view(point.id) as view:
                report = restore(view, RestoreRequest(out, (), Policy(), durable=False), Silent())
            assert report.exit_code == 0, report
            check(job, server.source, out / os.fsdecode(bytes(server.source)).lstrip("/"))
    finally:
        del server
        disk.unmount("-l")


def check(job: Job, source: Path, restored: Path) -> None:
    assert job.state in (JobState.COMPLETED, JobState.COMPLETED_WITH_WARNINGS), job
    named = {os.fsdecode(problem.path) for problem in job.problems}
    faults = []
    for kind in busy.WRITERS:
        if str(source / kind) in named:
            continue
        for path in sorted((restored / kind).iterdir()):
            origin = str(source / kind / path.name)
            if path.name.endswith("~") or path.is_symlink() or not path.is_file():
                continue
            if origin in named and kind not in busy.ALWAYS:
                continue
            if fault := busy.wrong(kind, path):
                faults.append(f"{kind}/{path.name}: {fault}")
        if kind in ("saved", "log", "sparse"):  # These are there all the time.
            there = {path.name for path in (restored / kind).iterdir()}
            gone = {f"{kind}-{number}" for number in range(busy.FILES)} - there
            faults += [f"{kind}/{name}: missing" for name in sorted(gone) if str(source / kind / name) not in named]
    assert not faults, (faults, job.problems)
