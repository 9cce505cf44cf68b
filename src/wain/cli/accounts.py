"""`wain account`: the storage accounts a data copy writes to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.options import DataBox, Json
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.databox.orders import Account
    from wain.databox.service import DataBox as Service

app = typer.Typer(help="Storage accounts of the Data Box service.", no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="3 to 24 lower-case letters and digits.")],
    kind: Annotated[str, typer.Option(metavar="StorageV2|Storage|BlobStorage", help="Account kind.")] = "StorageV2",
    region: Annotated[str, typer.Option(help="Where it is.")] = "local",
    azure: Annotated[
        str, typer.Option(metavar="URL", help="The blob service of an account in Azure, which tells its own kind.")
    ] = "",
    secret_file: Annotated[
        str, typer.Option(metavar="FILE", help="With --azure: access key, shared access signature, connection string.")
    ] = "",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Make a storage account in a directory of the service, or make one in Azure known."""
    from wain.order.order import AccountKind

    if azure or secret_file:
        _show(_in_azure(Parts.of(context).databox(databox), name, region, (azure, secret_file)), json)
        return
    kinds = {each.value.lower(): each for each in AccountKind}
    if kind.lower() not in kinds:
        raise Refused(
            f"{kind!r} is not a kind of storage account", f"Known are {', '.join(k.value for k in AccountKind)}."
        )
    _show(Parts.of(context).databox(databox).create_account(name, kinds[kind.lower()], region), json)


def _in_azure(databox: "Service", name: str, region: str, place: tuple[str, str]) -> "Account":
    from wain.storage.api import AzureAccount

    url, secret_file = place
    if not url or not secret_file:
        hint = "wain account create NAME --azure https://NAME.blob.core.windows.net --secret-file FILE"
        raise Refused("--azure and --secret-file belong together", hint)
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise Refused(f"{url} is not reached over TLS", "Give the blob service as https://NAME.blob.core.windows.net.")
    return databox.add_azure_account(name, region, AzureAccount(url.rstrip("/"), Path(secret_file).absolute()))


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
    azure = {"azure": account.azure.endpoint} if account.azure is not None else {}
    return {"name": account.name, "kind": account.kind.value, "region": account.region, **azure}


def _show(account: "Account", as_json: bool) -> None:
    if as_json:
        render.emit_json(_json(account))
        return
    where = [("in Azure", account.azure.endpoint)] if account.azure is not None else []
    render.facts([("account", account.name), ("kind", account.kind.value), ("region", account.region), *where])
