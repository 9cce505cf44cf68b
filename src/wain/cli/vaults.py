"""`wain vault`: what whoever keeps vaults does. Nothing here needs a passphrase."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wain.base.errors import Refused
from wain.base.ids import short
from wain.base.sizes import format_bytes
from wain.cli import render
from wain.cli.config import path_of
from wain.cli.options import DataBox, Json, slice_of
from wain.cli.parts import Parts, is_vault
from wain.cli.points import point_json
from wain.cli.progress import open_progress
from wain.pack.slices import WHOLE, parse_slice

if TYPE_CHECKING:
    from wain.vault.checking import CheckReport
    from wain.vault.service import Vault

app = typer.Typer(help="Keep vaults: servers, points, checks, retention, collection.", no_args_is_help=True)

_Url = Annotated[str, typer.Argument(metavar="[VAULT]", help="file:///srv/vault or a path. Default: as registered.")]


@app.command()
def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="VAULT", help="file:///srv/vault or a path: empty or absent.")],
    subscription: Annotated[
        str, typer.Option(metavar="ID", help="Its subscription: only orders of the same one are taken.")
    ] = "",
    region: Annotated[str, typer.Option(help="Its region: an order for another one is warned of.")] = "",
    json: Json = False,
) -> None:
    """Make a vault. Done again, it changes nothing; where an older vault is can be said so too."""
    from wain.vault.place import VaultPlace, read_place, set_place

    place = VaultPlace(subscription, region) if subscription or region else None
    path = Path(path_of(url, "VAULT"))
    if path.is_dir() and not is_vault(path) and any(path.iterdir()):
        raise Refused(f"{path} is not empty and holds no vault", "Choose an empty directory.")
    vault = Parts.of(context).make_vault(path)
    found = set_place(path, place) if place else read_place(path)
    if json:
        where = {"subscription": found.subscription, "region": found.region} if found else {}
        render.emit_json({"path": str(path), "key": vault.public_key.hex(), **where})
        return
    pairs = [("vault", str(path)), ("signs as", vault.public_key.hex())]
    pairs += [("subscription", found.subscription), ("region", found.region or "not said")] if found else []
    render.facts(pairs)


@app.command("list")
def list_(context: typer.Context, url: _Url = "", databox: DataBox = "", json: Json = False) -> None:
    """List the protected servers of a vault."""
    servers = _servers(Parts.of(context).vault(url, databox))
    if json:
        render.emit_json(servers)
        return
    rows = [
        (s["name"], s["id"][:12], s["state"], str(s["points"]), format_bytes(s["storedBytes"]), s["newestText"])
        for s in servers
    ]
    render.table(("server", "registration", "state", "points>", "stored>", "newest"), rows)


@app.command()
def show(context: typer.Context, url: _Url = "", databox: DataBox = "", json: Json = False) -> None:
    """Show a vault: servers, retention, seeds on the road, recovery points."""
    vault = Parts.of(context).vault(url, databox)
    servers = _servers(vault)
    if json:
        render.emit_json({"key": vault.public_key.hex(), "servers": servers})
        return
    render.facts([("servers", str(len(servers))), ("signs as", vault.public_key.hex())])
    for server in servers:
        render.say("")
        render.facts(
            [
                ("server", f"{server['name']} ({server['state']})"),
                ("registration", server["id"]),
                ("keeps", server["retention"] or "everything: no rule was set"),
                ("points", str(server["points"])),
                ("newest", server["newestText"]),
            ]
        )
        for seed in server["seeds"]:
            words = (
                f"{seed['state']}, {seed['packs']} packs, {format_bytes(seed['storedBytes'])}, order {seed['order']}"
            )
            confirmed = "the device may be erased" if seed["countersignedAt"] else "keep the device"
            render.say(f"seed {seed['id'][:12]}: {words}; {confirmed}")


@app.command()
def verify(
    context: typer.Context,
    url: _Url = "",
    part: Annotated[str, typer.Argument(metavar="[N/T]", help="Of the packs, only the N-th of T slices.")] = "",
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read every byte from the medium. A vault always does.")
    ] = True,
    databox: DataBox = "",
    json: Json = False,
) -> int:
    """Read every file of a vault from the medium and check every bit, without keys."""
    assert read_data, "there is no flag that turns it off"
    url, wanted = slice_of(url, part)
    with open_progress() as progress:
        report = Parts.of(context).vault(url, databox).verify(progress, wanted or WHOLE)
    return _show_check(report, json)


@app.command()
def scrub(
    context: typer.Context,
    url: _Url = "",
    part: Annotated[str, typer.Option("--slice", metavar="N/T", help="Part N of T, such as 3/30.")] = "1/1",
    databox: DataBox = "",
    json: Json = False,
) -> int:
    """Check one slice of all packs, and set damaged ones aside so that they can be healed."""
    with open_progress() as progress:
        report = Parts.of(context).vault(url, databox).scrub(parse_slice(part), progress)
    return _show_check(report, json)


@app.command()
def expire(context: typer.Context, url: _Url = "", databox: DataBox = "", json: Json = False) -> None:
    """Let go of the recovery points that no retention rule keeps; never of the last one."""
    gone = Parts.of(context).vault(url, databox).expire()
    if json:
        rows = [{"registration": e.registration.hex(), "id": e.point.hex(), "number": e.seq} for e in gone]
        render.emit_json(rows)
        return
    for each in gone:
        render.say(
            f"point {each.seq} of {short(each.registration)}, received {render.moment(each.received_at)}: let go"
        )
    render.say(f"{len(gone)} recovery points let go; `wain vault gc` frees what only they needed")


@app.command()
def gc(
    context: typer.Context,
    url: _Url = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
    override: Annotated[bool, typer.Option("--override", help="Delete even unusually much.")] = False,
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Condemn packs that nothing needs; delete those that have been condemned for two weeks."""
    from wain.vault.collect import CollectOptions

    report = Parts.of(context).vault(url, databox).gc(CollectOptions(dry_run=dry_run, override=override))
    if json:
        render.emit_json(
            {
                "packs": report.packs,
                "storedBytes": report.stored_bytes,
                "condemned": report.condemned,
                "resurrected": report.resurrected,
                "waiting": report.waiting,
                "deleted": report.deleted,
                "deletedBytes": report.deleted_bytes,
                "dryRun": dry_run,
            }
        )
        return
    render.facts(
        [
            ("packs", f"{report.packs:,}, {format_bytes(report.stored_bytes)}"),
            ("condemned now", str(report.condemned)),
            ("needed again", str(report.resurrected)),
            ("waiting", str(report.waiting)),
            ("would delete" if dry_run else "deleted", f"{report.deleted}, {format_bytes(report.deleted_bytes)}"),
        ]
    )


