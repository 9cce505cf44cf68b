"""Rounds: the tools take turns on one corpus, then the limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.figures import LIMIT, SEED, TOOL, WAIN, Figure
from benchmarks.limits import Ground
from benchmarks.measure import Failed, Measured, Place, apart, count, measure, note
from benchmarks.scenarios import Scenario, Turn
from benchmarks.tools import TOOLS, Seeding

GONE = "gone"
MANY_FILES = 10_000


@dataclass(slots=True)
class Bench:
    """One run: where it works, who takes part, and what was measured so far."""

    work: str
    tools: list[str]
    scale: float
    rounds: int
    seed: bool
    figures: list[Figure] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    alone: list[tuple[str, str]] = field(default_factory=list)
    """Measurements of Wain alone: the command's words, and what it printed."""

    def measure(self, scenario: Scenario) -> None:
        """Measure one scenario in all rounds.

        A peer that fails is left out from then on. Raises `Failed` when Wain fails.
        """
        source = os.path.join(self.work, "corpus")
        _make(scenario, source, self.scale)
        for number in range(self.rounds):
            for tool in tuple(self.tools):
                self._turn(scenario, source, tool, number)
            if WAIN in self.tools and self.seed and scenario.seeded:
                self._seeding(scenario, source)
            self._limits(scenario, source)
        shutil.rmtree(source)
        shutil.rmtree(os.path.join(self.work, GONE), ignore_errors=True)

    def leave_out(self, what: str, reason: str) -> None:
        """Say, here and in the report, what is not measured."""
        line = f"{what}: {reason}"
        if line not in self.left_out:
            note(f"left out: {line}")
            self.left_out.append(line)

    def _turn(self, scenario: Scenario, source: str, name: str, number: int) -> None:
        with _Fresh(self.work) as work:
            tool = TOOLS[name](work, source)
            turn = Turn(tool, source, os.path.join(work, "restored"), self.scale, number)
            found: list[Figure] = []
            try:
                tool.prepare()
                for step, measured in scenario.steps(turn):
                    found.append(_figure((scenario.name, step, name, TOOL), measured, tool.stored()))
            except Failed as failed:
                if name == WAIN:
                    raise
                self.tools.remove(name)
                self.figures = [each for each in self.figures if (each.scenario, each.tool) != (scenario.name, name)]
                self.leave_out(name, f"failed at {scenario.name}: {str(failed).splitlines()[0]}")
                note(str(failed))
                return
            self.figures += found

    def _seeding(self, scenario: Scenario, source: str) -> None:
        with _Fresh(self.work) as work:
            tool = Seeding(work, source)
            tool.prepare()
            for step, measured in tool.steps():
                self.figures.append(_figure((scenario.name, step, tool.name, SEED), measured, tool.stored()))
            for step, limit, command in tool.limits():
                self._limit((scenario.name, step, limit), command, work)

    def _limits(self, scenario: Scenario, source: str) -> None:
        with _Fresh(self.work) as work:
            ground = Ground(source, os.path.join(work, "limit"), self._stored(scenario))
            for limit in scenario.limits:
                reason = limit.missing()
                if reason:
                    self.leave_out(limit.name, reason)
                    continue
                self._limit((scenario.name, limit.step, limit.name), limit.command(ground), work)

    def _limit(self, names: tuple[str, str, str], command: list[str], work: str) -> None:
        try:
            measured = measure(command, Place(work, {}))
        except Failed as failed:
            self.leave_out(names[-1], str(failed).splitlines()[-1])
            return
        self.figures.append(_figure((*names, LIMIT), measured, 0))

    def _stored(self, scenario: Scenario) -> int:
        """Return what Wain's repository holds at the end of a turn, or the first tool's where Wain takes no part."""
        own = [each for each in self.figures if each.scenario == scenario.name and each.kind == TOOL]
        chosen = [each for each in own if each.tool == (WAIN if WAIN in self.tools else own[0].tool)]
        return int(chosen[-1].stored_bytes) if chosen else count(os.path.join(self.work, "corpus"))[1]


class _Fresh:
    """An empty directory. Afterwards it goes away; with many files it is put away until the scenario ends.

    ext4 passes over inodes that were freed in the last minutes, one by one: whoever creates files after a tree of
    100,000 was removed pays for that several times what creating them costs.
    """

    def __init__(self, work: str) -> None:
        self._path = os.path.join(work, "tool")
        self._gone = os.path.join(work, GONE)

    def __enter__(self) -> str:
        os.mkdir(self._path)
        return self._path

    def __exit__(self, *_: object) -> None:
        if count(self._path)[0] < MANY_FILES:
            shutil.rmtree(self._path)
            return
        os.makedirs(self._gone, exist_ok=True)
        os.rename(self._path, os.path.join(self._gone, str(len(os.listdir(self._gone)))))


def _make(scenario: Scenario, source: str, scale: float) -> None:
    """Make a corpus and read it once, so that every tool finds it in the page cache."""
    note(f"making the corpus: {scenario.name}")
    apart(scenario.make, source, scale)
    for path in _paths(source):
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    files, total = count(source)
    note(f"  {files:,} files, {total / 1e6:,.0f} MB")


def _paths(root: str) -> Iterator[str]:
    for folder, _, names in os.walk(root):
        yield from (os.path.join(folder, name) for name in names)


def _figure(names: tuple[str, str, str, str], measured: Measured, stored: int) -> Figure:
    note(f"  {names[2]}, {names[1]}: {measured.seconds:.2f} s, {measured.cpu_seconds:.2f} s of CPU")
    # A limit's peak would be that of this process.
    peak = 0 if names[3] == LIMIT else measured.peak_bytes
    return Figure(*names, measured.seconds, measured.cpu_seconds, peak, stored)
