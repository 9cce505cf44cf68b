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
        lines.append(f"  {'':<10}{'seconds':>10}{'stored MB':>12}{'peak MB':>10}   wain takes")
        for row in group:
            lines.append(
                f"  {row['tool']:<10}{float(row['seconds']):>10.2f}{float(row['stored_bytes']) / 1e6:>12.1f}"
                f"{float(row['peak_bytes']) / 1e6:>10.0f}   {_ratios(own, row)}"
            )
    return "\n".join(lines)


def _ratios(own: Row | None, peer: Row) -> str:
    if own is None or own is peer or peer["tool"] == "wain seed":
        return ""
    parts = []
    for field, word in (("seconds", "time"), ("stored_bytes", "stored"), ("peak_bytes", "memory")):
        if float(peer[field]):
            parts.append(f"{float(own[field]) / float(peer[field]):.2f} x {word}")
    return ", ".join(parts)
