"""The N-th fsync, write, rename, link or truncate fails with EIO or ENOSPC, on device, account, vault and restore,
or the process is killed as it makes the call.

After the fault the same command must succeed, and the story must end with a restore that equals the source. A command
that hit a fault and still says 0 is taken at its word: it is not repeated, and the story must end well all the same.
`WAIN_FAULTS` is the number of spots for each command, family and error (default 1; `all` steps through every N);
`WAIN_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults import injection
from faults.injection import Fault
from journeys.judges import assert_equal
from journeys.sources import change_a_little, small_tree
from journeys.story import Result, Story

FAULTS = os.environ.get("WAIN_FAULTS", "1")
SEED = int(os.environ.get("WAIN_SEED", str(time.time_ns() % 1_000_000)))

pytestmark = pytest.mark.skipif(bool(injection.why_not()), reason=injection.why_not())

TARGETS = ("write device", "copy", "import", "incremental", "restore")
"""The commands that write device, account, vault (twice: from the account, over the wire) and the restored tree."""

CASES = [
    ("fsync", "EIO"),
    ("write", "EIO"),
    ("write", "ENOSPC"),
    ("rename", "EIO"),
    ("link", "EIO"),
    ("truncate", "ENOSPC"),
    ("fsync", "KILL"),
    ("write", "KILL"),
    ("rename", "KILL"),
    ("link", "KILL"),
]


@dataclass(slots=True)
class Stage:
    """A story told up to just before one command, and kept, so that it can be told from there many times."""

    story: Story
    command: str
    kept: Path

    def rewind(self) -> None:
        """Put everything back to the moment before the command. Paths stay the same: they are in the state."""
        shutil.rmtree(self.story.work.parent)
        _copy(self.kept, self.story.work.parent)

    def under(self, wrapper: tuple[str, ...]) -> Result:
        """Run the command under strace."""
        told = Story(self.story.work, self.story.source, self.story.changes, wrapper=wrapper)
        return told.attempt(*self.story.command(self.command).args)


@pytest.fixture(scope="module", params=TARGETS)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    base = tmp_path_factory.mktemp("faults")
    work = base / "work"
    source = work / "source"
    small_tree(source, megabytes=3)
    story = Story(work / "story", source, changes=lambda: change_a_little(source))
    for command in story.commands():
        if command.name == request.param:
            if command.before is not None:
                command.before()
            break
        story.tell(command)
    _copy(work, base / "kept")
    yield Stage(story, request.param, base / "kept")
    shutil.rmtree(base)


@pytest.mark.parametrize(("family", "error"), CASES, ids=[" ".join(each) for each in CASES])
def test_fault(stage: Stage, family: str, error: str, tmp_path: Path) -> None:
    stage.rewind()
    log = tmp_path / "calls"
    calm = stage.under(injection.recording(log, family))
    assert calm.code == 0, calm
    places = [stage.story.work, stage.story.source]
    known = injection.spots(log, places)
    if not known:
        pytest.skip(f"`{stage.command}` makes no {family} call")
    landed, wanted = 0, len(known) if FAULTS == "all" else min(int(FAULTS), len(known))
    for spot in random.Random(SEED).sample(known, len(known)):
        if landed == wanted:
            break
        stage.rewind()
        landed += suffer(stage, Fault(spot, error, repeat=error == "ENOSPC"), tmp_path / "injected")
    # Threads take turns as they like: a spot may be gone in the second run, but not every one.
    assert landed, "no fault landed"


def suffer(stage: Stage, fault: Fault, log: Path) -> bool:
    """One fault, then the story to its end. Returns whether the fault landed."""
    story = stage.story
    result = stage.under(injection.injecting(log, fault))
    hits = injection.hit(log)
    told = f"WAIN_SEED={SEED} `{stage.command}`, {fault}, hit {hits[:2]}: {result}"
    print(told.splitlines()[0][:300], "->", result.code)
    killed = fault.error == "KILL"
    assert result.code >= 0 or killed, f"ended by a signal: {told}"
    assert "Traceback" not in result.err, told
    command = story.command(stage.command)
    if result.code not in command.codes:
        # When every later write fails there is nobody left to tell.
        assert killed or fault.repeat or result.err or result.out, f"no word about it: {told}"
        again = story.attempt(*command.args)
        assert again.code in command.codes, f"the same command again: {again}\n=== after {told}"
    finish(stage, told)
    return bool(hits) or result.code < 0


def finish(stage: Stage, told: str) -> None:
    """Tell the rest, with a backup and a restore of its own at the end, and judge."""
    story = stage.story
    names = [each.name for each in story.commands()]
    for command in story.commands()[names.index(stage.command) + 1 :]:
        ended = story.attempt(*command.args) if command.before is None else _with_before(story, command.name)
        assert ended.code in command.codes, f"{ended}\n=== after {told}"
    try:
        assert_equal(story.source, story.copy_of(story.source))
    except AssertionError as unequal:
        raise AssertionError(f"{unequal}\n=== after {told}") from None
    assert all(each["state"] == "complete" for each in story.points()), told


def _with_before(story: Story, name: str) -> Result:
    command = story.command(name)
    assert command.before is not None
    command.before()
    return story.attempt(*command.args)


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--sparse=auto", "--reflink=auto", str(source), str(target)], check=True)
