"""Orders at an ARM endpoint, ours or Azure's, through the official azure-mgmt-databox.

Loading this module takes a while; only commands that talk to such an endpoint do.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.mgmt.databox import DataBoxManagementClient

from wain.base.errors import Refused
from wain.order.order import Order, OrderRequest
from wain.policy.endpoint import AZURE, Endpoint
from wain.wire.arm_jobs import IMPORT, order_of, shape_of
from wain.wire.arm_paths import account_id
from wain.wire.calls import Declined, Unreachable

SCOPE: Final = f"{AZURE}/.default"
_TEXT_CAP: Final = 500
_RETRIES: Final = 2
_LATER: Final = 500


class ArmOrders:
    """`wire.databox.OrderApi` at an endpoint. `credential` is what azure-identity makes."""

    def __init__(self, endpoint: Endpoint, credential: Any) -> None:
        self._at = endpoint
        self._client: Any = DataBoxManagementClient(
            credential,
            endpoint.subscription,
            base_url=endpoint.url,
            credential_scopes=[SCOPE],
            connection_verify=endpoint.ca_file or True,
            retry_total=_RETRIES,
        )

    def orders(self) -> list[Order]:
        """Return the orders of the resource group, or of the whole subscription when none is named."""
        jobs = self._client.jobs
        with self._refusals():
            found = list(jobs.list_by_resource_group(self._at.group) if self._at.group else jobs.list())
            return [self._one(str(each.id).strip("/").split("/")[3], each.name) for each in found]

    def order(self, name: str) -> Order:
        """Return one order."""
        return order_of(self.shown(name))

    def shown(self, name: str) -> dict[str, Any]:
        """Return one order with its details, as the service shows it (`JobResource`)."""
        with self._refusals():
            return self._shown(self._group(), name)

    def create_order(self, request: OrderRequest) -> Order:
        """Order a device, and wait until the service has taken the order."""
        words = json.loads(request.words)
        account = request.account
        if not account.startswith("/"):
            account = account_id(self._at.subscription, self._group(), account)
        imports = [{"accountDetails": {"dataAccountType": "StorageAccount", "storageAccountId": account}}]
        details = {"jobDetailsType": shape_of(request.sku), "dataImportDetails": imports, **words}
        body = {
            "location": request.region,
            "sku": {"name": request.sku},
            "properties": {"transferType": IMPORT, "details": details},
        }
        with self._refusals():
            self._client.jobs.begin_create(self._group(), request.name, body).result()
            return self._one(self._group(), request.name)

    def cancel(self, name: str, reason: str) -> Order:
        """Cancel an order."""
        with self._refusals():
            self._client.jobs.cancel(self._group(), name, {"reason": reason})
            return self._one(self._group(), name)

    def _group(self) -> str:
        if not self._at.group:
            raise Refused("no resource group is named", "Give it with --resource-group.")
        return self._at.group

    def _one(self, group: str, name: str) -> Order:
        return order_of(self._shown(group, name))

    def _shown(self, group: str, name: str) -> dict[str, Any]:
        return dict(self._client.jobs.get(group, name, expand="details").as_dict())

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn the client's errors into ours."""
        try:
            yield
        except ClientAuthenticationError as error:
            if isinstance(error.__cause__, ServiceRequestError | ServiceResponseError):
                raise Unreachable(self._at.url, _first(error.__cause__)) from None
            raise Refused(f"the sign-in failed: {_first(error)}", "Sign in again, with the right account.") from None
        except HttpResponseError as error:
            status = int(error.status_code or _LATER)
            if status >= _LATER:
                raise Unreachable(self._at.url, _first(error)) from None
            code = str(error.error.code) if error.error else ""
            reason = str(error.error.message).strip().rstrip(".") if error.error else _first(error)
            raise Declined(self._at.url, status, code, reason[:_TEXT_CAP]) from None
        except AzureError as error:
            raise Unreachable(self._at.url, _first(error)) from None


def _first(error: AzureError) -> str:
    return str(error).partition("\n")[0][:_TEXT_CAP]
