"""`wain order`: Data Box orders, their stages, their data copy and their custody."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes
from wain.cli import render, skus
from wain.cli.custody import show_custody
from wain.cli.devices import finding_json, show_findings
from wain.cli.options import DataBox, Json
from wain.cli.ordering import CaFile, Remote, ResourceGroup, Service, Subscription, keeper_at, orders_at, shipping_words
from wain.cli.parts import Parts
from wain.cli.progress import open_progress

if TYPE_CHECKING:
    from wain.databox.account_check import AccountReport
    from wain.databox.datacopy import CopyReport
    from wain.order.order import Order, Stage

app = typer.Typer(help="Data Box orders.", no_args_is_help=True)
app.add_typer(skus.app, name="sku")

_Name = Annotated[str, typer.Argument(metavar="ORDER", help="The order's name.")]
_Device = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's root, which holds PageBlob.")]


@app.command()
def create(
    context: typer.Context,
    name: _Name,
    account: Annotated[str, typer.Option(help="The storage account that the data copy writes to.")],
    sku: Annotated[str, typer.Option(help="One of `wain order sku list`.")] = "DataBoxDisk",
    subscription: Annotated[str, typer.Option(help="The subscription; the vault's must be the same.")] = "local",
    region: Annotated[str, typer.Option(help="Where the device is copied.")] = "local",
    contact: Annotated[
        list[str] | None, typer.Option(metavar="KEY=TEXT", help="With --service: name=, phone=, email=.")
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option(metavar="KEY=TEXT", help="With --service: street=, city=, postcode=, country=.")
    ] = None,
    databox: DataBox = "",
    service: Service = "",
    resource_group: ResourceGroup = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """Order a device."""
    from wain.order.order import LOCAL_GROUP, OrderRequest

    remote = Remote(service, subscription, resource_group, ca_file)
    words = shipping_words(contact, address) if service else "{}"
    request = OrderRequest(name, sku, account, subscription, region, resource_group or LOCAL_GROUP, words)
    _say(orders_at(Parts.of(context), databox, remote).create_order(request), json)


@app.command("list")
def list_(
    context: typer.Context,
    databox: DataBox = "",
    service: Service = "",
    subscription: Subscription = "",
    resource_group: ResourceGroup = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """List the orders, oldest first."""
    remote = Remote(service, subscription, resource_group, ca_file)
    orders = orders_at(Parts.of(context), databox, remote).orders()
    if json:
        render.emit_json([order_json(order) for order in orders])
        return
    rows = [(o.name, o.stage.value, o.sku, o.account, render.moment(o.history[-1].at)) for o in orders]
    render.table(("name", "stage", "SKU", "account", "since"), rows)


@app.command()
def show(
    context: typer.Context,
    name: _Name,
    databox: DataBox = "",
    service: Service = "",
    subscription: Subscription = "",
    resource_group: ResourceGroup = "",
    ca_file: CaFile = "",
    custody: Annotated[bool, typer.Option("--custody", help="Show and check its chain of custody instead.")] = False,
    json: Json = False,
) -> None:
    """Show an order and its history, or who had its device when (--custody)."""
    remote = Remote(service, subscription, resource_group, ca_file)
    if custody:
        parts = Parts.of(context)
        show_custody(parts, keeper_at(parts, databox, remote, name), name, json)
        return
    _show(orders_at(Parts.of(context), databox, remote, name).order(name), json)


@app.command()
def advance(
    context: typer.Context,
    name: _Name,
    stage: Annotated[
        str, typer.Argument(help="Azure's spelling: Dispatched, Delivered, PickedUp, AtAzureDC, Aborted.")
    ],
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Say that an order has reached a stage. Only legal moves are possible."""
    _say(Parts.of(context).databox_knowing(name, databox).advance(name, _stage(stage)), json)


