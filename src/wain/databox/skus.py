"""Kinds of device that an operator defines for disks of their own, beside those of `order.sku`."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from wain.base.errors import Missing, Refused
from wain.base.moment import to_ns
from wain.databox.tables import OWN_SKUS, SPANNING
from wain.order.sku import SKUS, Sku
from wain.storage.sql import Connection

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}")


def known(rows: Connection) -> Mapping[str, Sku]:
    """Return the kinds of device that can be ordered, by name: the seed's first, then the operator's."""
    spanning = set(rows.column(SPANNING.selection))
    own = (
        Sku(row.name, row.size_bytes, row.size_bytes, row.max_files, row.name in spanning)
        for row in rows.rows(f"{OWN_SKUS.selection} ORDER BY name")
    )
    return {**SKUS, **{sku.name: sku for sku in own}}


def add(rows: Connection, sku: Sku, at: datetime) -> Sku:
    """Define a kind of device. The same again changes nothing.

    Raises:
        Refused: the name is none, or means something else already.
    """
    if not _NAME.fullmatch(sku.name):
        raise Refused(f"{sku.name!r} cannot be the name of a SKU", "Use a letter, then letters, digits and hyphens.")
    same = {name.lower(): found for name, found in known(rows).items()}.get(sku.name.lower())
    if same is None:
        row = {"name": sku.name, "size_bytes": sku.usable_bytes, "max_files": sku.max_files, "created_ns": to_ns(at)}
        rows.execute(OWN_SKUS.insertion(), row)
        if sku.may_span:
            rows.execute(SPANNING.insertion(), {"sku": sku.name})
    elif same != sku:
        raise Refused(f"there is a SKU {same.name} already, and it is another kind", "Choose another name.")
    return sku


def remove(rows: Connection, name: str) -> None:
    """Forget a kind of device.

    Raises:
        Missing: there is none of that name.
        Refused: it is one of the seed's, or an order names it, whose device is judged by it.
    """
    if name in SKUS:
        raise Refused(f"{name} is a kind of device of Azure's", "Only those that `wain order sku add` made can go.")
    order = rows.value("SELECT name FROM orders WHERE sku = :sku ORDER BY id LIMIT 1", sku=name)
    if order is not None:
        raise Refused(f"order {order} is for a device of kind {name}", "A kind stays for as long as an order names it.")
    rows.change("DELETE FROM spanning WHERE sku = :name", name=name)
    if not rows.change("DELETE FROM skus WHERE name = :name", name=name):
        raise Missing(f"SKU {name}")
