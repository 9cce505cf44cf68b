"""Orders as the ARM wire asks for them: by subscription and resource group, with what the customer said.

Every rule is `order.rules`' or the stages' table; here each gets the code that the wire knows it by. What is refused
changes nothing, and a verb that is repeated comes to the same end.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wain.base.errors import Corrupt, Missing, Refused
from wain.base.moment import to_iso, to_ns
from wain.databox.credentials import read_passkey
from wain.databox.datacopy import log_names
from wain.databox.handed_in import chain_of, hand_in
from wain.databox.home import Parts
from wain.databox.orders import Account, Held
from wain.databox.tables import REQUESTS
from wain.order.order import FINISHED, LOCAL_GROUP, Order, OrderRequest, Stage
from wain.order.rules import ADDRESS_EDITABLE, DELETABLE, RETURNABLE, check_account_kind, check_name, is_cancellable
from wain.order.sku import Sku
from wain.storage.sql import Connection
from wain.wire.arm_errors import ArmRefused, Code
from wain.wire.arm_jobs import REASON_CAP, RESOLUTIONS, Job, Wanted, changed_words
from wain.wire.arm_paths import job_id
from wain.wire.databox import Chain, CustodyMoved


@dataclass(frozen=True, slots=True)
class Place:
    """Where an order is looked for: exactly there, without regard to case."""

    subscription: str
    group: str
    name: str = ""

    @property
    def id(self) -> str:
        """The resource id of the order."""
        return job_id(self.subscription, self.group, self.name)


@dataclass(frozen=True, slots=True)
class Listing:
    """Which orders to list: those of a subscription, of one group when it is named, after a position."""

    subscription: str
    group: str | None
    after: int
    limit: int


_STAGES_OF: Final[Mapping[Code, tuple[Callable[[Stage], bool], str]]] = {
    Code.NOT_CANCELLABLE: (is_cancellable, "can be cancelled only before its device is prepared"),
    Code.NOT_DELETABLE: (DELETABLE.__contains__, "can be deleted only when it is finished or cancelled"),
    Code.ADDRESS_FIXED: (ADDRESS_EDITABLE.__contains__, "takes another address only until its device is dispatched"),
    Code.NOT_RETURNABLE: (RETURNABLE.__contains__, "has no device that could be sent back"),
}
"""The rules about stages (azure.md 3.2): the stages that a verb takes, and the sentence for others."""


class Jobs:
    """The verbs of the wire. Errors (all): `ArmRefused`; `WriteFailed` when the catalog cannot be written."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create(self, place: Place, wanted: Wanted) -> Job:
        """Order a device. The same request again returns the order there is.

        Raises:
            ArmRefused: a rule is broken, or there is an order of that name for something else.
        """
        request = OrderRequest(
            place.name, wanted.sku, wanted.account, place.subscription, wanted.location, place.group, wanted.words
        )
        self.check(place.name, wanted.sku, wanted.account)
        try:
            self._parts.orders.create(request)
        except Refused as error:
            raise ArmRefused(Code.EXISTS, error.reason, "name", error.hint) from None
        try:
            return self.one(place)
        except ArmRefused:
            reason = f"there was an order {place.name}, which was deleted; its custody keeps the name"
            raise ArmRefused(Code.EXISTS, reason, "name", "Choose another name.") from None

    def check(self, name: str, sku: str, account: str) -> None:
        """Check what an order names, as creating it will.

        Raises:
            ArmRefused: with the code of the first rule that is broken.
        """
        _coded(Code.NAME, "name", lambda: check_name(name))
        _coded(Code.SKU, "sku", lambda: self.check_sku(sku))
        self.check_account(account)

    def check_account(self, name: str) -> None:
        """Check that a storage account is there and holds page blobs.

        Raises:
            ArmRefused: it is not, or has none.
        """
        _coded(Code.ACCOUNT_MISSING, "storageAccountId", lambda: self._account(name))
        _coded(Code.ACCOUNT_KIND, "storageAccountId", lambda: check_account_kind(self._account(name).kind))

    def check_sku(self, name: str) -> None:
        """Check that a kind of device can be ordered.

        Raises:
            Refused: it cannot.
        """
        if name not in self._parts.orders.skus():
            raise Refused(f"there is no SKU called {name[:64]!r}", f"Known are {', '.join(self._parts.orders.skus())}.")

    def _account(self, name: str) -> Account:
        try:
            return self._parts.orders.account(name)
        except Missing:
            raise Refused(f"there is no storage account called {name[:64]!r}", "Create it first.") from None

    def one(self, place: Place) -> Job:
        """Return one order.

        Raises:
            ArmRefused: there is none at that place, or it was deleted.
        """
        with self._parts.catalog.reading() as rows:
            found = self._found(rows, place)
        return replace(self._with_halt(found), logs=self._logs(found.order))

    def log(self, place: Place, name: str) -> Path:
        """Return the file of one of the two logs of a finished data copy.

        Raises:
            ArmRefused: no order, or it has no such log.
        """
        if name not in (self.one(place).logs or ()):
            raise ArmRefused(Code.NOT_FOUND, f"order {place.name} has no log {name[:64]!r}", "log")
        return self._parts.home.logs / name

    def chain(self, place: Place) -> Chain:
        """Return the chain of custody of an order. Whether it is whole is for the reader to judge.

        Raises:
            ArmRefused: there is no such order, or a record of its chain is none.
        """
        name = self.one(place).order.name
        try:
            return chain_of(self._parts, name)
        except Corrupt as error:
            raise ArmRefused(Code.CUSTODY_DAMAGED, error.where, "value") from None

    def hand_in(self, place: Place, record: bytes, vouched_by: str) -> None:
        """Take a record of custody that another party has signed. The same record again changes nothing.

        Raises:
            ArmRefused: no order, no record for this chain, or one that does not follow its end.
        """
        name = self.one(place).order.name
        try:
            hand_in(self._parts, name, record, vouched_by)
        except Refused as error:
            raise ArmRefused(Code.CUSTODY, error.reason, "record", error.hint) from None
        except Corrupt as error:
            raise ArmRefused(Code.CUSTODY_DAMAGED, error.where, "value") from None
        except CustodyMoved as error:
            raise ArmRefused(Code.CHANGED, str(error), "record", "Read the chain again.") from None

    def _logs(self, order: Order) -> tuple[str, str] | None:
        return log_names(self._parts, order.name) if order.stage in FINISHED else None

    def passkey(self, job: Job) -> str:
        """Return the passkey of an order's device, or an empty text when it is not locked."""
        try:
            return read_passkey(self._parts.home.root, job.order.name)
        except Refused:
            return ""

    def listed(self, listing: Listing) -> list[tuple[int, Job]]:
        """Return orders with their positions, oldest first."""
        with self._parts.catalog.reading() as rows:
            names = rows.rows(
                "SELECT orders.id, orders.name FROM orders LEFT JOIN requests ON order_id = orders.id"
                " WHERE lower(subscription) = lower(:subscription) AND orders.id > :after AND deleted_ns IS NULL"
                " AND (:any_group OR lower(COALESCE(resource_group, :local)) = lower(:in_group))"
                " ORDER BY orders.id LIMIT :most",
                subscription=listing.subscription,
                after=listing.after,
                any_group=listing.group is None,
                in_group=listing.group or "",
                local=LOCAL_GROUP,
                most=listing.limit,
            )
            found = [(row.id, _job(rows, self._parts.orders.held(rows, row.name))) for row in names]
        return [(number, self._with_halt(job)) for number, job in found]

    def update(self, place: Place, body: Mapping[str, Any], etag: str) -> Job:
        """Change contact, address, preferences or tags; with an ETag only when nothing has changed since (PATCH).

        Raises:
            ArmRefused: no order, another ETag, or an address that is fixed by now.
        """
        with self._parts.catalog.writing() as rows:
            job = self._found(rows, place)
            if etag not in ("", "*", job.etag):
                reason = f"order {job.order.name} has changed since it was read"
                raise ArmRefused(Code.CHANGED, reason, "If-Match", "Read it again.")
            words, changes = changed_words(job.words, body)
            if "shippingAddress" in changes:
                _check_stage(Code.ADDRESS_FIXED, job.order)
            self._write(rows, job.order.name, {"words": words})
        return self.one(place)

    def cancel(self, place: Place, reason: str) -> None:
        """Cancel an order, for a reason. Again: nothing changes.

        Raises:
            ArmRefused: no order, no reason, or its device is prepared.
        """
        if not reason.strip() or len(reason) > REASON_CAP:
            wants = f"cancelling an order needs a reason of at most {REASON_CAP} characters"
            raise ArmRefused(Code.REASON_MISSING, wants, "reason")
        with self._parts.catalog.writing() as rows:
            order = self._found(rows, place).order
            if order.stage is not Stage.CANCELLED:
                _check_stage(Code.NOT_CANCELLABLE, order)
                self._parts.orders.cancel_within(rows, order.name, reason)

    def delete(self, place: Place) -> bool:
        """Take an order from the lists, and tell whether it was there. Its stages and its custody stay on record.

        Raises:
            ArmRefused: it is neither finished nor cancelled.
        """
        with self._parts.catalog.writing() as rows:
            try:
                order = self._found(rows, place).order
            except ArmRefused:
                return False
            _check_stage(Code.NOT_DELETABLE, order)
            self._write(rows, order.name, {"deleted_ns": to_ns(self._parts.clock())})
        return True

    def note_return(self, place: Place, column: str, fact: Mapping[str, Any]) -> Job:
        """Write down how a device comes back: `pickup` or `package`.

        Raises:
            ArmRefused: no order, or the customer does not have the device.
        """
        with self._parts.catalog.writing() as rows:
            order = self._found(rows, place).order
            _check_stage(Code.NOT_RETURNABLE, order)
            self._write(rows, order.name, {column: json.dumps(fact, sort_keys=True)})
        return self.one(place)

    def mitigate(self, place: Place, resolution: str) -> None:
        """Answer a data copy that waits for its customer.

        Raises:
            ArmRefused: no order, an answer that is none here, or nobody waits for it.
        """
        if resolution not in RESOLUTIONS:
            hint = f"Known are {', '.join(RESOLUTIONS)}."
            reason = f"{resolution[:64]!r} is no resolution of this service"
            raise ArmRefused(Code.RESOLUTION, reason, "customerResolutionCode", hint)
        job = self.one(place)
        if not job.waits:
            reason = f"order {job.order.name} waits for no action"
            raise ArmRefused(Code.NOT_WAITING, reason, "status")
        at = to_iso(self._parts.clock())
        fact = {"actionDateTimeInUtc": at, "isPerformedByCustomer": True, "customerResolution": resolution}
        with self._parts.catalog.writing() as rows:
            self._write(rows, self._found(rows, place).order.name, {"mitigation": json.dumps(fact)})

    def count(self) -> dict[str, int]:
        """Return how many orders there are in each stage."""
        with self._parts.catalog.reading() as rows:
            found = rows.rows(
                "SELECT stage, count(*) AS orders FROM stages AS s WHERE number ="
                " (SELECT max(number) FROM stages AS t WHERE t.order_id = s.order_id) GROUP BY stage ORDER BY stage"
            )
        return {row.stage: row.orders for row in found}

    def skus(self) -> Mapping[str, Sku]:
        """Return the kinds of device that can be ordered."""
        return self._parts.orders.skus()

    def _found(self, rows: Connection, place: Place) -> Job:
        try:
            job = _job(rows, self._parts.orders.held(rows, place.name))
        except Missing:
            raise _not_found(place) from None
        order = job.order
        there = (order.subscription.casefold(), order.resource_group.casefold())
        if there != (place.subscription.casefold(), place.group.casefold()) or _is_deleted(rows, order.name):
            raise _not_found(place)
        return job

    def _with_halt(self, job: Job) -> Job:
        if job.order.stage is not Stage.DATA_COPY or self._parts.home.is_worked_on(job.order.name):
            return job
        return replace(job, halted=True)

    def _write(self, rows: Connection, name: str, values: Mapping[str, object]) -> None:
        """Change the customer's part of an order; an order from before there was one gets its row now."""
        key = rows.value("SELECT id FROM orders WHERE name = :name", name=name)
        first = REQUESTS.filled(order_id=key, resource_group=LOCAL_GROUP, first_words="{}", words="{}", version=1)
        rows.execute(REQUESTS.insertion("ON CONFLICT (order_id) DO NOTHING"), first)
        sets = ", ".join(f"{column} = :{column}" for column in values)
        rows.change(f"UPDATE requests SET {sets}, version = version + 1 WHERE order_id = :id", id=key, **values)  # noqa: S608 - our own names


