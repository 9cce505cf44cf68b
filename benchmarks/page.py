"""The report page: docs/benchmarks.md, made by one command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure, beside_limits, ratios, steps
from benchmarks.scenarios import Scenario

HEADER = """\
# Benchmarks

Made by one command, which stands at the end; not edited by hand. Wain beside other backup programs, and beside what
the machine's plainest programs take for a part of the same work.

## How it is measured

- **In turn.** In each round every tool has one turn, A B C A B C, in a fresh repository on the disk of the source. The
  figures are medians over the rounds.
- **Warm cache.** The corpus has been read before the first turn, and `sync` runs before each command: no command pays
  for what another left to write.
- **The same work.** Every repository is encrypted, compressed with zstd, and deduplicated. A restore counts only when
  it has as many files and bytes as the source.
- **Seconds** are wall time; **CPU seconds** are user and system time of the command and the processes it waited for.
  Wall time is noisy on a shared machine, CPU time less so. **Stored** is what the repository holds after the step,
  **peak** the largest resident memory of one process.
- **Ratios** are Wain's figure over the other's: below 1, Wain takes less.
- **Limits** are rows of their own, measured in the same round: `zstd -3 -T0` over the same files, `tar` into a pipe,
  `find -printf`, and `dd` of as many bytes as Wain's repository holds, written with one `fsync` or read with
  `O_DIRECT`. They do a part of the work only, and neither encrypt nor deduplicate. Beside Wain's offline road: `dd`
  reads the same device or vault from the medium, or copies the device to the disk with one `fsync`.

## What is not fair

- Each tool decides itself what it syncs to disk. One that makes its repository durable pays for it here; one that
  leaves that to the kernel does not.
- zstd levels differ: Wain and borg use level 3, the others what their zstd setting means.
- Wain and borg run in Python and pay for its start with every command: on short steps that is much of the time.
- Peak memory is that of the largest process: a tool with several is understated.
- Caches that a tool keeps beside its repository are not counted as stored.
- `dd` writes zeros: on a file system that compresses, its limit is too low.
- One disk holds source, repository and restored files: reading and writing disturb each other, for every tool alike.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What the page says about the run it shows."""

    date: str
    machine: str
    versions: Sequence[str]
    left_out: Sequence[str]
    scenarios: Sequence[Scenario]
    command: str
    alone: Sequence[tuple[str, str]] = ()
    """Measurements of Wain alone: the command's words, and what it printed."""


def page(run: Run, figures: Sequence[Figure]) -> str:
    """Return the page in Markdown."""
    lines = [HEADER, "## This run", ""]
    lines += [f"- {run.date}", f"- {run.machine}", f"- {'; '.join(run.versions)}"]
    lines += [f"- left out: {each}" for each in run.left_out]
    for scenario in run.scenarios:
        own = [each for each in figures if each.scenario == scenario.name]
        lines += ["", f"## {scenario.name.capitalize()}", ""]
        lines += [_paragraph(f"{scenario.about[0].upper()}{scenario.about[1:]}."), ""]
        lines += _table(own)
        limits = [each.removeprefix(f"{scenario.name}, ") for each in beside_limits(own)]
        if limits:
            lines += ["", _paragraph(f"Wain beside the limits: {'; '.join(limits)}.")]
    for command, printed in run.alone:
        lines += ["", f"## `python -m benchmarks.{command}`", "", "```", printed.strip("\n"), "```"]
    lines += ["", "## Again", "", "```", run.command, "```", ""]
    return "\n".join(lines)


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    yield "| step | tool | seconds | CPU seconds | stored MB | peak MB | time | CPU | stored | memory |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (_, step), group in steps(figures).items():
        for each in group:
            ratio = ratios(group, each)
            cells = [
                step if each is group[0] else "",
                each.tool,
                f"{each.seconds:.2f}",
                f"{each.cpu_seconds:.2f}",
                f"{each.stored_bytes / 1e6:.1f}" if each.stored_bytes else "",
                f"{each.peak_bytes / 1e6:.0f}" if each.peak_bytes else "",
                *map(_cell, (ratio.seconds, ratio.cpu_seconds, ratio.stored_bytes, ratio.peak_bytes)),
            ]
            yield f"| {' | '.join(cells)} |"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
