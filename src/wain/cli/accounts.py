"""`wain account`: the storage accounts a data copy writes to."""

from typing import TYPE_CHECKING, Annotated

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.options import DataBox, Json
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.databox.orders import Account

app = typer.Typer(help="Storage accounts of the Data Box service.", no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="3 to 24 lower-case letters and digits.")],
    kind: Annotated[str, typer.Option(metavar="StorageV2|Storage|BlobStorage", help="Account kind.")] = "StorageV2",
    region: Annotated[str, typer.Option(help="Where it is.")] = "local",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Make a storage account."""
    from wain.order.order import AccountKind

    kinds = {each.value.lower(): each for each in AccountKind}
    if kind.lower() not in kinds:
        raise Refused(
            f"{kind!r} is not a kind of storage account", f"Known are {', '.join(k.value for k in AccountKind)}."
        )
    _show(Parts.of(context).databox(databox).create_account(name, kinds[kind.lower()], region), json)


@app.command("list")
def list_(context: typer.Context, databox: DataBox = "", json: Json = False) -> None:
    """List the storage accounts."""
    accounts = Parts.of(context).databox(databox).accounts()
    if json:
        render.emit_json([_json(account) for account in accounts])
        return
    render.table(("name", "kind", "region"), [(each.name, each.kind.value, each.region) for each in accounts])


@app.command()
def show(context: typer.Context, name: str, databox: DataBox = "", json: Json = False) -> None:
    """Show one storage account."""
    accounts = {each.name: each for each in Parts.of(context).databox(databox).accounts()}
    if name not in accounts:
        raise Refused(f"there is no storage account {name}", "See `wain account list`.")
    _show(accounts[name], json)


def _json(account: "Account") -> dict[str, object]:
    return {"name": account.name, "kind": account.kind.value, "region": account.region}


def _show(account: "Account", as_json: bool) -> None:
    if as_json:
        render.emit_json(_json(account))
        return
    render.facts([("account", account.name), ("kind", account.kind.value), ("region", account.region)])
