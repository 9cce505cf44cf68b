"""Commands and choices of how a source is read."""

import pytest

from wain.base.errors import Refused
from wain.policy.compression import LEVELS, Compression
from wain.policy.consistency import COMMAND_CAP, MAX_LIMIT_SECONDS, Commands
from wain.policy.policy import Policy


def test_by_default_nothing_runs_and_files_are_read_as_they_are():
    policy = Policy((b"/srv",))
    assert (policy.source.value, policy.compression.value) == ("live", "default")
    assert policy.commands == Commands(None, None, 3600)


@pytest.mark.parametrize("command", ["", " \t", "a\0b", "x" * (COMMAND_CAP + 1)])
def test_a_command_that_no_shell_could_run(command):
    for wrong in (lambda: Commands(before=command), lambda: Commands(after=command)):
        with pytest.raises(Refused) as refused:
            wrong()
        assert refused.value.hint


@pytest.mark.parametrize("seconds", [-1, 0, MAX_LIMIT_SECONDS + 1])
def test_a_limit_out_of_range(seconds):
    with pytest.raises(Refused):
        Commands(limit_seconds=seconds)


def test_every_choice_has_a_level_and_smaller_costs_more():
    levels = [LEVELS[choice] for choice in Compression]
    assert levels == sorted(set(levels))
