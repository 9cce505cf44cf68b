"""Accounts and orders: who ordered which device for which storage account, and where it is.

An order's stage moves only through `order.order.advance`, in the same transaction that writes it down and signs the
custody record. Every verb may be repeated: what is already so stays so.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from wain.base.errors import Missing, Refused
from wain.base.ids import DeviceId
from wain.base.moment import from_ns, to_ns
from wain.databox import skus
from wain.databox.catalog import Catalog
from wain.databox.custody import Book, Step
from wain.databox.tables import ACCOUNTS, AZURE, ORDERS, REQUESTS, STAGES
from wain.order import order as rules_of_stages
from wain.order.custody import NO_RECORD, Event
from wain.order.order import FINISHED, LOCAL_GROUP, AccountKind, Order, OrderRequest, Stage, StageTime
from wain.order.rules import check_account_kind, check_name
from wain.order.sku import Sku, find_sku
from wain.storage.api import AzureAccount
from wain.storage.sql import Connection

Clock = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""

_ACCOUNT_NAME: Final = re.compile(r"[a-z0-9]{3,24}")

EVENTS: Final[Mapping[Stage, Event]] = {
    Stage.DEVICE_PREPARED: Event.PREPARED,
    Stage.DISPATCHED: Event.HANDED_OVER,
    Stage.DELIVERED: Event.HANDED_OVER,
    Stage.PICKED_UP: Event.PICKED_UP,
    Stage.AT_AZURE_DC: Event.RECEIVED,
    **dict.fromkeys(FINISHED, Event.COPIED),
}
"""What the custody chain says when an order reaches a stage. Other stages move no device."""

OTHER_VERBS: Final[Mapping[Stage, str]] = {
    Stage.DEVICE_PREPARED: "Prepare the device: that moves the order.",
    Stage.DATA_COPY: "Copy the device's data: that moves the order.",
    **dict.fromkeys(FINISHED, "Copy the device's data: that finishes the order."),
    Stage.CANCELLED: "Cancel the order, with a reason.",
}
"""Stages that an operator does not simply declare, and what leads to them."""


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account of the service."""

    name: str
    kind: AccountKind
    region: str
    created_at: datetime
    azure: AzureAccount | None = None
    """Where it lies in Azure; None for a directory of the service."""


@dataclass(frozen=True, slots=True)
class Held:
    """An order as the catalog holds it. `serial` and `root` are set when a preparation began."""

    id: int
    order: Order
    serial: str | None
    root: bytes | None
    cancel_reason: str | None
    device: DeviceId | None
    """The id that a preparation reserved; `order.device` shows it only once the device is prepared."""