@app.command()
def rebuild(context: typer.Context, url: _Url = "", databox: DataBox = "", json: Json = False) -> int:
    """Make the catalog again from the objects."""
    report = Parts.of(context).vault(url, databox).rebuild()
    problems = [{"name": problem.name, "where": problem.where} for problem in report.problems]
    if json:
        counts = {"registrations": report.registrations, "packs": report.packs, "points": report.points}
        render.emit_json({**counts, "problems": problems})
    else:
        render.say(f"{report.registrations} servers, {report.points} points, {report.packs:,} packs")
        for problem in report.problems:
            render.say(f"  {problem.name}: {problem.where}")
    return render.EXIT_DATA if problems else render.EXIT_OK


def _servers(vault: "Vault") -> list[dict[str, Any]]:
    found = []
    for one in vault.registrations():
        points = vault.points(one.id)
        newest = points[-1] if points else None
        retention = vault.retention(one.id)
        found.append(
            {
                "name": one.name,
                "id": one.id.hex(),
                "state": one.state.value,
                "registeredAt": render.json_moment(one.registered_at),
                "retention": str(retention) if retention else None,
                "points": len(points),
                "newest": point_json(newest) if newest else None,
                "newestText": render.moment(newest.received_at) if newest else "-",
                "storedBytes": newest.stored_bytes if newest else 0,
                "seeds": [_seed_json(seed) for seed in vault.seeds(one.id)],
            }
        )
    return found


def _seed_json(seed: Any) -> dict[str, Any]:
    return {
        "id": seed.seed.hex(),
        "device": seed.device.hex(),
        "order": seed.order,
        "container": seed.container,
        "state": seed.state.value,
        "packs": seed.packs,
        "storedBytes": seed.stored_bytes,
        "deficits": seed.deficits,
        "receivedAt": render.json_moment(seed.received_at),
        "countersignedAt": render.json_moment(seed.countersigned_at),
    }


def _show_check(report: "CheckReport", as_json: bool) -> int:
    findings = [
        {
            "kind": each.kind.value,
            "registration": each.registration.hex() if each.registration else None,
            "pack": each.pack.hex() if each.pack else None,
            "what": each.what,
            "where": each.where,
        }
        for each in report.findings
    ]
    if as_json:
        render.emit_json(
            {
                "packs": report.packs,
                "storedBytes": report.stored_bytes,
                "facts": report.facts,
                "adopted": report.adopted,
                "findings": findings,
                "strays": [{"name": each.name, "kind": each.kind.value} for each in report.strays],
            }
        )
    else:
        render.say(f"Read {report.packs:,} packs, {format_bytes(report.stored_bytes)}, and {report.facts:,} records")
        for each in report.findings:
            render.say(f"  {each.what}: {each.where}")
        for stray in report.strays:
            render.say(f"  not counted: {stray.name} ({stray.kind.value})")
        render.say(f"{len(findings)} findings" if findings else "Every bit is as it was written.")
    return render.EXIT_DATA if findings else render.EXIT_OK
