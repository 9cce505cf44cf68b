"""`wain points`, `ls`, `restore`, `verify`: what can be had back, and having it back."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes
from wain.cli import options, render
from wain.cli.choosing import LATEST, find, newest
from wain.cli.options import DataBox, Json, PassphraseFile, RecoveryKeyFile, Vault
from wain.cli.parts import Parts
from wain.cli.progress import open_progress

if TYPE_CHECKING:
    from wain.agent.browse import PointView
    from wain.agent.check import OpenKeys, VerifyReport
    from wain.agent.restore_report import RestoreReport
    from wain.base.ids import RegistrationId
    from wain.job.job import Problem
    from wain.keys.secret import Secret
    from wain.tree.entry import Entry
    from wain.vault.service import Vault as OpenVault
    from wain.wire.vault import RecoveryPoint

_SHOWN_PROBLEMS: Final = 20

_Point = Annotated[str, typer.Argument(metavar="POINT", help="A point's id or its first digits, or 'latest'.")]


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
    point: _Point,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Absolute path in the point.")] = "/",
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    json: Json = False,
) -> None:
    """List a directory of a recovery point."""
    with _opened(context, (vault, databox), point, (passphrase_file, recovery_key_file), (os.fsencode(path),)) as view:
        entries = list(view.list(os.fsencode(path)))
    if json:
        render.emit_json([_entry_json(entry) for entry in entries])
        return
    rows = [
        (
            stat.filemode(_type_bits(entry) | entry.stat.mode),
            str(entry.stat.uid),
            str(entry.stat.gid),
            format_bytes(entry.stat.size),
            _modified(entry),
            render.printable(entry.name) + (f" -> {render.printable(entry.target)}" if entry.target else ""),
        )
        for entry in entries
    ]
    render.table(("mode", "uid>", "gid>", "size>", "modified", "name"), rows)


def restore(
    context: typer.Context,
    point: _Point,
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
    from wain.agent.restore import Conflict, Policy, RestoreRequest
    from wain.agent.restore import restore as run

    if not to and not in_place:
        raise Refused("nobody said where to restore to", "Give a directory with --to, or --in-place.")
    words = {each.value: each for each in Conflict}
    if conflict not in words:
        raise Refused(f"{conflict!r} is not a conflict policy", f"--conflict takes {', '.join(words)}.")
    wanted = tuple(os.fsencode(path) for path in paths or ())
    policy = Policy(words[conflict], in_place=in_place)
    request = RestoreRequest(Path(os.path.abspath(to) if to else "/"), wanted, policy)
    with (
        _opened(context, (vault, databox), point, (passphrase_file, recovery_key_file), wanted) as view,
        open_progress() as progress,
    ):
        report = run(view, request, progress)
    _show_restore(report, json)
    return report.exit_code


def verify(
    context: typer.Context,
    point: Annotated[str, typer.Argument(metavar="[POINT]", help="A point, or 'latest'. Default: all of them.")] = "",
    read_data: Annotated[bool, typer.Option("--read-data", help="Read every stored bit.")] = False,
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    json: Json = False,
) -> int:
    """Check recovery points without any key: signatures, chain, packs, and with --read-data every stored bit.

    With a passphrase or recovery key file, every chunk of every file is looked for as well.
    """
    from wain.agent.check import VerifyRequest
    from wain.agent.check import verify as run

    parts = Parts.of(context)
    home = parts.home()
    registration = home.require_enrolment().registration
    service = parts.vault(vault, databox)
    wanted = (find(service, registration.id, point).id,) if point else ()
    head = home.head()
    request = VerifyRequest(
        points=wanted,
        read_data=read_data,
        keys=_open_keys(service, registration.id, (passphrase_file, recovery_key_file)),
        sign_key=registration.sign_key,
        head=(head.seq, head.point) if head else None,
    )
    with open_progress() as progress:
        report = run(service, registration.id, request, progress)
    _show_check(report, json)
    return report.exit_code


def _open_keys(vault: "OpenVault", rid: "RegistrationId", files: tuple[str, str]) -> "OpenKeys | None":
    """Return what the passphrase or the recovery key adds to a check; None when no file is named."""
    from wain.agent.check import OpenKeys
    from wain.chunk.names import Namer
    from wain.keys.secret import restore_key, write_keys

    if not any(files):
        return None
    secret = _secret(vault, rid, files)
    return OpenKeys(restore_key(secret), Namer(write_keys(secret).chunk_keys))


@contextmanager
def _opened(
    context: typer.Context, places: tuple[str, str], point: str, files: tuple[str, str], paths: tuple[bytes, ...]
) -> "Iterator[PointView]":
    """Open a point with the passphrase, or with the recovery key when its file is given. `paths` are of interest."""
    from wain.agent.browse import PointView
    from wain.chunk.names import Namer
    from wain.keys.secret import restore_key, write_keys

    parts = Parts.of(context)
    rid = parts.home().require_enrolment().registration.id
    vault = parts.vault(*places)
    found = find(vault, rid, point)  # What cannot be named is refused before anybody types a passphrase.
    secret = _secret(vault, rid, files)
    key, namer = restore_key(secret), Namer(write_keys(secret).chunk_keys)
    with PointView(vault, rid, found.id, key, namer) as view:
        stream = _stream(vault, view, paths) if point == LATEST and len(paths) == 1 else None
        if stream is None:
            yield view
            return
    with PointView(vault, rid, stream.id, key, namer) as view:
        yield view


def _stream(vault: "OpenVault", view: "PointView", paths: tuple[bytes, ...]) -> "RecoveryPoint | None":
    """Return the newest point of the stream that is kept as a path, when the files have no such path."""
    from wain.agent.stream_run import series_of
    from wain.base.errors import DataError

    try:
        view.entry(paths[0])
    except Refused:
        return newest(vault, view.manifest.registration, series_of(paths[0], view.namer))
    except DataError:
        return None  # Whoever reads it next meets the damage, and names it.
    return None


def _secret(vault: "OpenVault", rid: "RegistrationId", files: tuple[str, str]) -> "Secret":
    """Open the registration with the passphrase, or with the recovery key when only its file is named."""
    from wain.agent.unlock import unlock
    from wain.keys.phrases import recovery_from_text

    passphrase_file, recovery_file = files
    if recovery_file and not passphrase_file:
        line = options.first_line(recovery_file, "the recovery key", "--recovery-key-file")
        return unlock(vault, rid, recovery_from_text(line))
    return unlock(vault, rid, options.passphrase(passphrase_file))


def _entry_json(entry: "Entry") -> dict[str, Any]:
    return {
        "name": render.json_name(entry.name),
        "kind": entry.kind.name.lower(),
        "mode": entry.stat.mode,
        "uid": entry.stat.uid,
        "gid": entry.stat.gid,
        "size": entry.stat.size,
        "mtimeNs": entry.stat.mtime_ns,
        "target": render.json_name(entry.target) if entry.target else None,
    }


def _type_bits(entry: "Entry") -> int:
    from wain.tree.entry import Kind

    bits = {
        Kind.FILE: stat.S_IFREG,
        Kind.DIRECTORY: stat.S_IFDIR,
        Kind.SYMLINK: stat.S_IFLNK,
        Kind.CHAR_DEVICE: stat.S_IFCHR,
        Kind.BLOCK_DEVICE: stat.S_IFBLK,
        Kind.FIFO: stat.S_IFIFO,
        Kind.SOCKET: stat.S_IFSOCK,
    }
    return bits[entry.kind]


def _modified(entry: "Entry") -> str:
    from wain.base.moment import from_ns

    try:
        return render.moment(from_ns(entry.stat.mtime_ns))
    except (OverflowError, ValueError):
        return f"{entry.stat.mtime_ns // 10**9} s since 1970"


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


def _show_check(report: "VerifyReport", as_json: bool) -> None:
    if as_json:
        render.emit_json(
            {
                "points": report.points,
                "packs": report.packs,
                "inTransit": report.in_transit,
                "readBytes": report.read_bytes,
                "segments": report.segments,
                "files": report.files,
                "findings": [
                    {
                        "what": each.what,
                        "point": each.point.hex() if each.point else None,
                        "pack": each.pack.hex() if each.pack else None,
                        "leaf": each.leaf,
                        "start": each.start,
                        "end": each.end,
                        "path": render.json_name(each.path) if each.path else None,
                    }
                    for each in report.findings
                ],
            }
        )
        return
    read = (
        f", {format_bytes(report.read_bytes)} read"
        if report.read_bytes
        else ", by size and footer (--read-data reads all)"
    )
    render.say(f"Checked {report.points} points and {report.packs:,} packs{read}")
    if report.segments:
        render.say(f"Opened {report.segments:,} segments; looked for every chunk of {report.files:,} files")
    if report.in_transit:
        render.say(f"{report.in_transit:,} packs are still travelling")
    for each in report.findings:
        where = f" ({render.printable(each.path)})" if each.path else ""
        render.say(f"  {each.what}{where}")
    render.say(f"{len(report.findings)} findings" if report.findings else "Everything is as it was signed.")