class Orders:
    """The verbs on accounts and orders. Errors (all): `WriteFailed` when the catalog cannot be written."""

    def __init__(self, catalog: Catalog, book: Book, clock: Clock) -> None:
        self._catalog = catalog
        self._book = book
        self._clock = clock

    def create_account(self, name: str, kind: AccountKind, region: str, azure: AzureAccount | None = None) -> Account:
        """Make a storage account, or make one in Azure known. The same call again changes nothing.

        Raises:
            Refused: the name breaks Azure's rule, or an account of that name is of another kind or region, or lies
                elsewhere.
        """
        if not _ACCOUNT_NAME.fullmatch(name):
            reason = f"{name!r} cannot be the name of a storage account"
            raise Refused(reason, "Use 3 to 24 lower-case letters and digits.")
        with self._catalog.writing() as rows:
            found = _account_row(rows, name)
            if found is None:
                moment = to_ns(self._clock())
                row = {"name": name, "kind": kind.value, "region": region, "created_ns": moment}
                rows.execute(ACCOUNTS.insertion(), row)
                if azure is not None:
                    place = {"endpoint": azure.endpoint, "secret_file": os.fsencode(azure.secret_file)}
                    rows.execute(AZURE.insertion(), {"account": name, **place})
                found = _account_row(rows, name)
            assert found is not None
            account = _account(rows, found)
        if (account.kind, account.region, account.azure) != (kind, region, azure):
            where = f", {account.azure.endpoint}" if account.azure is not None else ""
            was = f"{account.kind.value} in {account.region}{where}"
            raise Refused(f"there is a storage account {name} already: {was}", "Choose another name.")
        return account

    def account(self, name: str) -> Account:
        """Return one account.

        Raises:
            Missing: there is none.
        """
        with self._catalog.reading() as rows:
            found = _account_row(rows, name)
            if found is None:
                raise Missing(f"storage account {name}")
            return _account(rows, found)

    def accounts(self) -> list[Account]:
        """Return all accounts, by name."""
        with self._catalog.reading() as rows:
            return [_account(rows, row) for row in rows.rows(f"{ACCOUNTS.selection} ORDER BY name")]

    def sku(self, order: Order) -> Sku:
        """Return the kind of device that was ordered."""
        return find_sku(order.sku, self.skus())

    def skus(self) -> Mapping[str, Sku]:
        """Return the kinds of device that can be ordered, by name."""
        with self._catalog.reading() as rows:
            return skus.known(rows)

    def add_sku(self, sku: Sku) -> Sku:
        """Define a kind of device; see `skus.add`."""
        with self._catalog.writing() as rows:
            return skus.add(rows, sku, self._clock())

    def remove_sku(self, name: str) -> None:
        """Forget a kind of device; see `skus.remove`."""
        with self._catalog.writing() as rows:
            skus.remove(rows, name)

    def create(self, request: OrderRequest) -> Order:
        """Order a device. The same request again returns the order there is, wherever it has got to.

        Raises:
            Refused: bad name, unknown SKU or account, an account without page blobs, or another order of that name.
        """
        check_name(request.name)
        if not request.subscription:
            raise Refused("an order needs a subscription", "Name the subscription that your vault is in.")
        with self._catalog.writing() as rows:
            find_sku(request.sku, skus.known(rows))
            account = _account_row(rows, request.account)
            if account is None:
                hint = "Create the storage account first, as Storage V2 (general purpose v2)."
                raise Refused(f"there is no storage account called {request.account!r}", hint)
            check_account_kind(AccountKind(account.kind))
            found = rows.row(f"{ORDERS.selection} WHERE name = :name", name=request.name)
            if found is None:
                self._insert(rows, request)
            elif _request(rows, found) != request:
                raise Refused(f"there is an order {request.name} already, for something else", "Choose another name.")
            return self.held(rows, request.name).order

    def _insert(self, rows: Connection, request: OrderRequest) -> None:
        row = ORDERS.filled(
            name=request.name,
            sku=request.sku,
            account=request.account,
            subscription=request.subscription,
            region=request.region,
        )
        rows.execute(ORDERS.insertion(), row)
        key = rows.value("SELECT id FROM orders WHERE name = :name", name=request.name)
        first = {"order_id": key, "number": 0, "stage": Stage.DEVICE_ORDERED.value, "at_ns": to_ns(self._clock())}
        rows.execute(STAGES.insertion(), first)
        group, words = request.resource_group, request.words
        said = REQUESTS.filled(order_id=key, resource_group=group, first_words=words, words=words, version=1)
        rows.execute(REQUESTS.insertion(), said)

    def all(self) -> list[Order]:
        """Return every order, oldest first."""
        with self._catalog.reading() as rows:
            names = rows.column("SELECT name FROM orders ORDER BY id")
            return [self.held(rows, name).order for name in names]

    def one(self, name: str) -> Order:
        """Return one order.

        Raises:
            Missing: there is none.
        """
        return self.find(name).order

    def find(self, name: str) -> Held:
        """Return one order with what only the service needs to know.

        Raises:
            Missing: there is none.
        """
        with self._catalog.reading() as rows:
            return self.held(rows, name)

    def held(self, rows: Connection, name: str) -> Held:
        """Return one order, inside a transaction.

        Raises:
            Missing: there is none.
        """
        row = rows.row(f"{ORDERS.selection} WHERE name = :name", name=name)
        if row is None:
            raise Missing(f"order {name}")
        kind = rows.value("SELECT kind FROM accounts WHERE name = :name", name=row.account)
        stages = rows.rows(f"{STAGES.selection} WHERE order_id = :id ORDER BY number", id=row.id)
        history = tuple(StageTime(Stage(one.stage), from_ns(one.at_ns)) for one in stages)
        device = None if row.device is None else DeviceId(row.device)
        prepared = any(moment.stage is Stage.DEVICE_PREPARED for moment in history)
        order = Order(
            name=row.name,
            sku=row.sku,
            account=row.account,
            account_kind=AccountKind(str(kind)),
            subscription=row.subscription,
            region=row.region,
            device=device if prepared else None,
            history=history,
            resource_group=_said(rows, row.id)[0],
        )
        return Held(row.id, order, row.serial, row.root, row.cancel_reason, device)

    def advance(self, name: str, stage: Stage) -> Order:
        """Say that an order has reached `stage`. Saying so again changes nothing.

        Raises:
            Missing: there is no such order.
            IllegalMove: the stage does not follow the present one.
            Refused: another verb leads to that stage.
        """
        with self._catalog.writing() as rows:
            held = self.held(rows, name)
            if held.order.stage is stage:
                return held.order
            rules_of_stages.advance(held.order.stage, stage)
            if stage in OTHER_VERBS:
                raise Refused(f"an order does not become {stage.value} by being told so", OTHER_VERBS[stage])
            self.move(rows, held, stage)
            return self.held(rows, name).order

    def cancel(self, name: str, reason: str) -> Order:
        """Cancel an order whose device is not prepared yet (azure.md 3.2). Again: nothing changes.

        Raises:
            Missing: there is no such order.
            IllegalMove: the device is prepared or further.
            Refused: there is no reason.
        """
        if not reason.strip():
            raise Refused("cancelling an order needs a reason", "Say why; Azure asks for it too.")
        with self._catalog.writing() as rows:
            self.cancel_within(rows, name, reason)
            return self.held(rows, name).order

    def cancel_within(self, rows: Connection, name: str, reason: str) -> None:
        """Cancel an order inside a transaction; errors as of `cancel`."""
        held = self.held(rows, name)
        if held.order.stage is not Stage.CANCELLED:
            self.move(rows, held, Stage.CANCELLED)
            rows.change("UPDATE orders SET cancel_reason = :reason WHERE id = :id", id=held.id, reason=reason)

    def move(self, rows: Connection, held: Held, stage: Stage, detail_hash: bytes = NO_RECORD) -> None:
        """Move an order, inside a transaction, and sign the custody record that belongs to the stage.

        `detail_hash` goes into the record. A clock that went back never makes history go back.

        Raises:
            IllegalMove: `order.order.MOVES` does not list it.
        """
        order = held.order
        rules_of_stages.advance(order.stage, stage)
        moment = max(self._clock(), order.history[-1].at)
        row = {"order_id": held.id, "number": len(order.history), "stage": stage.value, "at_ns": to_ns(moment)}
        rows.execute(STAGES.insertion(), row)
        event = EVENTS.get(stage)
        if event is not None:
            assert held.device is not None
            self._book.append(rows, held.id, order.name, Step(event, held.device, moment, detail_hash))


def _account_row(rows: Connection, name: str) -> Any | None:
    return rows.row(f"{ACCOUNTS.selection} WHERE name = :name", name=name)


def _account(rows: Connection, row: Any) -> Account:
    place = rows.row(f"{AZURE.selection} WHERE account = :name", name=row.name)
    azure = None if place is None else AzureAccount(place.endpoint, Path(os.fsdecode(place.secret_file)))
    return Account(row.name, AccountKind(row.kind), row.region, from_ns(row.created_ns), azure)


def _said(rows: Connection, order: int) -> tuple[str, str]:
    """Return the resource group and the words of an order; one made before there were groups has neither."""
    row = rows.row("SELECT resource_group, first_words FROM requests WHERE order_id = :id", id=order)
    return (LOCAL_GROUP, "{}") if row is None else (row.resource_group, row.first_words)


def _request(rows: Connection, row: Any) -> OrderRequest:
    return OrderRequest(row.name, row.sku, row.account, row.subscription, row.region, *_said(rows, row.id))
