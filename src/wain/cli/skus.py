"""`wain order sku`: the kinds of device that can be ordered, and those that an operator adds for disks of their own."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wain.base.sizes import format_bytes, parse_bytes
from wain.cli import render
from wain.cli.options import DataBox, Json
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.order.sku import Sku

app = typer.Typer(help="Kinds of device that can be ordered.", no_args_is_help=True)

_Sku = Annotated[str, typer.Argument(metavar="SKU", help="The kind's name: letters, digits and hyphens.")]


@app.command()
def add(
    context: typer.Context,
    name: _Sku,
    size: Annotated[str, typer.Option(metavar="SIZE", help="What one device takes, such as 18TB.")],
    files: Annotated[int | None, typer.Option(help="How many page blobs one takes. Default: 100,000.", min=1)] = None,
    may_span: Annotated[
        bool, typer.Option("--may-span", help="A first backup that fills one may go on on another device.")
    ] = False,
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Define a kind of device, for disks of your own. It cannot be changed afterwards, only removed."""
    from wain.order.sku import DATA_BOX_DISK, Sku

    size_bytes = parse_bytes(size)
    sku = Sku(name, size_bytes, size_bytes, files or DATA_BOX_DISK.max_files, may_span)
    added = Parts.of(context).databox(databox).add_sku(sku)
    if json:
        render.emit_json(_json(added))
        return
    spans = "; a first backup may go on from one to the next" if added.may_span else ""
    render.say(f"{added.name} can be ordered: {format_bytes(size_bytes)}, {added.max_files:,} page blobs{spans}")


@app.command("list")
def list_(context: typer.Context, databox: DataBox = "", json: Json = False) -> None:
    """List the kinds of device that can be ordered."""
    skus = Parts.of(context).databox(databox).skus()
    if json:
        render.emit_json([_json(sku) for sku in skus])
        return
    render.table(("SKU", "from one server>", "in all>", "page blobs>", "may span"), [_row(sku) for sku in skus])


@app.command()
def remove(context: typer.Context, name: _Sku, databox: DataBox = "") -> None:
    """Forget a kind of device that no order names."""
    Parts.of(context).databox(databox).remove_sku(name)
    render.say(f"{name} can no longer be ordered")


def _row(sku: "Sku") -> tuple[str, ...]:
    sizes = format_bytes(sku.limit_bytes), format_bytes(sku.usable_bytes), f"{sku.max_files:,}"
    return sku.name, *sizes, "yes" if sku.may_span else "no"


def _json(sku: "Sku") -> dict[str, Any]:
    return {
        "name": sku.name,
        "limitBytes": sku.limit_bytes,
        "usableBytes": sku.usable_bytes,
        "maxFiles": sku.max_files,
        "maySpan": sku.may_span,
    }
