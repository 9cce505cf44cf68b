"""The seeding decisions: what a backup job does next, given how far its seed and its order are.

The whole rule is one table (`_STEPS`), made of rows that each name some states and some stages. `next_step` looks a
pair up and decides nothing more. Nothing irreversible is ever decided without a stage that says so: an order the
service does not know of makes the job wait.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from wain.order.order import DEAD, FINISHED, Stage

WAITING: Final = "Waiting for Azure Data Box job to be completed"
"""What a job says while the device is on the road (seed S-list: these words exactly)."""
NEXT_DEVICE: Final = (
    "The first backup goes on on another device: order one, and when it is here name it with "
    "`wain policy set --order ORDER --device PATH`"
)
COMPLETED: Final = "Job Completed"
"""What a job says once the recovery point exists."""


class SeedState(Enum):
    """How far a registration's first backup on a device is."""

    PLANNED = "planned"
    WRITING = "writing"
    FULL = "device full"
    """What was written fills the device, which gets sealed; the seed may go on on another."""
    CONTINUED = "waiting for its next device"
    """The devices before are full and sealed; which one comes next is not named yet."""
    SEALED = "sealed"
    """The device is written, read back and signed: from here on only its order moves."""
    IN_VAULT = "in vault"
    PARTIAL = "partial"
    """Imported, but some packs arrived damaged or not at all; they go over the wire."""
    ABANDONED = "abandoned"
    """It will never arrive."""


@dataclass(frozen=True, slots=True)
class WriteDevice:
    """Write the device, or go on writing it."""


@dataclass(frozen=True, slots=True)
class NameNext:
    """The device before is full and sealed: somebody has to say on which one the seed goes on."""

    message: str = NEXT_DEVICE


@dataclass(frozen=True, slots=True)
class NotYet:
    """The device is not here yet. `stage` is None when the service does not know the order."""

    stage: Stage | None
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The device is on the road: say so, and (with gap cover) protect what changed over the wire meanwhile."""

    stage: Stage | None
    message: str = WAITING


@dataclass(frozen=True, slots=True)
class Import:
    """Take the seed from the storage account into the vault."""


@dataclass(frozen=True, slots=True)
class BackUpOnline:
    """Back up over the wire."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The seed will never arrive: release it, and back up over the wire. `reason` is a sentence for the job."""

    reason: str


Step = WriteDevice | NameNext | NotYet | Wait | Import | BackUpOnline | GiveUp

_UNWRITTEN: Final = frozenset({SeedState.PLANNED, SeedState.WRITING, SeedState.FULL})
UNSEALED: Final = _UNWRITTEN | {SeedState.CONTINUED}
"""Until the last device is sealed: no manifest names what the seed holds."""
SETTLED: Final = frozenset({SeedState.IN_VAULT, SeedState.PARTIAL, SeedState.ABANDONED, None})
"""What no stage of the order changes any more."""
_COMING: Final = frozenset({Stage.DEVICE_ORDERED, Stage.DEVICE_PREPARED, Stage.DISPATCHED})
_ALL: Final = frozenset({*Stage, None})


def _rows() -> Iterator[tuple[SeedState | None, Stage | None, Step]]:
    """Yield the table row by row: one state, one stage, one step."""
    for stage in _ALL:
        for state in SETTLED:
            yield state, stage, BackUpOnline()
        for state in _UNWRITTEN:
            yield state, stage, _unwritten(stage)
        yield SeedState.SEALED, stage, _sealed(stage)
        yield SeedState.CONTINUED, stage, NameNext()


def _unwritten(stage: Stage | None) -> Step:
    if stage is None:
        return NotYet(
            None, "the order is not known to the Data Box service; the device can be written once it is Delivered"
        )
    if stage is Stage.DELIVERED:
        return WriteDevice()
    if stage in _COMING:
        return NotYet(stage, f"the order is {stage.value}; the device can be written once it is Delivered")
    if stage in DEAD:
        return GiveUp(f"the order is {stage.value}: no device will come")
    return GiveUp(f"the order is {stage.value}: the device left before this server's backup on it was sealed")


def _sealed(stage: Stage | None) -> Step:
    if stage in FINISHED:
        return Import()
    if stage in DEAD:
        return GiveUp(f"the order is {stage.value}: the device will not arrive")
    return Wait(stage)


_STEPS: Final[Mapping[tuple[SeedState | None, Stage | None], Step]] = {
    (state, stage): step for state, stage, step in _rows()
}


def next_step(state: SeedState | None, stage: Stage | None) -> Step:
    """Return what a backup job does now.

    `state` is None when the policy's initial backup is online; `stage` is None when the Data Box service does not know
    the order. Every pair has an answer.
    """
    return _STEPS[state, stage]