def _coded(code: Code, target: str, check: Callable[[], object]) -> None:
    """Run a rule; what it refuses is refused with this code."""
    try:
        check()
    except Refused as error:
        raise ArmRefused(code, error.reason, target, error.hint) from None


def _job(rows: Connection, held: Held) -> Job:
    said = rows.row(f"{REQUESTS.selection} WHERE order_id = :id", id=held.id)
    if said is None:
        return Job(held.order, {}, 1, held.serial, held.cancel_reason)
    package, mitigation = (json.loads(one) if one else None for one in (said.package, said.mitigation))
    return Job(held.order, json.loads(said.words), said.version, held.serial, held.cancel_reason, package, mitigation)


def _is_deleted(rows: Connection, name: str) -> bool:
    return bool(
        rows.value(
            "SELECT deleted_ns FROM requests JOIN orders ON order_id = orders.id WHERE orders.name = :name", name=name
        )
    )


def _check_stage(code: Code, order: Order) -> None:
    takes, sentence = _STAGES_OF[code]
    if not takes(order.stage):
        raise ArmRefused(code, f"order {order.name} is {order.stage.value} and {sentence}", "status")


def _not_found(place: Place) -> ArmRefused:
    return ArmRefused(Code.NOT_FOUND, f"The resource {place.id!r} was not found", "name")
