"""Which service takes an order: the one in this home, or an ARM endpoint with somebody signed in at it."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli.parts import Parts
from wain.cli.remote import asked_of
from wain.cli.signing_in import CaFile, SigningIn

if TYPE_CHECKING:
    from wain.policy.endpoint import Endpoint
    from wain.wire.databox import CustodyApi, OrderApi

__all__ = ["CaFile", "Remote", "ResourceGroup", "Service", "Subscription", "orders_at", "shipping_words"]

Service = Annotated[
    str,
    typer.Option("--service", metavar="URL", help="An ARM endpoint: `wain serve`, or https://management.azure.com."),
]
Subscription = Annotated[str, typer.Option("--subscription", metavar="ID", help="With --service: the subscription.")]
ResourceGroup = Annotated[str, typer.Option("--resource-group", metavar="NAME", help="The order's resource group.")]

_CONTACT: Final = {"name": "contactName", "phone": "phone", "email": "emailList"}
_ADDRESS: Final = {
    "street": "streetAddress1",
    "city": "city",
    "state": "stateOrProvince",
    "postcode": "postalCode",
    "country": "country",
    "company": "companyName",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """What the options say about an endpoint; `service` is empty when they name none."""

    service: str
    subscription: str
    group: str
    ca_file: str


def orders_at(parts: Parts, databox: str, remote: Remote, name: str = "") -> "OrderApi":
    """Return the service that has the orders, knowing `name` when it is given. A person signs in at an endpoint.

    Raises:
        Refused: the embedded service has no such order, or the endpoint has no subscription or address.
    """
    if not remote.service:
        return parts.databox_knowing(name, databox) if name else parts.databox(databox)
    endpoint = _endpoint(remote)
    from wain.wire.arm_client import ArmOrders

    return ArmOrders(endpoint, SigningIn(parts.settings, asked_of(endpoint)).person().credential)


def keeper_at(parts: Parts, databox: str, remote: Remote, name: str) -> "CustodyApi":
    """Return who keeps the chain of custody of an order. A person signs in at an endpoint.

    Raises:
        Refused: as of `orders_at`; or the endpoint is Azure, which keeps none.
    """
    if not remote.service:
        return parts.databox_knowing(name, databox)
    endpoint = _endpoint(remote)
    if endpoint.is_azure:
        raise Refused("Azure keeps no chain of custody of Wain's", "Leave --custody out, or name a `wain serve`.")
    if not endpoint.group:
        raise Refused("no resource group is named", "Give it with --resource-group.")
    from wain.wire.arm_databox import ArmDataBox

    return ArmDataBox(endpoint, SigningIn(parts.settings, asked_of(endpoint)).person())


def _endpoint(remote: Remote) -> "Endpoint":
    from wain.policy.endpoint import Endpoint

    ca_file = os.path.abspath(remote.ca_file) if remote.ca_file else ""
    return Endpoint(remote.service.rstrip("/"), remote.subscription, remote.group, ca_file)


def shipping_words(contact: Sequence[str] | None, address: Sequence[str] | None) -> str:
    """Return contact and shipping address for an order, as the wire spells them.

    Raises:
        Refused: a key that is none, or no contact name, street or country.
    """
    person, place = _pairs(contact, _CONTACT, "--contact"), _pairs(address, _ADDRESS, "--address")
    for pairs, key, flag in ((person, "contactName", "--contact name="), (place, "streetAddress1", "--address street="),
                             (place, "country", "--address country=")):  # fmt: skip
        if not pairs.get(key):
            raise Refused("the order does not say where the device goes", f"Give {flag}")
    details: dict[str, object] = {**person, "emailList": [person["emailList"]] if "emailList" in person else []}
    return json.dumps({"contactDetails": details, "shippingAddress": place})


def _pairs(given: Sequence[str] | None, known: Mapping[str, str], flag: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for each in given or ():
        key, equals, text = each.partition("=")
        if not equals or key not in known:
            raise Refused(
                f"{flag} does not take {each!r}", f"Write one of {', '.join(f'{name}=TEXT' for name in known)}."
            )
        pairs[known[key]] = text
    return pairs
