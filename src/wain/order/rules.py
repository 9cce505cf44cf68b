"""The seed's rules about orders, each a check that names what is wrong and what to do."""

import re
from collections.abc import Iterable
from typing import Final

from wain.base.errors import Refused
from wain.order.order import DEAD, FINISHED, MOVES, AccountKind, Order, Stage

PAGE_BLOB_KINDS: Final = frozenset({AccountKind.STORAGE_V2, AccountKind.STORAGE})
"""Kinds of storage account that hold page blobs (azure.md 2.1)."""

DELETABLE: Final = FINISHED | DEAD
"""Stages in which an order may be deleted: finished or cancelled (azure.md 3.2)."""

ADDRESS_EDITABLE: Final = frozenset({Stage.DEVICE_ORDERED, Stage.DEVICE_PREPARED})
"""Stages in which the shipping address may change: until the device is dispatched (azure.md 3.2)."""

RETURNABLE: Final = frozenset({Stage.DELIVERED})
"""Stages in which a customer has the device, so that its way back can be arranged."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{1,22}[A-Za-z0-9]")


def is_name(name: str) -> bool:
    """Tell whether `name` may be an order's: 3 to 24 letters, digits and hyphens, no hyphen at an end."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Return when `name` may be an order's: the portal's rule, the stricter one of two (azure.md 2.2).

    Raises:
        Refused: it may not.
    """
    if not is_name(name):
        reason = f"{name!r} cannot be the name of an order"
        raise Refused(reason, "Use 3 to 24 letters, digits and hyphens; start and end with a letter or digit.")


def is_cancellable(stage: Stage) -> bool:
    """Tell whether an order may be cancelled: only before its device is prepared (azure.md 3.2)."""
    return Stage.CANCELLED in MOVES.get(stage, frozenset())


def check_account_kind(kind: AccountKind) -> None:
    """Return when a storage account of this kind can receive a seed.

    Raises:
        Refused: it has no page blobs (the seed's warning about `BlobStorage`).
    """
    if kind not in PAGE_BLOB_KINDS:
        reason = f"a storage account of kind {kind.value} has no page blobs, and a seed is made of page blobs"
        raise Refused(reason, "Choose Storage V2 (general purpose v2) as the account kind.")


def check_same_subscription(order: str, vault: str) -> None:
    """Return when the order and the vault are in one subscription. Case does not matter: they are GUIDs or names.

    Raises:
        Refused: they are not (azure.md C26: a hard rule).
    """
    if order.casefold() != vault.casefold():
        reason = f"the order is in subscription {order!r} and the vault in {vault!r}; they must be in the same one"
        raise Refused(reason, "Order the device in the vault's subscription, or register with a vault in the order's.")


def region_warning(account: str, vault: str) -> str | None:
    """Return a sentence when the account's and the vault's region differ, else None: advised, not demanded (C26)."""
    if account.casefold() == vault.casefold():
        return None
    return f"the storage account is in {account} and the vault in {vault}; importing within one region is faster"


def offered(orders: Iterable[Order]) -> list[Order]:
    """Return the orders a new policy may choose from: those that are Delivered, in the order given."""
    return [order for order in orders if order.stage is Stage.DELIVERED]
