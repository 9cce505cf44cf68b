"""`wain find`, `wain diff`: what a point holds, which points hold it, and what changed between two."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from wain.base.errors import DataError, Refused, WainError
from wain.base.moment import to_ns
from wain.base.sizes import format_bytes, parse_bytes
from wain.cli import render
from wain.cli.entries import entry_json, file_mode, modified, shown_name
from wain.cli.moments import parse_moment
from wain.cli.opening import ALL, Opener, Point, PointOrAll
from wain.cli.options import DataBox, Json, PassphraseFile, RecoveryKeyFile, Vault
from wain.cli.parts import now

if TYPE_CHECKING:
    from wain.agent.compare_points import Change
    from wain.agent.search import Query, Version
    from wain.tree.entry import Entry, Kind
    from wain.wire.vault import RecoveryPoint

_NAMES: Final = {"+": "added", "-": "removed", "M": "content", "U": "metadata", "T": "type"}


@dataclass(slots=True)
class _Gaps:
    """Says on standard error what could not be read, and makes the exit code of it."""

    code: int = render.EXIT_OK
    said: set[str] = field(default_factory=set)

    def directory(self, point: str, path: bytes, error: WainError) -> None:
        """A directory cannot be listed."""
        self._say(f"point {point[:12]}, {render.printable(path)}: its listing cannot be read: {error}", error)

    def point(self, point: str, error: WainError) -> None:
        """A point cannot be opened."""
        self._say(f"point {point[:12]} cannot be opened: {error}", error)

    def _say(self, message: str, error: WainError) -> None:
        self.code = max(self.code, render.EXIT_DATA if isinstance(error, DataError) else render.EXIT_WARNINGS)
        if message not in self.said:
            self.said.add(message)
            print(f"wain: {message}", file=sys.stderr, flush=True)


def find(
    context: typer.Context,
    point: PointOrAll,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Globs, as exclusions have them: *.odt, src/*.c, /var/log/**."),
    ] = None,
    kinds: Annotated[
        str, typer.Option("--type", metavar="f,d,l,...", help="Files, directories, symlinks; p, s, b, c: nodes.")
    ] = "",
    min_size: Annotated[str, typer.Option(metavar="SIZE", help="Files of at least so much: 512, 64MiB, 7.2TB.")] = "",
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="Files of at most so much.")] = "",
    newer: Annotated[str, typer.Option(metavar="MOMENT", help="Changed after: 2026-03-01, 36h, 7d.")] = "",
    older: Annotated[str, typer.Option(metavar="MOMENT", help="Changed before.")] = "",
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    json: Json = False,
) -> int:
    """Find files in a recovery point. With `all`: every version of them, and which points have it, newest first."""
    from wain.agent.search import Query, search
    from wain.policy.exclusion import Exclusions

    query = Query(
        Exclusions(patterns or (), "pattern"),
        _kinds(kinds),
        parse_bytes(min_size) if min_size else 0,
        parse_bytes(max_size) if max_size else None,
        to_ns(parse_moment(newer, "--newer", now())) if newer else None,
        to_ns(parse_moment(older, "--older", now())) if older else None,
    )
    opener = Opener.of(context, (vault, databox), (point,), (passphrase_file, recovery_key_file))
    gaps = _Gaps()
    if point == ALL:
        _show_versions(_versions(opener, query, gaps), len(opener.chosen), json)
        return gaps.code
    chosen = opener.chosen[0].id
    with opener.open(chosen) as view:
        found = search(view, query, lambda path, error: gaps.directory(chosen.hex(), path, error))
        if json:
            render.stream_json({"path": render.json_name(path), **entry_json(entry)} for path, entry in found)
        else:
            for path, entry in found:
                render.row(f"{_facts(entry)}  {shown_name(path, entry)}")
    return gaps.code


def diff(
    context: typer.Context,
    old: Point,
    new: Point,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Absolute path in the points.")] = "/",
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    json: Json = False,
) -> int:
    """Show what changed from one recovery point to another.

    + added, - removed, M other content, U other owner, mode, time or attributes, T another kind of thing.
    """
    from wain.agent.compare_points import Side, compare

    opener = Opener.of(context, (vault, databox), (old, new), (passphrase_file, recovery_key_file))
    gaps, summary = _Gaps(), _Summary()
    with ExitStack() as held:
        sides = [
            Side(held.enter_context(opener.open(point.id)), _telling(gaps, point.id.hex())) for point in opener.chosen
        ]
        changes = summary.counting(compare(sides[0], sides[1], os.fsencode(path)))
        if json:
            ids = {"from": opener.chosen[0].id.hex(), "to": opener.chosen[1].id.hex()}
            render.stream_json_object(ids, "changes", map(_change_json, changes), summary.as_json)
        else:
            for change in changes:
                render.row(_change_line(change))
            render.say(summary.words())
    return gaps.code


def _telling(gaps: _Gaps, point: str) -> Callable[[bytes, WainError], None]:
    return lambda path, error: gaps.directory(point, path, error)


def _kinds(letters: str) -> "frozenset[Kind]":
    """Return the kinds that `f,d` or `fd` names; all when empty.

    Raises:
        Refused: a letter that names none.
    """
    from wain.agent.search import KIND_LETTERS
    from wain.tree.entry import Kind

    chosen = letters.replace(",", "")
    unknown = sorted(set(chosen) - set(KIND_LETTERS))
    if unknown:
        hint = "f file, d directory, l symbolic link, p FIFO, s socket, b and c devices."
        raise Refused(f"--type does not know {', '.join(unknown)}", hint)
    return frozenset(KIND_LETTERS[letter] for letter in chosen) or frozenset(Kind)


def _facts(entry: "Entry") -> str:
    return f"{file_mode(entry)}  {format_bytes(entry.stat.size):>8}  {modified(entry)}"


# Every point


def _versions(opener: Opener, query: "Query", gaps: _Gaps) -> "list[Version]":
    from wain.agent.search import Trouble, search_all

    def point(one: "RecoveryPoint", error: WainError) -> None:
        gaps.point(one.id.hex(), error)

    def directory(one: "RecoveryPoint", path: bytes, error: WainError) -> None:
        gaps.directory(one.id.hex(), path, error)

    return search_all(opener.chosen, opener.open, query, Trouble(point, directory))


def _show_versions(versions: "list[Version]", total: int, as_json: bool) -> None:
    if as_json:
        render.stream_json(
            {
                "path": render.json_name(version.path),
                **entry_json(version.entry),
                "points": [point.id.hex() for point in version.points],
            }
            for version in versions
        )
        return
    rows = [
        (
            format_bytes(version.entry.stat.size),
            modified(version.entry),
            f"{len(version.points)} of {total}",
            version.points[0].id.hex()[:12],
            render.moment(version.points[0].received_at),
            shown_name(version.path, version.entry),
        )
        for version in versions
    ]
    render.table(("size>", "modified", "points>", "newest", "received", "path"), rows)


# Changes


@dataclass(slots=True)
class _Count:
    """Entries of one kind of change, and the sizes of the files among them."""

    entries: int = 0
    old_bytes: int = 0
    new_bytes: int = 0


@dataclass(slots=True)
class _Summary:
    """Adds up changes as they pass."""

    counts: dict[str, _Count] = field(default_factory=lambda: {mark: _Count() for mark in _NAMES})

    def counting(self, changes: "Iterator[Change]") -> "Iterator[Change]":
        """Pass changes on."""
        for change in changes:
            count = self.counts[change.what.value]
            count.entries += 1
            count.old_bytes += _file_bytes(change.old)
            count.new_bytes += _file_bytes(change.new)
            yield change

    def as_json(self) -> dict[str, Any]:
        """Return the sums for JSON."""
        return {
            "summary": {
                name: {"entries": count.entries, "oldBytes": count.old_bytes, "newBytes": count.new_bytes}
                for name, count in ((_NAMES[mark], count) for mark, count in self.counts.items())
            }
        }

    def words(self) -> str:
        """Return the sums in one line."""
        added, removed, changed, metadata, retyped = (self.counts[mark] for mark in _NAMES)
        if not any(count.entries for count in self.counts.values()):
            return "Nothing differs."
        return (
            f"{added.entries:,} added ({format_bytes(added.new_bytes)}), "
            f"{removed.entries:,} removed ({format_bytes(removed.old_bytes)}), "
            f"{changed.entries:,} changed ({format_bytes(changed.old_bytes)} before, "
            f"{format_bytes(changed.new_bytes)} now), "
            f"{metadata.entries:,} with other metadata, {retyped.entries:,} of another type"
        )


def _file_bytes(entry: "Entry | None") -> int:
    from wain.tree.entry import Kind

    return entry.stat.size if entry is not None and entry.kind is Kind.FILE else 0


def _change_line(change: "Change") -> str:
    from wain.tree.entry import Kind

    entry = change.new or change.old
    slash = "/" if entry is not None and entry.kind is Kind.DIRECTORY else ""
    return f"{change.what.value} {render.printable(change.path)}{slash}"


def _change_json(change: "Change") -> dict[str, Any]:
    return {
        "change": _NAMES[change.what.value],
        "path": render.json_name(change.path),
        "old": entry_json(change.old) if change.old else None,
        "new": entry_json(change.new) if change.new else None,
    }
