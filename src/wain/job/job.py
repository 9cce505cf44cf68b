"""One run of the agent: its states, its counts and its exit code."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from wain.base.errors import IllegalMove
from wain.base.ids import PointId

PROBLEMS_CAP: Final = 1000
"""A job keeps the first so many problems; `Job.skipped` counts them all."""


class JobKind(Enum):
    """What a job does."""

    BACKUP = "backup"
    STREAM = "stream"
    """One file that a command or a pipe gave."""
    RESTORE = "restore"
    VERIFY = "verify"


class JobState(Enum):
    """How far a job is. The value is what people read."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """Nothing is wrong: the seed is on the road. The next scheduled job looks again."""
    COMPLETED = "completed"
    COMPLETED_WITH_WARNINGS = "completed with warnings"
    """A recovery point exists; some files are listed as skipped, or the notes say what else went wrong."""
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset(JobState) - {JobState.QUEUED, JobState.RUNNING}

MOVES: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: ENDED,
}
"""Every legal move. A state without a row is an end."""

_EXIT_CODES: Final[Mapping[JobState, int]] = {
    JobState.QUEUED: 1,
    JobState.RUNNING: 1,
    JobState.WAITING: 0,
    JobState.COMPLETED: 0,
    JobState.COMPLETED_WITH_WARNINGS: 3,
    JobState.FAILED: 1,
    JobState.CANCELLED: 1,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One path that could not be read, written or trusted, and why."""

    path: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job's record. Counts are of this run; sizes in bytes; moments aware, in UTC."""

    id: str
    """Lower-case hex, unique within an agent."""
    kind: JobKind
    state: JobState
    started_at: datetime
    ended_at: datetime | None = None
    message: str = ""
    files: int = 0
    directories: int = 0
    source_bytes: int = 0
    """What the protected files hold."""
    new_bytes: int = 0
    """Of it, what was not stored before, before compression."""
    stored_bytes: int = 0
    """What the new bytes occupy, compressed and sealed."""
    skipped: int = 0
    point: PointId | None = None
    """The recovery point made or read."""
    problems: tuple[Problem, ...] = ()
    """The first `PROBLEMS_CAP`."""
    notes: tuple[str, ...] = ()
    """What else is to be known, beside the files: how the source was read, what a command said."""


def advance(now: JobState, then: JobState) -> JobState:
    """Return `then`.

    Raises:
        IllegalMove: `MOVES` does not list the move.
    """
    if then not in MOVES.get(now, frozenset()):
        raise IllegalMove("job", now.value, then.value)
    return then


def exit_code(state: JobState) -> int:
    """Return a job's exit code: 0 done or waiting, 3 done with some files skipped, 1 otherwise."""
    return _EXIT_CODES[state]
