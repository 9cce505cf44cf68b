import itertools
from datetime import UTC, datetime

import pytest

from wain.base.errors import IllegalMove
from wain.job.job import ENDED, MOVES, Job, JobKind, JobState, advance, exit_code

CODES = {
    "completed": 0,
    "waiting": 0,
    "completed with warnings": 3,
    "failed": 1,
    "cancelled": 1,
    "queued": 1,
    "running": 1,
}


@pytest.mark.parametrize("state", JobState)
def test_exit_codes(state):
    assert exit_code(state) == CODES[state.value]


LEGAL = {("queued", "running"), ("queued", "failed"), ("queued", "cancelled")} | {
    ("running", end) for end in ("waiting", "completed", "completed with warnings", "failed", "cancelled")
}


@pytest.mark.parametrize(("now", "then"), list(itertools.product(JobState, JobState)))
def test_every_move(now, then):
    if (now.value, then.value) in LEGAL:
        assert advance(now, then) is then
    else:
        with pytest.raises(IllegalMove, match=f"job cannot go from {now.value} to {then.value}"):
            advance(now, then)


def test_ends_are_ends():
    assert not ENDED & set(MOVES)
    assert {JobState.QUEUED, JobState.RUNNING} == set(JobState) - ENDED


def test_a_new_job_counts_nothing():
    job = Job("00ff", JobKind.BACKUP, JobState.RUNNING, datetime(2026, 1, 1, tzinfo=UTC))
    assert (job.ended_at, job.point, job.problems, job.notes, job.message) == (None, None, (), (), "")
    assert (job.files, job.directories, job.source_bytes, job.new_bytes, job.stored_bytes, job.skipped) == (0,) * 6
    assert [kind.value for kind in JobKind] == ["backup", "stream", "restore", "verify"]
