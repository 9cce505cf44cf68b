"""What a Data Box service offers to an agent, as a Protocol spoken in domain types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wain.base.errors import RemoteError
from wain.order.custody import CustodyRecord, check_parties
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


@dataclass(eq=False)
class CustodyMoved(RemoteError):
    """The chain has grown since it was read: read it, and sign what follows its end now."""

    order: str

    def __str__(self) -> str:
        return f"the chain of custody of order {self.order} has grown in the meantime"


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain of custody of an order, and whose key each one is, by the word of the service that keeps it."""

    records: tuple[CustodyRecord, ...]
    parties: Mapping[bytes, str]


def check_chain_of(chain: Chain) -> None:
    """Return when the chain is whole and every record is by who it says it is.

    Raises:
        Corrupt: names the first record that is not right.
    """
    check_parties(chain.records, chain.parties)


class CustodyApi(Protocol):
    """Who keeps the chain of custody. Azure has nothing like it: there the agent's word stays with the agent.

    Raises: `Missing` for an unknown order, `RemoteError` when the service cannot be reached.
    """

    def chain(self, order: str) -> Chain:
        """Return the chain of an order."""

    def hand_in(self, order: str, record: bytes) -> None:
        """Add a record that another party has signed. The same record again changes nothing.

        Raises:
            CustodyMoved: it does not follow the end of the chain. Refused, Declined: it is none for this chain.
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
