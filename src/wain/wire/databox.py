"""What a Data Box service offers to an agent, as a Protocol spoken in domain types."""

from dataclasses import dataclass
from typing import Protocol

from wain.order.order import Order, OrderRequest


@dataclass(frozen=True, slots=True)
class CopiedContainer:
    """Where the data copy put one container of the device. Differs from `name` only after a rename."""

    name: str
    copied_to: str


class DataBoxApi(Protocol):
    """Orders, as an agent may see them.

    Raises: `Missing` for an unknown order, `RemoteError` when the service cannot be reached.
    """

    def orders(self) -> list[Order]:
        """Return all orders of the subscription, oldest first."""

    def order(self, name: str) -> Order:
        """Return one order."""

    def copied_to(self, name: str, container: str) -> str | None:
        """Return where the data copy of a finished order put a container of the device; None: nowhere.

        A service that tells only what was renamed answers with the container's own name for all others: whether it is
        there, the account shows.
        """


class OrderApi(Protocol):
    """Orders, as a customer makes and follows them: at the service in this machine, at `wain serve`, or at Azure.

    Raises: `Refused` or `Declined` when the service refuses, `RemoteError` when it cannot be reached.
    """

    def orders(self) -> list[Order]:
        """Return all orders that the caller may see, oldest first."""

    def order(self, name: str) -> Order:
        """Return one order. `Missing`, or `Refused`: there is none."""

    def create_order(self, request: OrderRequest) -> Order:
        """Order a device. The same request again returns the order there is."""

    def cancel(self, name: str, reason: str) -> Order:
        """Cancel an order whose device is not prepared yet."""
