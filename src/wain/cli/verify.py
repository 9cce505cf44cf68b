"""`wain verify`: whether recovery points are what was signed, down to every stored bit."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes
from wain.cli import render
from wain.cli.choosing import find
from wain.cli.opening import open_keys
from wain.cli.options import DataBox, Json, PassphraseFile, RecoveryKeyFile, Vault, slice_of
from wain.cli.parts import Parts, now
from wain.cli.progress import open_progress
from wain.pack.slices import WHOLE

if TYPE_CHECKING:
    from wain.agent.check import VerifyReport
    from wain.agent.home import AgentHome
    from wain.agent.pack_checks import Ages, PackCheck
    from wain.base.ids import PointId, RegistrationId
    from wain.tree.manifest import PackRef
    from wain.wire.vault import VaultApi


def verify(
    context: typer.Context,
    point: Annotated[str, typer.Argument(metavar="[POINT]", help="A point, or 'latest'. Default: all of them.")] = "",
    part: Annotated[
        str, typer.Argument(metavar="[N/T]", help="With --read-data: of the packs, only the N-th of T slices.")
    ] = "",
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read every stored bit, or those of one slice: --read-data 3/10.")
    ] = False,
    ages: Annotated[bool, typer.Option("--ages", help="Only show when packs were last read in full.")] = False,
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
    from wain.agent.pack_checks import CheckLog

    point, wanted_part = slice_of(point, part)
    if wanted_part is not None and not read_data:
        raise Refused(f"{wanted_part.n}/{wanted_part.t} is a slice of what --read-data reads", "Add --read-data.")
    parts = Parts.of(context)
    home = parts.home()
    registration = home.require_enrolment().registration
    service = parts.vault(vault, databox)
    wanted = (find(service, registration.id, point).id,) if point else ()
    if ages:
        if read_data:
            raise Refused("--ages reads no data: it shows what earlier checks found", "Leave out one of the two.")
        _show_ages(home, service, registration.id, wanted, json)
        return render.EXIT_OK
    head = home.head()
    files = (passphrase_file, recovery_key_file)
    keys = open_keys(service, registration.id, files) if any(files) else None
    with CheckLog(home, registration.id, now) as log, open_progress() as progress:
        request = VerifyRequest(
            points=wanted,
            read_data=read_data,
            part=wanted_part or WHOLE,
            checks=log,
            keys=keys,
            sign_key=registration.sign_key,
            head=(head.seq, head.point) if head else None,
        )
        report = run(service, registration.id, request, progress)
    if log.problem is not None:
        print(f"wain: when packs were read could not be kept: {log.problem}", file=sys.stderr)
    _show_check(report, json)
    return report.exit_code


def _show_ages(
    home: "AgentHome", vault: "VaultApi", rid: "RegistrationId", points: "tuple[PointId, ...]", as_json: bool
) -> None:
    """Show when the packs of these points, or of all, were last read in full and found whole."""
    from wain.agent.browse import trusted_manifest
    from wain.agent.pack_checks import ages, load_checks

    chosen = points or tuple(point.id for point in vault.points(rid))
    refs = {ref.id: ref for point in chosen for ref in trusted_manifest(vault, rid, point).packs}
    checks = load_checks(home, rid)
    found = ages(refs.values(), checks, now())
    if as_json:
        each = (_check_json(ref, checks.get(ref.id)) for ref in sorted(refs.values(), key=lambda ref: ref.id))
        head = {"packs": found.packs, "storedBytes": found.stored_bytes}
        render.stream_json_object(head, "checks", each, lambda: _ages_json(found))
        return
    render.facts(
        [
            ("packs", f"{found.packs:,}, {format_bytes(found.stored_bytes)}"),
            ("never found whole", f"{found.never:,}, {format_bytes(found.never_bytes)}"),
            ("damaged when last read", f"{found.damaged:,}"),
            ("oldest check", render.moment(found.oldest)),
            ("newest check", render.moment(found.newest)),
        ]
    )
    rows = [
        (_age_words(group.up_to_days), f"{group.packs:,}", format_bytes(group.stored_bytes)) for group in found.groups
    ]
    render.table(("found whole", "packs>", "stored>"), rows)


def _age_words(days: int | None) -> str:
    from wain.agent.pack_checks import AGE_DAYS

    return f"within {days} d" if days else f"longer ago than {AGE_DAYS[-1]} d"


def _ages_json(found: "Ages") -> dict[str, Any]:
    return {
        "never": found.never,
        "neverBytes": found.never_bytes,
        "damaged": found.damaged,
        "oldest": render.json_moment(found.oldest),
        "newest": render.json_moment(found.newest),
        "ages": [
            {"upToDays": group.up_to_days, "packs": group.packs, "storedBytes": group.stored_bytes}
            for group in found.groups
        ],
    }


def _check_json(ref: "PackRef", check: "PackCheck | None") -> dict[str, Any]:
    from wain.base.moment import from_ns

    return {
        "pack": ref.id.hex(),
        "storedBytes": ref.stored_bytes,
        "readAt": render.json_moment(from_ns(check.read_ns)) if check else None,
        "whole": check.whole if check else None,
        "wholeAt": render.json_moment(from_ns(check.whole_ns)) if check and check.whole_ns else None,
    }


def _show_check(report: "VerifyReport", as_json: bool) -> None:
    if as_json:
        render.emit_json(
            {
                "points": report.points,
                "packs": report.packs,
                "inTransit": report.in_transit,
                "readPacks": report.read_packs,
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
        f"; read {report.read_packs:,} of them in full, {format_bytes(report.read_bytes)}"
        if report.read_packs
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
