"""Figures, their medians, and Wain's ratios to the others."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

WAIN = "wain"
TOOL, SEED, LIMIT = "tool", "seed", "limit"


@dataclass(frozen=True, slots=True)
class Figure:
    """One step of one scenario by one tool: in one round, or the median of all."""

    scenario: str
    step: str
    tool: str
    kind: str
    """A tool, Wain's offline road, or a limit: a limit has neither peak nor store."""
    seconds: float
    cpu_seconds: float
    peak_bytes: float
    stored_bytes: float
    """What the repository holds afterwards."""


@dataclass(frozen=True, slots=True)
class Ratios:
    """Wain's figures over another's; None where they cannot be compared."""

    seconds: float | None
    cpu_seconds: float | None
    stored_bytes: float | None
    peak_bytes: float | None


NONE = Ratios(None, None, None, None)


def medians(figures: Iterable[Figure]) -> list[Figure]:
    """Return one figure for each scenario, step and tool, in order of first appearance."""
    grouped: dict[tuple[str, str, str], list[Figure]] = {}
    for each in figures:
        grouped.setdefault((each.scenario, each.step, each.tool), []).append(each)
    return [
        replace(
            group[0],
            seconds=statistics.median(each.seconds for each in group),
            cpu_seconds=statistics.median(each.cpu_seconds for each in group),
            peak_bytes=statistics.median(each.peak_bytes for each in group),
            stored_bytes=statistics.median(each.stored_bytes for each in group),
        )
        for group in grouped.values()
    ]


def steps(figures: Sequence[Figure]) -> dict[tuple[str, str], list[Figure]]:
    """Return the figures of each scenario's each step, limits last."""
    grouped: dict[tuple[str, str], list[Figure]] = {}
    for each in sorted(figures, key=lambda each: each.kind == LIMIT):
        grouped.setdefault((each.scenario, each.step), []).append(each)
    return grouped


def ratios(group: Sequence[Figure], other: Figure) -> Ratios:
    """Return how much of each Wain takes for one of the others' figures of the same step."""
    own = next((each for each in group if each.tool == WAIN or each.kind == SEED), None)
    if own is None or other is own:
        return NONE
    times = (_over(own.seconds, other.seconds), _over(own.cpu_seconds, other.cpu_seconds))
    if other.kind == LIMIT:
        return Ratios(*times, None, None)
    return Ratios(*times, _over(own.stored_bytes, other.stored_bytes), _over(own.peak_bytes, other.peak_bytes))


def beside_limits(figures: Sequence[Figure]) -> list[str]:
    """Return a sentence for each limit: "large file, first backup: 1.9 x zstd -3 -T0"."""
    return [
        f"{scenario}, {step}: {ratio:.1f} x {each.tool}"
        for (scenario, step), group in steps(figures).items()
        for each in group
        if each.kind == LIMIT and (ratio := ratios(group, each).seconds) is not None
    ]


def _over(own: float, other: float) -> float | None:
    return own / other if other else None