@app.command()
def cancel(
    context: typer.Context,
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why.")],
    databox: DataBox = "",
    service: Service = "",
    subscription: Subscription = "",
    resource_group: ResourceGroup = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """Cancel an order whose device is not prepared yet."""
    remote = Remote(service, subscription, resource_group, ca_file)
    _say(orders_at(Parts.of(context), databox, remote, name).cancel(name, reason), json)


@app.command()
def copy(context: typer.Context, name: _Name, device: _Device, databox: DataBox = "", json: Json = False) -> int:
    """Copy a received device into its storage account, verified without keys. Repeat it to go on."""
    service = Parts.of(context).databox_knowing(name, databox)
    with open_progress() as progress:
        report = service.copy_data(name, Path(device), progress)
    _show_copy(report, json)
    return _copy_code(report)


@app.command()
def verify(context: typer.Context, name: _Name, databox: DataBox = "", json: Json = False) -> int:
    """Check an order: its custody chain, what its data copy found, and every byte that is in the account now."""
    service = Parts.of(context).databox_knowing(name, databox)
    service.check_custody(name)
    records = service.custody(name)
    if service.order(name).stage in _copied_stages():
        report = service.copy_report(name)
        with open_progress() as progress:
            account = service.verify_account(name, progress)
        _show_verified(report, account, json)
        return render.EXIT_DATA if account.findings else _copy_code(report)
    if json:
        render.emit_json({"order": name, "stage": service.order(name).stage.value, "custodySteps": len(records)})
    else:
        render.say(f"The custody chain is whole: {len(records)} signed steps. The data copy is not finished.")
    return render.EXIT_OK


@app.command()
def custody(context: typer.Context, name: _Name, databox: DataBox = "", json: Json = False) -> None:
    """Show who had the device when, each step signed, and check the chain."""
    parts = Parts.of(context)
    show_custody(parts, parts.databox_knowing(name, databox), name, json)


def _copied_stages() -> "frozenset[Stage]":
    from wain.order.order import FINISHED

    return FINISHED


def _copy_code(report: "CopyReport") -> int:
    from wain.order.order import Stage

    return render.EXIT_DATA if report.stage is Stage.COMPLETED_WITH_ERRORS else render.EXIT_OK


def _stage(text: str) -> "Stage":
    from wain.order.order import Stage

    stages = {stage.value.lower(): stage for stage in Stage}
    if text.lower() not in stages:
        raise Refused(f"{text!r} is not a stage", f"Known are {', '.join(stage.value for stage in Stage)}.")
    return stages[text.lower()]


def order_json(order: "Order") -> dict[str, object]:
    """Return an order for JSON."""
    return {
        "name": order.name,
        "stage": order.stage.value,
        "sku": order.sku,
        "account": order.account,
        "accountKind": order.account_kind.value,
        "subscription": order.subscription,
        "region": order.region,
        "resourceGroup": order.resource_group,
        "device": order.device.hex() if order.device else None,
        "history": [{"stage": each.stage.value, "at": render.json_moment(each.at)} for each in order.history],
    }


def _say(order: "Order", as_json: bool) -> None:
    """Say in one line where an order is."""
    if as_json:
        render.emit_json(order_json(order))
    else:
        render.say(f"Order {order.name} is {order.stage.value}: {order.sku} for {order.account}")


def _show(order: "Order", as_json: bool) -> None:
    if as_json:
        render.emit_json(order_json(order))
        return
    render.facts(
        [
            ("order", order.name),
            ("stage", order.stage.value),
            ("SKU", order.sku),
            ("account", f"{order.account} ({order.account_kind.value})"),
            ("device", order.device.hex() if order.device else "-"),
            ("history", ", ".join(each.stage.value for each in order.history)),
        ]
    )


def _copy_json(report: "CopyReport") -> dict[str, object]:
    return {
        "order": report.order,
        "stage": report.stage.value,
        "containers": [{"name": each.name, "copiedTo": each.copied_to} for each in report.containers],
        "blobs": report.blobs,
        "bytes": report.size,
        "findings": [finding_json(each) for each in report.findings],
        "log": str(report.log),
        "bom": str(report.bom),
    }


def _show_verified(report: "CopyReport", account: "AccountReport", as_json: bool) -> None:
    """Show what the data copy found then, and what is in the account now."""
    if as_json:
        now = {
            "name": account.account,
            "containers": account.containers,
            "blobs": account.blobs,
            "bytes": account.size,
            "cleaned": list(account.cleaned),
            "findings": [finding_json(each) for each in account.findings],
        }
        render.emit_json({**_copy_json(report), "account": now})
        return
    render.say("The data copy said then:")
    _show_copy(report, as_json=False)
    render.say(
        f"Account {account.account} now: read {account.blobs} blobs, {format_bytes(account.size)}, from the medium"
    )
    show_findings(account.findings)
    if account.cleaned:
        render.say(f"{len(account.cleaned)} containers were deleted from it after their import.")
    count = len(account.findings)
    render.say(f"{count} findings" if count else "Every byte that is there is as it was copied.")


def _show_copy(report: "CopyReport", as_json: bool) -> None:
    if as_json:
        render.emit_json(_copy_json(report))
        return
    render.say(
        f"{report.stage.value}: {report.blobs} blobs, {format_bytes(report.size)}, every bit verified without keys"
    )
    show_findings(report.findings)
    renamed = [each for each in report.containers if each.name != each.copied_to]
    pairs = [("renamed", f"{each.name} to {each.copied_to}") for each in renamed]
    render.facts([*pairs, ("log", str(report.log)), ("list of files", str(report.bom))])
