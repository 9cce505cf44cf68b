"""`kill -9` at random moments over the whole story, each followed by the same command again.

`WAIN_KILLS` says how many kills must land (default 12; the release run is 200), `WAIN_SEED` repeats a run. Commands
are hit in proportion to the square root of how long they take, so that the short ones get their share. A command may
be killed several times in a row. Every round of the story ends with a restore that must equal the source.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from journeys.judges import assert_equal
from journeys.sources import change_a_little, small_tree
from journeys.story import Command, Story

KILLS = int(os.environ.get("WAIN_KILLS", "12"))
SEED = int(os.environ.get("WAIN_SEED", str(time.time_ns() % 1_000_000)))
KILLS_A_ROUND = 12
MEGABYTES = int(os.environ.get("WAIN_KILL_MEGABYTES", "80"))
"""Enough for two packs, so that there is something to resume."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A command of the story and how long it takes undisturbed, in seconds."""

    name: str
    seconds: float


def test_killed_at_random_moments(tmp_path: Path) -> None:
    print(f"WAIN_SEED={SEED} WAIN_KILLS={KILLS}")
    dice = random.Random(SEED)
    pattern = tmp_path / "pattern"
    small_tree(pattern, megabytes=MEGABYTES)
    timed = undisturbed(tmp_path / "calm", pattern)
    landed = 0
    while landed < KILLS:
        plan = plan_round(dice, timed, min(KILLS_A_ROUND, KILLS - landed))
        landed += tell_with_kills(tmp_path / "round", pattern, plan)


def undisturbed(work: Path, pattern: Path) -> list[Timed]:
    """Tell the story once without any kill, to know how long each command takes."""
    story = new_story(work, pattern)
    timed = [Timed(each.name, story.tell(each).seconds) for each in story.commands()]
    assert_whole(story)
    shutil.rmtree(work)
    return timed


def plan_round(dice: random.Random, timed: list[Timed], kills: int) -> dict[str, list[float]]:
    """Return for each command the moments, in seconds after its start, at which it is killed."""
    plan: dict[str, list[float]] = {}
    weights = [math.sqrt(each.seconds) for each in timed]
    for chosen in dice.choices(timed, weights, k=kills):
        plan.setdefault(chosen.name, []).append(dice.uniform(0.02, chosen.seconds))
    return plan


def tell_with_kills(work: Path, pattern: Path, plan: dict[str, list[float]]) -> int:
    """Tell the story with the kills of the plan; return how many landed."""
    story = new_story(work, pattern)
    landed = 0
    for command in story.commands():
        landed += tell_one(story, command, plan.get(command.name, []))
    assert_whole(story)
    shutil.rmtree(work)
    return landed


def tell_one(story: Story, command: Command, moments: list[float]) -> int:
    """Kill a command at each moment in turn, then run the same command to its end."""
    if command.before is not None:
        command.before()
    landed = 0
    for moment in moments:
        result = story.attempt(*command.args, kill_after=moment)
        landed += result.code == -9
        print(f"{command.name}: kill at {moment:.3f} s -> {result.code}")
        assert result.code in (-9, *command.codes), f"WAIN_SEED={SEED}: {result}"
    story.run(*command.args, codes=command.codes)
    return landed


def assert_whole(story: Story) -> None:
    """The story ended well: complete points, a whole restore, nothing left in the way of the next backup."""
    assert_equal(story.source, story.copy_of(story.source))
    assert all(each["state"] == "complete" for each in story.points()), story.history[-1]
    job = story.backup()
    assert job["state"] == "completed", job
    again = story.work / "again"
    story.restore(again)
    assert_equal(story.source, story.copy_of(story.source, again))


def new_story(work: Path, pattern: Path) -> Story:
    """Start a story on a fresh copy of the pattern."""
    source = work / "source"
    work.mkdir()
    subprocess.run(["cp", "-a", str(pattern), str(source)], check=True)
    return Story(work / "story", source, changes=lambda: change_a_little(source))
