"""What opens the device of an order, as `listCredentials` answers it."""

from typing import Any

from wain.wire.arm_errors import ArmRefused, Code
from wain.wire.arm_jobs import DISK, Job, shape_of


def credentials_json(job: Job, passkey: str) -> dict[str, Any]:
    """Return what opens the device of an order (azure.md 3.6); `passkey` is empty for one that is not locked.

    Raises:
        ArmRefused: no device has been prepared yet.
    """
    order = job.order
    if order.device is None:
        hint = "Ask again when the order is DevicePrepared."
        raise ArmRefused(Code.CREDENTIALS_EARLY, f"order {order.name} has no device yet", "status", hint)
    secrets: dict[str, Any] = {"jobSecretsType": shape_of(order.sku)}
    if shape_of(order.sku) == DISK:
        secrets |= {"diskSecrets": [{"diskSerialNumber": job.serial or ""}], "isPasskeyUserDefined": False}
        secrets |= {"passKey": passkey} if passkey else {}
    else:
        share = {"shareName": f"{order.account}_PageBlob", "shareType": "PageBlob", "supportedAccessProtocols": []}
        account = {
            "accountName": order.account,
            "dataAccountType": "StorageAccount",
            "shareCredentialDetails": [share],
        }
        pod = {"deviceSerialNumber": job.serial or "", "accountCredentialDetails": [account]}
        secrets["podSecrets"] = [{**pod, "devicePassword": passkey} if passkey else pod]
    return {"value": [{"jobName": order.name, "jobSecrets": secrets}]}
