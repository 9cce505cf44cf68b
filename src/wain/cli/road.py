"""The answers about the first backup's road: which order, at which service, onto which device."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.options import ask_line, is_interactive
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.order.order import Order
    from wain.policy.endpoint import Endpoint
    from wain.policy.policy import InitialBackup, Policy
    from wain.wire.databox import OrderApi


@dataclass(frozen=True, slots=True)
class RoadAnswers:
    """What the options say; None where they say nothing. `service` is empty for the one in this home."""

    databox: str = ""
    initial: str | None = None
    order: str | None = None
    device: str | None = None
    service: str | None = None
    subscription: str = ""
    group: str = ""
    ca_file: str = ""

    @property
    def wants_offline(self) -> bool:
        """Whether they speak of a first backup by device."""
        return bool(self.order or self.service or (self.initial or "").lower() == "offline")

    def endpoint(self) -> "Endpoint | None":
        """Return the endpoint that the options name.

        Raises:
            Refused: it has no address or no subscription.
        """
        from wain.policy.endpoint import Endpoint

        if not self.service:
            return None
        ca_file = os.path.abspath(self.ca_file) if self.ca_file else ""
        return Endpoint(self.service.rstrip("/"), self.subscription, self.group, ca_file)


class Road:
    """Turns the answers into the policy's fields. `remote` are the orders at the endpoint, once somebody signed in."""

    def __init__(self, parts: Parts, answers: RoadAnswers, remote: "OrderApi | None" = None) -> None:
        self._parts = parts
        self._answers = answers
        self._remote = remote

    def fields(self, before: "Policy | None") -> dict[str, Any]:
        """Return the policy's fields; only an order that is Delivered can be chosen anew.

        Raises:
            Refused: an unknown road, no order, an order that is not Delivered, or a device that is none.
        """
        from wain.policy.policy import InitialBackup

        answers = self._answers
        named = answers.order or answers.device or answers.service is not None
        if answers.initial is None and before is not None and not named:
            return {}
        initial = _initial(answers.initial, before)
        if initial is InitialBackup.ONLINE:
            return {
                "initial": initial,
                "order": answers.order,
                "device": answers.device,
                "service": answers.endpoint(),
            }
        service = answers.endpoint() if answers.service is not None else (before.service if before else None)
        order = answers.order or (before.order if before else None) or self._choose(service)
        if before is None or (order, _address(service)) != (before.order, _address(before.service)):
            service = self._checked(order, service)
        elif service is not None and before.service is not None and not service.group:
            service = before.service
        return {"initial": initial, "order": order, "service": service, "device": self._checked_device(before)}

    def _orders(self, service: "Endpoint | None") -> "list[Order]":
        if service is None:
            return self._parts.databox(self._answers.databox).orders()
        if self._remote is None:
            hint = "Give --service and --subscription again: choosing an order there asks its Owner to sign in."
            raise Refused(f"nobody has signed in at {service.url}", hint)
        return self._remote.orders()

    def _choose(self, service: "Endpoint | None") -> str:
        from wain.order.rules import offered

        orders = [order for order in offered(self._orders(service)) if not self._foreign(order)]
        if not orders:
            where = "" if service is None else f" at {service.url}"
            hint = "Order a device and wait until it is here; see `wain order list`."
            raise Refused(f"no order is Delivered{where} yet", hint)
        if is_interactive():
            render.table(("order", "SKU", "account"), [(order.name, order.sku, order.account) for order in orders])
        return ask_line("--order", "the Data Box order")

    def _foreign(self, order: "Order") -> bool:
        from wain.order.rules import check_same_subscription

        place = self._parts.vault_place()
        if place is None:
            return False
        try:
            check_same_subscription(order.subscription, place.subscription)
        except Refused:
            return True
        return False

    def _checked(self, name: str, service: "Endpoint | None") -> "Endpoint | None":
        """Check an order by the seed's rules, and return where it is kept, with its resource group.

        Raises:
            Refused: there is none, it is not Delivered, its account has no page blobs, or it is in another subscription
                than the vault.
        """
        from dataclasses import replace

        from wain.order.rules import check_account_kind, check_same_subscription, offered, region_warning

        order = self._found(name, service)
        place = self._parts.vault_place()
        if place is not None:
            check_same_subscription(order.subscription, place.subscription)
        if not offered([order]):
            hint = "Choose an order that is Delivered; see `wain order list`."
            raise Refused(f"order {name} is {order.stage.value}, and only a Delivered order can be written", hint)
        # Asked again: the account may be another one than when the order was made.
        check_account_kind(order.account_kind)
        if place is not None and place.region and (warning := region_warning(order.region, place.region)):
            typer.echo(f"Note: {warning}.", err=True)
        return None if service is None else replace(service, group=order.resource_group)

    def _found(self, name: str, service: "Endpoint | None") -> "Order":
        if service is None:
            return self._parts.databox_knowing(name, self._answers.databox).order(name)
        for order in self._orders(service):
            if order.name == name:
                return order
        hint = "See `wain order list --service URL --subscription ID`."
        raise Refused(f"there is no order {name!r} in subscription {service.subscription} at {service.url}", hint)

    def _checked_device(self, before: "Policy | None") -> str | None:
        from wain.device.find import check_root
        from wain.device.share import caution, check_writable, is_unc

        device = self._answers.device
        if device is None:
            return before.device if before else None
        root = check_root(device)
        check_writable(root.pageblob)
        if warning := caution(root.path):
            typer.echo(warning, err=True)
        # A share keeps its name: it may be mounted elsewhere the next time.
        return device if is_unc(device) else os.path.abspath(device)


def _initial(said: str | None, before: "Policy | None") -> "InitialBackup":
    from wain.policy.policy import InitialBackup

    try:
        return InitialBackup(said.lower()) if said else (before.initial if before else InitialBackup.ONLINE)
    except ValueError:
        hint = "--initial takes online or offline."
        raise Refused(f"{said!r} is not a road for the first backup", hint) from None


def _address(service: "Endpoint | None") -> tuple[str, str]:
    return ("", "") if service is None else (service.url, service.subscription.casefold())
