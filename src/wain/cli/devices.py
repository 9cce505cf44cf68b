"""`wain device`: the box on the desk: prepare, find, look into, check, erase."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes
from wain.cli import locking, render
from wain.cli.locking import LockedOrder, PasskeyFile, format_device, locked_now
from wain.cli.options import DataBox, Json, Vault
from wain.cli.parts import Parts
from wain.cli.progress import open_progress

if TYPE_CHECKING:
    from wain.databox.check import DeviceStatus
    from wain.databox.copylog import Finding
    from wain.databox.erase import ImportProof
    from wain.device.label import Label
    from wain.vault.service import Vault as OpenVault

app = typer.Typer(help="Devices: prepare, detect, unlock, look into, verify, erase.", no_args_is_help=True)
app.command()(locking.unlock)
app.command()(locking.lock)

_Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order the device belongs to.")]
_Path = Annotated[str, typer.Argument(metavar="PATH", help="The device's root, which holds PageBlob.")]


@app.command()
def prepare(
    context: typer.Context,
    order: _Order,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The empty, mounted device; with --lock a block device or image file.")
    ],
    serial: Annotated[str, typer.Option(help="Its serial number. Default: one is made up.")] = "",
    lock: Annotated[str, typer.Option(metavar="luks", help="Format PATH so that only the passkey opens it.")] = "",
    passkey_file: PasskeyFile = "",
    overwrite: Annotated[
        str, typer.Option(metavar="PATH|SERIAL", help="Format it though it is not blank: its path or serial number.")
    ] = "",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Prepare an empty device for an order: PageBlob and a label. The order becomes DevicePrepared."""
    parts = Parts.of(context)
    service = parts.databox_knowing(order, databox)
    root = Path(path)
    if lock:
        root = format_device(
            parts, LockedOrder(order, parts.databox_path(databox), lock, passkey_file), root, overwrite
        )
    elif passkey_file or overwrite:
        raise Refused("a passkey locks nothing without --lock", "Add --lock luks, or leave the passkey out.")
    label = service.prepare_device(order, root, serial)
    if json:
        render.emit_json(_label_json(label) | {"path": str(root)})
    else:
        render.facts([*_label_facts(label), ("path", str(root))])


@app.command()
def detect(context: typer.Context, json: Json = False) -> None:
    """List the attached devices, and those that are locked."""
    from wain.device.find import detect as find
    from wain.device.find import mount_points

    found = find(mount_points())
    locked = locked_now(Parts.of(context))
    if json:
        rows_json = [
            {"path": str(root.path), "label": _label_json(root.label) if root.label else None} for root in found
        ]
        render.emit_json([*rows_json, *({"path": path, "locked": kind, "label": None} for path, kind in locked)])
        return
    for path, kind in locked:
        render.say(f"{path} is locked with {kind}. Open it with `wain device unlock {path}`.")
    if not found and not locked:
        render.say("No attached device holds PageBlob. A path can be given with `wain policy set --device PATH`.")
        return
    if not found:
        return
    rows = [
        (str(root.path), root.label.order if root.label else "-", root.label.serial if root.label else "-")
        for root in found
    ]
    render.table(("path", "order", "serial"), rows)


@app.command()
def status(context: typer.Context, path: _Path, databox: DataBox = "", json: Json = False) -> None:
    """Say what lies on a device: its label, and whose seeds, sealed or not."""
    found = Parts.of(context).databox(databox).device_status(Path(path))
    if json:
        render.emit_json(_status_json(found))
        return
    render.facts(_label_facts(found.label) if found.label else [("label", found.label_problem or "none")])
    if not found.containers:
        render.say("Nothing has been written to it yet.")
        return
    rows = [
        (
            each.name,
            each.state.value,
            str(each.packs) if each.packs is not None else "-",
            format_bytes(each.size) if each.size is not None else "-",
            render.moment(each.sealed_at),
            each.problem,
        )
        for each in found.containers
    ]
    render.table(("container", "state", "packs>", "size>", "sealed", "problem"), rows)


