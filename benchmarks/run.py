"""Wain, restic and borg side by side, A B C A B C: first backup, unchanged backup, restore; medians and ratios.

Corpora: over 100,000 small files out of /usr, and one 4 GB half-compressible file. Limits are measured beside them:
`zstd -3 -T0` of the large file, `find -printf` over the small ones. A tool that is missing is skipped by name.
`--scale 0.01` makes a quick try of it; `--json FILE` keeps the figures, `--markdown FILE` writes the report page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.corpora import CORPORA
from benchmarks.measure import Failed, Measured, Place, count, measure, note
from benchmarks.report import page, table
from benchmarks.tools import LIMITS, TOOLS, Borg, Restic, Seeding, Wain, missing, version


@dataclass(frozen=True, slots=True)
class Figure:
    """One tool's one scenario on one corpus, in one round."""

    corpus: str
    scenario: str
    tool: str
    round: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stored_bytes: int
    """What the repository holds afterwards."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One source directory, and what a restore of it must hold."""

    name: str
    root: str
    files: int
    bytes: int


def main(arguments: Sequence[str]) -> int:
    """Measure and report."""
    chosen = _parse(arguments)
    tools = [name for name in chosen.tools.split(",") if _usable(name)]
    work = tempfile.mkdtemp(prefix="wain-bench-", dir=chosen.work)
    figures: list[Figure] = []
    try:
        for name in chosen.corpora.split(","):
            corpus = make(name, work, chosen.scale)
            for number in range(chosen.rounds):
                for tool in tools:
                    figures += one_round(tool, corpus, os.path.join(work, "tool"), number)
                figures += limits_round(corpus, work, number)
                if "wain" in tools and not chosen.no_seed:
                    figures += seeding_round(corpus, os.path.join(work, "tool"), number)
            shutil.rmtree(corpus.root)
    except Failed as failed:
        note(f"stopped: {failed}")
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
    machine = f"{hardware}, scale {chosen.scale}, {chosen.rounds} rounds"
    versions = [version(name) for name in tools]
    results = medians(figures)
    print(table(machine, versions, results))
    if chosen.markdown:
        with open(chosen.markdown, "w", encoding="utf-8") as file:
            file.write(page(time.strftime("%Y-%m-%d", time.gmtime()), [machine, *versions], results))
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            kept = {"machine": machine, "tools": versions, "medians": results}
            json.dump({**kept, "figures": [asdict(each) for each in figures]}, file, indent=1)
    return 0


def make(name: str, work: str, scale: float) -> Corpus:
    """Make a corpus and read it once, so that every tool finds it in the page cache."""
    note(f"making the corpus: {name}")
    root = os.path.join(work, "corpus")
    CORPORA[name](root, scale)
    files, total = count(root)
    for folder, _, names in os.walk(root):
        for each in names:
            with open(os.path.join(folder, each), "rb") as file:
                while file.read(1 << 20):
                    pass
    note(f"  {files:,} files, {total / 1e6:,.0f} MB")
    return Corpus(name, root, files, total)


def one_round(tool_name: str, corpus: Corpus, work: str, number: int) -> list[Figure]:
    """First backup, unchanged backup and restore by one tool, in a fresh repository."""
    os.mkdir(work)
    tool: Wain | Restic | Borg = TOOLS[tool_name](work, corpus.root)
    tool.prepare()
    backups = ("first backup", "unchanged backup")
    figures = [_figure(corpus, scenario, tool, number, tool.back_up()) for scenario in backups]
    target = os.path.join(work, "restored")
    os.mkdir(target)
    figures.append(_figure(corpus, "restore", tool, number, tool.restore(target)))
    _check(corpus, target, tool_name)
    shutil.rmtree(work)
    return figures


def limits_round(corpus: Corpus, work: str, number: int) -> list[Figure]:
    """What no backup of this corpus can beat: compressing it, or looking at every name, and nothing else."""
    figures = []
    for limit in LIMITS:
        if limit.corpus != corpus.name:
            continue
        if shutil.which(limit.command[0]) is None:
            note(f"skipped: {limit.name}: {limit.command[0]} is not installed")
            continue
        took = measure([word.format(root=corpus.root) for word in limit.command], Place(work, {}))
        note(f"  round {number + 1}, {limit.name}: {took.seconds:.2f} s")
        facts = (corpus.name, limit.scenario, limit.name, number)
        figures.append(Figure(*facts, took.seconds, took.cpu_seconds, took.peak_bytes, 0))
    return figures


def seeding_round(corpus: Corpus, work: str, number: int) -> list[Figure]:
    """The offline road of Wain alone."""
    os.mkdir(work)
    tool = Seeding(work, corpus.root)
    tool.prepare()
    figures = [_figure(corpus, step, tool, number, measured) for step, measured in tool.steps().items()]
    shutil.rmtree(work)
    return figures


def medians(figures: list[Figure]) -> list[dict[str, str | float]]:
    """Return one row for each corpus, scenario and tool: the median of its rounds."""
    grouped: dict[tuple[str, str, str], list[Figure]] = {}
    for each in figures:
        grouped.setdefault((each.corpus, each.scenario, each.tool), []).append(each)
    return [
        {
            "corpus": corpus,
            "scenario": scenario,
            "tool": tool,
            "seconds": statistics.median(each.seconds for each in group),
            "cpu_seconds": statistics.median(each.cpu_seconds for each in group),
            "peak_bytes": statistics.median(each.peak_bytes for each in group),
            "stored_bytes": statistics.median(each.stored_bytes for each in group),
        }
        for (corpus, scenario, tool), group in grouped.items()
    ]


def _figure(corpus: Corpus, scenario: str, tool: Wain | Restic | Borg, number: int, measured: Measured) -> Figure:
    note(f"  round {number + 1}, {tool.name}, {scenario}: {measured.seconds:.2f} s")
    facts = (corpus.name, scenario, tool.name, number)
    return Figure(*facts, measured.seconds, measured.cpu_seconds, measured.peak_bytes, tool.stored())


def _check(corpus: Corpus, target: str, tool: str) -> None:
    found = count(target)
    if found != (corpus.files, corpus.bytes):
        raise Failed(f"{tool} restored {found} (files, bytes) where {(corpus.files, corpus.bytes)} were backed up")


def _usable(name: str) -> bool:
    if name not in TOOLS:
        raise SystemExit(f"unknown tool {name}; known are {', '.join(TOOLS)}")
    reason = missing(name)
    if reason:
        note(f"skipped: {name}: {reason}")
    return not reason


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the corpora; 1 is the real thing")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--corpora", default=",".join(CORPORA))
    parser.add_argument("--no-seed", action="store_true", help="leave the device, copy and import scenario out")
    parser.add_argument("--work", default=None, help="a directory with some 30 GB of room (default: the temporary one)")
    parser.add_argument("--json", default=None, metavar="FILE")
    parser.add_argument("--markdown", default=None, metavar="FILE", help="write the report page (docs/benchmarks.md)")
    return parser.parse_args(arguments)
