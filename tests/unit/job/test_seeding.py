import itertools

import pytest

from wain.job.seeding import (
    COMPLETED,
    WAITING,
    BackUpOnline,
    GiveUp,
    Import,
    NameNext,
    NotYet,
    SeedState,
    Wait,
    WriteDevice,
    next_step,
)
from wain.order.order import Stage

STAGES = [None, *Stage]
STATES = [None, *SeedState]

# One letter for each step, in the order of STAGES: not known, DeviceOrdered, DevicePrepared, Dispatched, Delivered,
# PickedUp, AtAzureDC, DataCopy, Completed, CompletedWithWarnings, CompletedWithErrors, Cancelled, Aborted.
# n not yet, N name the next device, w write, W wait, i import, o online, g give up.
EXPECTED = {
    None: "ooooooooooooo",
    SeedState.PLANNED: "nnnnwgggggggg",
    SeedState.WRITING: "nnnnwgggggggg",
    SeedState.FULL: "nnnnwgggggggg",
    SeedState.CONTINUED: "NNNNNNNNNNNNN",
    SeedState.SEALED: "WWWWWWWWiiigg",
    SeedState.IN_VAULT: "ooooooooooooo",
    SeedState.PARTIAL: "ooooooooooooo",
    SeedState.ABANDONED: "ooooooooooooo",
}
STEPS = {"n": NotYet, "N": NameNext, "w": WriteDevice, "W": Wait, "i": Import, "o": BackUpOnline, "g": GiveUp}


def test_the_expectations_cover_every_pair():
    assert set(EXPECTED) == set(STATES)
    assert all(len(letters) == len(STAGES) == 13 for letters in EXPECTED.values())


@pytest.mark.parametrize(("state", "stage"), list(itertools.product(STATES, STAGES)))
def test_every_pair_has_its_step(state, stage):
    step = next_step(state, stage)
    assert type(step) is STEPS[EXPECTED[state][STAGES.index(stage)]]
    if isinstance(step, NotYet | Wait):
        assert step.stage is stage
    if isinstance(step, Wait):
        assert step.message == WAITING
    if isinstance(step, NotYet):
        assert "Delivered" in step.message
        assert stage is None or stage.value in step.message
    if isinstance(step, GiveUp):
        assert stage.value in step.reason


def test_the_words_are_the_seeds():
    assert WAITING == "Waiting for Azure Data Box job to be completed"
    assert COMPLETED == "Job Completed"


def test_nothing_is_given_up_for_an_unknown_order():
    assert not any(isinstance(next_step(state, None), GiveUp | Import | WriteDevice) for state in STATES)


def test_states_have_the_words_of_the_design():
    words = "planned, writing, device full, waiting for its next device, sealed, in vault, partial, abandoned"
    assert [state.value for state in SeedState] == words.split(", ")