@app.command()
def verify(context: typer.Context, path: _Path, databox: DataBox = "", json: Json = False) -> int:
    """Read every byte of a device from its medium and check it against the seals, without any key."""
    with open_progress() as progress:
        report = Parts.of(context).databox(databox).verify_device(Path(path), progress)
    if json:
        render.emit_json(
            {
                "path": str(report.path),
                "serial": report.serial,
                "containers": report.containers,
                "blobs": report.blobs,
                "bytes": report.size,
                "unvouchedBlobs": report.unvouched,
                "findings": [finding_json(each) for each in report.findings],
            }
        )
    else:
        render.say(f"Read {report.blobs} blobs in {report.containers} containers, {format_bytes(report.size)}")
        show_findings(report.findings)
        if report.unvouched:
            render.say(f"{report.unvouched} of the blobs are not Wain's: nothing says what they should hold.")
        render.say(f"{len(report.findings)} findings" if report.findings else "Every byte is as it was sealed.")
    return render.EXIT_DATA if report.findings else render.EXIT_OK


@app.command()
def erase(
    context: typer.Context,
    order: _Order,
    path: _Path,
    give_up: Annotated[
        list[str] | None,
        typer.Option(
            "--give-up", metavar="CONTAINER", help="Let this container go without proof (dead order, broken seal)."
        ),
    ] = None,
    operator: Annotated[str, typer.Option(help="Who erases it; goes into the record.")] = "",
    vault: Vault = "",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Overwrite a device. Refused unless every seed on it has a receipt of the vault, counter-signed by its server."""
    from wain.databox.erase import EraseRequest

    parts = Parts.of(context)
    service = parts.databox_knowing(order, databox)
    proofs = _proofs(parts.vault(vault, databox), order)
    request = EraseRequest(Path(path), proofs, frozenset(give_up or ()), operator)
    with open_progress() as progress:
        erasure = service.erase_device(order, request, progress)
    if json:
        render.emit_json(dict(erasure.record))
        return
    record = erasure.record
    render.say(f"Erased: {record['files']} files, {format_bytes(record['bytes'])}, overwritten and read back.")
    render.facts([("record", str(erasure.file)), ("proofs", f"{len(record['seals'])} counter-signed receipts")])


def _proofs(vault: "OpenVault", order: str) -> "dict[bytes, ImportProof]":
    """Return what proves that the seeds of an order are in the vault, by the hash of their seals."""
    from wain.databox.erase import ImportProof
    from wain.tree.receipt import decode_receipt

    proofs = {}
    for registration in vault.registrations():
        for seed in vault.seeds(registration.id):
            receipt = vault.receipt(registration.id, seed.seed)
            signature = vault.countersigned(registration.id, seed.seed)
            if seed.order == order and receipt is not None and signature is not None:
                proof = ImportProof(receipt.body, receipt.signature, receipt.vault_key, signature)
                proofs[decode_receipt(receipt.body).seal_hash] = proof
    return proofs


def finding_json(finding: "Finding") -> dict[str, Any]:
    """Return a finding of a data copy or a device check for JSON."""
    return {
        "path": render.json_name(finding.path),
        "category": finding.category.value,
        "message": finding.message,
        "leftBehind": finding.left_behind,
    }


def show_findings(findings: "tuple[Finding, ...]") -> None:
    """Print findings, one a line."""
    for each in findings:
        render.say(f"  {render.printable(each.path)}: {each.message}")


def _label_json(label: "Label") -> dict[str, Any]:
    return {
        "device": label.device.hex(),
        "serial": label.serial,
        "order": label.order,
        "sku": label.sku,
        "capacityBytes": label.capacity_bytes,
        "preparedAt": render.json_moment(label.prepared_at),
    }


def _label_facts(label: "Label") -> list[tuple[str, str]]:
    return [
        ("device", label.device.hex()),
        ("serial", label.serial),
        ("order", label.order),
        ("SKU", f"{label.sku}, {format_bytes(label.capacity_bytes)}"),
        ("prepared", render.moment(label.prepared_at)),
    ]


def _status_json(found: "DeviceStatus") -> dict[str, Any]:
    return {
        "path": str(found.path),
        "label": _label_json(found.label) if found.label else None,
        "labelProblem": found.label_problem,
        "containers": [
            {
                "name": each.name,
                "state": each.state.value,
                "order": each.order,
                "sealedAt": render.json_moment(each.sealed_at),
                "packs": each.packs,
                "bytes": each.size,
                "problem": each.problem,
            }
            for each in found.containers
        ],
    }
