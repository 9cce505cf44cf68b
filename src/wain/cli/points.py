"""`wain points`, `ls`, `restore`: what can be had back, and having it back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes
from wain.cli import render
from wain.cli.entries import entry_json, file_mode, modified, shown_name
from wain.cli.opening import Point, opened
from wain.cli.options import DataBox, Json, PassphraseFile, RecoveryKeyFile, Vault
from wain.cli.parts import Parts
from wain.cli.progress import open_progress

if TYPE_CHECKING:
    from wain.agent.restore_report import RestoreReport
    from wain.job.job import Problem
    from wain.tree.entry import Entry
    from wain.wire.vault import RecoveryPoint

_SHOWN_PROBLEMS: Final = 20


def points(context: typer.Context, vault: Vault = "", databox: DataBox = "", json: Json = False) -> None:
    """List the recovery points, newest last."""
    parts = Parts.of(context)
    rid = parts.home().require_enrolment().registration.id
    found = parts.vault(vault, databox).points(rid)
    if json:
        render.emit_json([point_json(point) for point in found])
        return
    rows = [
        (
            point.id.hex()[:12],
            render.moment(point.received_at),
            point.state.value,
            format_bytes(point.stored_bytes),
            "device" if point.seed else "wire",
        )
        for point in found
    ]
    render.table(("point", "received", "state", "stored>", "came by"), rows)


def point_json(point: "RecoveryPoint") -> dict[str, Any]:
    """Return a recovery point for JSON."""
    return {
        "id": point.id.hex(),
        "number": point.seq,
        "state": point.state.value,
        "receivedAt": render.json_moment(point.received_at),
        "createdAt": render.json_moment(point.created_at),
        "packs": point.packs,
        "storedBytes": point.stored_bytes,
        "seed": point.seed.hex() if point.seed else None,
    }


def ls(
    context: typer.Context,
    point: Point,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Absolute path in the point.")] = "/",
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    json: Json = False,
) -> None:
    """List a directory of a recovery point."""
    with opened(context, (vault, databox), point, (passphrase_file, recovery_key_file), (os.fsencode(path),)) as view:
        entries = view.list(os.fsencode(path))
        if json:
            render.stream_json(map(entry_json, entries))
        else:
            render.table(("mode", "uid>", "gid>", "size>", "modified", "name"), map(_ls_row, entries))


def _ls_row(entry: "Entry") -> tuple[str, ...]:
    stat = entry.stat
    name = shown_name(entry.name, entry)
    return file_mode(entry), str(stat.uid), str(stat.gid), format_bytes(stat.size), modified(entry), name


def restore(
    context: typer.Context,
    point: Point,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="Absolute paths; none: all.")] = None,
    to: Annotated[str, typer.Option(metavar="DIR", help="Files land at DIR + their absolute path.")] = "",
    conflict: Annotated[
        str, typer.Option(metavar="fail|skip|overwrite|keep-both", help="When a name is taken.")
    ] = "fail",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Restore over the originals (needs --conflict overwrite).")
    ] = False,
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    json: Json = False,
) -> int:
    """Restore a recovery point, or some of its paths. Asks for the passphrase. Repeat it after an interruption."""
    from wain.agent.restore_conflict import Conflict, Policy

    if not to and not in_place:
        raise Refused("nobody said where to restore to", "Give a directory with --to, or --in-place.")
    words = {each.value: each for each in Conflict}
    if conflict not in words:
        raise Refused(f"{conflict!r} is not a conflict policy", f"--conflict takes {', '.join(words)}.")
    wanted = tuple(os.fsencode(path) for path in paths or ())
    policy = Policy(words[conflict], in_place=in_place)
    with (
        opened(context, (vault, databox), point, (passphrase_file, recovery_key_file), wanted) as view,
        open_progress() as progress,
    ):
        # Loaded only now: see wain.agent.unlock.
        from wain.agent.restore import RestoreRequest
        from wain.agent.restore import restore as run

        report = run(view, RestoreRequest(Path(os.path.abspath(to) if to else "/"), wanted, policy), progress)
    _show_restore(report, json)
    return report.exit_code


def _show_restore(report: "RestoreReport", as_json: bool) -> None:
    if as_json:
        render.emit_json(
            {
                "point": report.point.hex(),
                "target": str(report.target),
                "files": report.files,
                "directories": report.directories,
                "others": report.others,
                "writtenBytes": report.written_bytes,
                "alreadyThere": report.already,
                "skipped": report.skipped,
                "problems": [_problem_json(problem) for problem in report.problems],
                "problemCount": report.problem_count,
                "damaged": [_problem_json(problem) for problem in report.damaged],
                "damagedCount": report.damaged_count,
                "notes": list(report.notes),
            }
        )
        return
    render.say(
        f"Restored {report.files:,} files, {report.directories:,} directories and {report.others:,} others, "
        f"{format_bytes(report.written_bytes)}, to {report.target}"
    )
    if report.already:
        render.say(f"{report.already:,} were there already")
    if report.skipped:
        render.say(f"{report.skipped:,} left alone, as --conflict says")
    for note in report.notes:
        render.say(f"note: {note}")
    _show_problems("could not be written", report.problems, report.problem_count)
    _show_problems("are damaged in the vault and were not restored", report.damaged, report.damaged_count)


def _problem_json(problem: "Problem") -> dict[str, str]:
    return {"path": render.json_name(problem.path), "reason": problem.reason}


def _show_problems(words: str, problems: "tuple[Problem, ...]", count: int) -> None:
    if not count:
        return
    render.say(f"{count:,} {words}:")
    for problem in problems[:_SHOWN_PROBLEMS]:
        render.say(f"  {render.printable(problem.path)}: {problem.reason}")
    if count > _SHOWN_PROBLEMS:
        render.say(f"  ... and {count - _SHOWN_PROBLEMS:,} more; --json has them")
