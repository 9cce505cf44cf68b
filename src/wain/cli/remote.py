"""Data Box orders at an ARM endpoint, for commands: a person who chooses one, a server that follows it by itself."""

from typing import TYPE_CHECKING

from wain.cli.config import Settings
from wain.cli.signing_in import Asked, SigningIn
from wain.policy.endpoint import Endpoint

if TYPE_CHECKING:
    from wain.order.order import Order
    from wain.wire.arm_databox import ArmDataBox
    from wain.wire.databox import Chain


def asked_of(at: Endpoint) -> Asked:
    """Return the services beside an endpoint: its own, or Microsoft's."""
    return Asked(authority="" if at.is_azure else at.url, arm=at.url, ca_file=at.ca_file)


class ServerOrders:
    """`wire.databox.DataBoxApi` at an endpoint. Nobody signs in, and no client is loaded, before something is asked."""

    def __init__(self, settings: Settings, at: Endpoint) -> None:
        self._settings = settings
        self._at = at
        self._opened: ArmDataBox | None = None

    def orders(self) -> "list[Order]":
        """Return the orders that this server may see."""
        return self._api().orders()

    def order(self, name: str) -> "Order":
        """Return one order."""
        return self._api().order(name)

    def copied_to(self, name: str, container: str) -> str | None:
        """Return where the data copy put a container."""
        return self._api().copied_to(name, container)

    def chain(self, order: str) -> "Chain":
        """Return the chain of custody."""
        return self._api().chain(order)

    def hand_in(self, order: str, record: bytes) -> None:
        """Add a record to it."""
        self._api().hand_in(order, record)

    def _api(self) -> "ArmDataBox":
        if self._opened is None:
            from wain.wire.arm_databox import ArmDataBox

            self._opened = ArmDataBox(self._at, SigningIn(self._settings, asked_of(self._at)).unattended(self._at.url))
        return self._opened
