"""Wain and its peers side by side, in turn, A B C A B C; medians, and Wain's ratios to each peer and each limit.

Without a name the scenarios `small` and `large` are measured. A tool or a limit whose program is missing is left out by
name. `--scale 0.01` makes a quick try; `--markdown docs/benchmarks.md` writes the report page; `--json FILE` keeps the
figures. `--also "index --chunks 1000000"` adds what that module prints: what Wain is measured at alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from benchmarks.figures import medians
from benchmarks.machine import machine_class
from benchmarks.measure import Failed, note
from benchmarks.page import Run, page
from benchmarks.report import table
from benchmarks.rounds import Bench
from benchmarks.scenarios import DEFAULT, SCENARIOS, Scenario, named
from benchmarks.tools import TOOLS, missing, version

ALONE = ("index", "memory", "levels", "parity")
"""Modules of this package that measure Wain alone."""


def main(arguments: Sequence[str]) -> int:
    """Measure and report."""
    chosen = _parse(arguments)
    scenarios = [_scenario(word) for word in chosen.scenarios or DEFAULT]
    wanted = [_tool(word) for word in chosen.tools.split(",") if word]
    work = tempfile.mkdtemp(prefix="wain-bench-", dir=chosen.work)
    bench = Bench(work, [], chosen.scale, chosen.rounds, not chosen.no_seed)
    for name in wanted:
        reason = missing(name)
        bench.leave_out(name, reason) if reason else bench.tools.append(name)
    versions = [version(name) for name in bench.tools]
    try:
        for scenario in scenarios:
            bench.measure(scenario)
    except Failed as failed:
        note(f"stopped: {failed}")
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    bench.alone += [(command, _alone(command, chosen.work)) for command in chosen.also]
    date = datetime.now(UTC).date().isoformat()
    machine = f"{machine_class()}; scale {chosen.scale:g}, rounds: {chosen.rounds}"
    command = _command(chosen, scenarios)
    _report(Run(date, machine, versions, bench.left_out, scenarios, command, bench.alone), bench, chosen)
    return 0


def _report(run: Run, bench: Bench, chosen: argparse.Namespace) -> None:
    results = medians(bench.figures)
    print(table([run.date, run.machine, *run.versions, *(f"left out: {each}" for each in run.left_out)], results))
    if chosen.markdown:
        with open(chosen.markdown, "w", encoding="utf-8") as file:
            file.write(page(run, results))
    if chosen.json:
        facts = {"date": run.date, "machine": run.machine, "tools": run.versions, "left_out": run.left_out}
        kept = {"medians": [asdict(each) for each in results], "figures": [asdict(each) for each in bench.figures]}
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump({**facts, **kept}, file, indent=1)


def _alone(command: str, work: str | None) -> str:
    """Return what a measurement of Wain alone prints. Raises `Failed`."""
    module, *words = command.split()
    note(f"alone: {command}")
    surroundings = {**os.environ, **({"TMPDIR": work} if work else {})}
    run = [sys.executable, "-m", f"benchmarks.{module}", *words]
    ended = subprocess.run(run, env=surroundings, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{command} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return ended.stdout


def _command(chosen: argparse.Namespace, scenarios: Sequence[Scenario]) -> str:
    """Return the command that makes the page, without this machine's places."""
    short = {scenario.name: word for word, scenario in SCENARIOS.items()}
    words = [".venv/bin/python -m benchmarks", *(short[scenario.name] for scenario in scenarios)]
    words += [f"--rounds {chosen.rounds}", f"--scale {chosen.scale:g}", f"--tools {chosen.tools}"]
    words += ["--no-seed"] if chosen.no_seed else []
    words += [f"--also {shlex.quote(command)}" for command in chosen.also]
    return " ".join([*words, "--markdown docs/benchmarks.md"])


def _scenario(word: str) -> Scenario:
    found = named(word)
    if found is None:
        raise SystemExit(f"unknown scenario {word}; known are {', '.join(SCENARIOS)}")
    return found


def _single(command: str) -> str:
    if command.split()[:1] not in [[name] for name in ALONE]:
        raise argparse.ArgumentTypeError(f"unknown measurement {command}; known are {', '.join(ALONE)}")
    return command


def _tool(word: str) -> str:
    if word not in TOOLS:
        raise SystemExit(f"unknown tool {word}; known are {', '.join(TOOLS)}")
    return word


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"any of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the corpora; 1 is the real thing")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--no-seed", action="store_true", help="leave the device, copy and import scenario out")
    parser.add_argument("--work", default=None, help="a directory with some 30 GB of room (default: the temporary one)")
    parser.add_argument("--also", action="append", default=[], type=_single, metavar="NAME", help=", ".join(ALONE))
    parser.add_argument("--markdown", default=None, metavar="FILE", help="write the report page")
    parser.add_argument("--json", default=None, metavar="FILE")
    return parser.parse_args(arguments)
