"""`wain verify`: whether recovery points are what was signed, down to every stored bit."""

from typing import TYPE_CHECKING, Annotated

import typer

from wain.base.sizes import format_bytes
from wain.cli import render
from wain.cli.opening import find, open_keys
from wain.cli.options import DataBox, Json, PassphraseFile, RecoveryKeyFile, Vault
from wain.cli.parts import Parts
from wain.cli.progress import open_progress

if TYPE_CHECKING:
    from wain.agent.check import VerifyReport


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
    wanted = (find(service.points(registration.id), point).id,) if point else ()
    head = home.head()
    files = (passphrase_file, recovery_key_file)
    request = VerifyRequest(
        points=wanted,
        read_data=read_data,
        keys=open_keys(service, registration.id, files) if any(files) else None,
        sign_key=registration.sign_key,
        head=(head.seq, head.point) if head else None,
    )
    with open_progress() as progress:
        report = run(service, registration.id, request, progress)
    _show_check(report, json)
    return report.exit_code


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
