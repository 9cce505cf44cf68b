"""The scenarios: what is backed up, in which steps, and beside which limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks import corpora, edits
from benchmarks.limits import FIND, FIRST, READ, RESTORE, TAR, UNCHANGED, WRITE, ZSTD, Limit
from benchmarks.measure import Failed, Measured, apart, count, together
from benchmarks.peers import Tool


@dataclass(frozen=True, slots=True)
class Turn:
    """One tool's turn at a scenario, in one round."""

    tool: Tool
    source: str
    target: str
    """Where a restore goes; it does not exist yet."""
    scale: float
    round: int


Steps = Iterator[tuple[str, Measured]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`make` writes the corpus below a directory, `steps` measures one tool on it."""

    name: str
    about: str
    make: Callable[[str, float], None]
    steps: Callable[[Turn], Steps]
    limits: Sequence[Limit]
    seeded: bool = False
    """Whether Wain's offline road is measured too."""


def first_unchanged_restore(turn: Turn) -> Steps:
    """Two backups of the same, and a restore."""
    yield FIRST, turn.tool.back_up()
    yield UNCHANGED, turn.tool.back_up()
    yield RESTORE, _restored(turn)


def successive(turn: Turn) -> Steps:
    """A backup of each version of a source tree, from the same path; then a restore of the newest."""
    shutil.rmtree(turn.source)
    apart(edits.source_tree, turn.source, turn.scale)
    parts = [turn.tool.back_up()]
    for version in range(2, edits.VERSIONS + 1):
        apart(edits.edit, turn.source, version)
        parts.append(turn.tool.back_up())
    yield ALL_VERSIONS, together(parts)
    yield RESTORE, _restored(turn)


def few_changes(turn: Turn) -> Steps:
    """A first backup, one of the same, and one after ten files have changed."""
    yield FIRST, turn.tool.back_up()
    yield UNCHANGED, turn.tool.back_up()
    apart(corpora.change_ten, turn.source, turn.round)
    yield "10 files changed", turn.tool.back_up()


def _restored(turn: Turn) -> Measured:
    os.mkdir(turn.target)
    measured = turn.tool.restore(turn.target)
    found, wanted = count(turn.target), count(turn.source)
    if found != wanted:
        raise Failed(f"{turn.tool.name} restored {found} (files, bytes) where {wanted} were backed up")
    return measured


ALL_VERSIONS = f"{edits.VERSIONS} backups"

SCENARIOS = {
    "small": Scenario(
        "small files",
        "over 100,000 small files out of /usr",
        corpora.small_files,
        first_unchanged_restore,
        (TAR, WRITE, FIND, READ),
        seeded=True,
    ),
    "large": Scenario(
        "large file",
        "one file of 4 GB, whose mebibytes are random and text-like in turn",
        corpora.large_file,
        first_unchanged_restore,
        (ZSTD, WRITE, READ),
        seeded=True,
    ),
    "versions": Scenario(
        "versions",
        "five versions of Python's standard library and a growing log: lines inserted and changed, files added, "
        "renamed and removed by seeded dice",
        edits.source_tree,
        successive,
        (replace(WRITE, step=ALL_VERSIONS), READ),
    ),
    "media": Scenario(
        "media",
        "30 incompressible files of 20 to 60 MB, a copy of one, and another with 64 KiB put into its middle",
        corpora.media,
        first_unchanged_restore,
        (TAR, ZSTD, WRITE, FIND, READ),
    ),
    "million": Scenario(
        "million",
        "1,000,000 files of 0 to 2 KiB in directories of 100 to 1000 entries",
        corpora.million,
        few_changes,
        (TAR, WRITE, FIND),
    ),
}
DEFAULT = ("small", "large")


def named(word: str) -> Scenario | None:
    """Return the scenario of a short or a full name."""
    return SCENARIOS.get(word) or next((each for each in SCENARIOS.values() if each.name == word), None)
