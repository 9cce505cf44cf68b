"""The figures as a table for people."""

from collections.abc import Sequence

from benchmarks.figures import Figure, Ratios, beside_limits, ratios, steps


def table(heads: Sequence[str], figures: Sequence[Figure]) -> str:
    """Return the report: a table for each scenario and step, with Wain's ratio to each peer and each limit."""
    lines = list(heads)
    for (scenario, step), group in steps(figures).items():
        lines += ["", f"{scenario}, {step}"]
        lines.append(f"  {'':<18}{'seconds':>10}{'CPU s':>10}{'stored MB':>12}{'peak MB':>10}   wain takes")
        for each in group:
            stored = f"{each.stored_bytes / 1e6:.1f}" if each.stored_bytes else ""
            peak = f"{each.peak_bytes / 1e6:.0f}" if each.peak_bytes else ""
            lines.append(
                f"  {each.tool:<18}{each.seconds:>10.2f}{each.cpu_seconds:>10.2f}{stored:>12}"
                f"{peak:>10}   {_words(ratios(group, each))}".rstrip()
            )
    limits = beside_limits(figures)
    return "\n".join([*lines, "", *limits] if limits else lines)


def _words(ratio: Ratios) -> str:
    named = {"time": ratio.seconds, "CPU": ratio.cpu_seconds, "stored": ratio.stored_bytes, "memory": ratio.peak_bytes}
    return ", ".join(f"{each:.2f} x {word}" for word, each in named.items() if each is not None)
