"""`wire.databox.DataBoxApi` at an ARM endpoint: how a server without a person follows its order."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from wain.base.errors import Corrupt, Malformed, Missing, Refused
from wain.order.order import Order, Stage
from wain.policy.endpoint import Endpoint
from wain.wire.arm_client import SCOPE, ArmOrders
from wain.wire.arm_custody import PATH, chain_from, record_json
from wain.wire.arm_errors import Code
from wain.wire.arm_jobs import copy_logs, order_of
from wain.wire.arm_paths import NEWEST, job_id
from wain.wire.calls import TIMEOUT_SECONDS, Answer, Calls, Changed, Declined, NotThere, Unreachable, trust, with_query
from wain.wire.copy_log import container_renames
from wain.wire.databox import Chain, CustodyMoved
from wain.wire.sign_in import SignIn

_GONE: Final = 404


class ArmDataBox:
    """Orders at an endpoint, for the agent, as somebody who signs in there by themselves.

    An order that the endpoint does not know, or does not show to this server, is `Missing`.
    """

    def __init__(self, at: Endpoint, who: SignIn) -> None:
        self._at = at
        self._token = who.token(SCOPE)
        self._orders = ArmOrders(at, who.credential)

    def orders(self) -> list[Order]:
        """Return the orders of the resource group, or of the subscription."""
        return self._orders.orders()

    def order(self, name: str) -> Order:
        """Return one order."""
        return order_of(self._shown(name))

    def copied_to(self, name: str, container: str) -> str | None:
        """Return where the data copy of a finished order put a container: elsewhere only when its log says so.

        Raises:
            Malformed: the copy log is none. Unreachable, Declined: it cannot be read now.
        """
        job = self._shown(name)
        if order_of(job).stage is Stage.COMPLETED:  # Whatever was renamed would have been a warning.
            return container
        for link in copy_logs(job):
            with self._log(link) as pieces:
                renamed = container_renames(pieces).get(container)
            if renamed is not None:
                return renamed
        return container

    def chain(self, order: str) -> Chain:
        """Return the chain of custody that `wain serve` keeps for an order."""
        return chain_from(self._ask("GET", order).body)

    def hand_in(self, order: str, record: bytes) -> None:
        """Add a record to that chain.

        Raises:
            CustodyMoved: it does not follow the end of the chain. Declined: it is none for this chain.
        """
        try:
            self._ask("POST", order, record_json(record))
        except Changed:
            raise CustodyMoved(order) from None

    def _ask(self, method: str, order: str, body: dict[str, Any] | None = None) -> Answer:
        """Ask what only Wain's own service answers."""
        if self._at.is_azure:
            raise Refused("Azure keeps no chain of custody of Wain's", "Look where the service is Wain's own.")
        path = f"{job_id(self._at.subscription, self._at.group, quote(order, safe=''))}/{PATH}"
        calls = Calls(self._at.url, self._token, self._at.ca_file)
        try:
            return calls.ask(method, with_query(path, {"api-version": NEWEST}), body)
        except NotThere:
            raise Missing(f"order {order} at {self._at.url}") from None
        except Declined as error:
            if error.code == Code.CUSTODY_DAMAGED.value:
                raise Corrupt("the chain of custody", error.reason.rstrip(".")) from None
            raise
        finally:
            calls.close()

    def _shown(self, name: str) -> dict[str, Any]:
        try:
            return self._orders.shown(name)
        except Declined as error:
            if error.status != _GONE:
                raise
            raise Missing(f"order {name} at {self._at.url}") from None

    @contextmanager
    def _log(self, link: str) -> Iterator[Iterator[bytes]]:
        """Read what a link of the service leads to. The server's token goes to the service itself and nowhere else.

        Azure's links lead to the storage account, and hold what opens them.
        """
        where = urlsplit(link)
        if where.scheme != "https" or not where.hostname:
            raise Malformed("the order", f"its copy log is at {link[:64]!r}")
        own = where.netloc == urlsplit(self._at.url).netloc and not self._at.is_azure
        headers = {"Authorization": f"Bearer {self._token()}"} if own else {}
        place = f"{where.scheme}://{where.netloc}"
        try:
            with (
                httpx.Client(verify=trust(self._at.ca_file if own else ""), timeout=TIMEOUT_SECONDS) as http,
                http.stream("GET", link, headers=headers) as answer,
            ):
                if answer.status_code >= 500:
                    raise Unreachable(place, f"HTTP status {answer.status_code}")
                if answer.status_code != 200:
                    raise Declined(place, answer.status_code, "", "the copy log is not shown to this server")
                yield answer.iter_bytes()
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise Unreachable(place, str(error) or type(error).__name__) from error
