"""The figures as a table for people."""

from collections.abc import Sequence

Row = dict[str, str | float]


def table(machine: str, versions: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the report: a table for each corpus and scenario, with Wain's ratio to each peer."""
    lines = [machine, *versions]
    for corpus, scenario in dict.fromkeys((str(row["corpus"]), str(row["scenario"])) for row in rows):
        group = [row for row in rows if (row["corpus"], row["scenario"]) == (corpus, scenario)]
        own = next((row for row in group if row["tool"] == "wain"), None)
        lines += ["", f"{corpus}, {scenario}"]
        lines.append(f"  {'':<13}{'seconds':>10}{'cpu s':>8}{'stored MB':>12}{'peak MB':>10}   wain takes")
        for row in group:
            took = f"{float(row['seconds']):>10.2f}{float(row['cpu_seconds']):>8.1f}"
            sizes = f"{float(row['stored_bytes']) / 1e6:>12.1f}{float(row['peak_bytes']) / 1e6:>10.0f}"
            lines.append(f"  {row['tool']:<13}{took}{sizes}   {_ratios(own, row)}")
    return "\n".join(lines)


_METHOD = """# Benchmarks

Made by `make bench` (`python -m benchmarks --markdown docs/benchmarks.md`), not by hand. Repeat it where you are: every
figure below is only as good as the machine, and what counts are the ratios of one run.

Every tool starts with the corpus in the page cache and nothing left to write (a `sync` before each command), in a fresh
repository on the same disk, encrypted, with zstd: Wain and borg at level 3, restic at its `auto`. The tools take
turns, round after round; figures are medians. *cpu s* is processor time, in all processes and threads; *stored* is what
the repository holds afterwards, *peak* the largest resident set.

What is not quite fair: Wain makes every pack and the restored files durable (fsync) and proves every segment by opening
it again before it is written; restic and borg restore without a sync. *wain seed* is the offline road, which the others
do not have: write device includes the full read-back from the medium.
"""


def page(date: str, facts: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the report page: `facts` are the machine and the versions."""
    lines = [_METHOD, f"Measured on {date}.", "", *(f"- {fact}" for fact in facts)]
    for corpus, scenario in dict.fromkeys((str(row["corpus"]), str(row["scenario"])) for row in rows):
        group = [row for row in rows if (row["corpus"], row["scenario"]) == (corpus, scenario)]
        own = next((row for row in group if row["tool"] == "wain"), None)
        lines += ["", f"## {corpus.capitalize()}, {scenario}", ""]
        lines += ["| | seconds | cpu s | stored MB | peak MB | Wain takes |", "|---|---|---|---|---|---|"]
        for row in group:
            stored = f"{float(row['stored_bytes']) / 1e6:.1f}" if row["stored_bytes"] else ""
            lines.append(
                f"| {row['tool']} | {float(row['seconds']):.2f} | {float(row['cpu_seconds']):.1f} | {stored} "
                f"| {float(row['peak_bytes']) / 1e6:.0f} | {_ratios(own, row)} |"
            )
    return "\n".join(lines) + "\n"


def _ratios(own: Row | None, peer: Row) -> str:
    if own is None or own is peer or peer["tool"] == "wain seed":
        return ""
    parts = []
    # A limit stores nothing, and its memory says nothing about a backup.
    fields = (("seconds", "time"), ("stored_bytes", "stored"), ("peak_bytes", "memory"))
    for field, word in fields if peer["stored_bytes"] else fields[:1]:
        if float(peer[field]):
            parts.append(f"{float(own[field]) / float(peer[field]):.2f} x {word}")
    return ", ".join(parts)
