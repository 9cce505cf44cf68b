"""An order as ARM's `JobResource` (azure.md 3.4): reading what a customer sends, writing what a service shows. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wain.base.errors import Malformed
from wain.base.moment import from_iso, to_iso
from wain.order.order import DEAD, FINISHED, AccountKind, Order, Stage, StageTime
from wain.order.rules import ADDRESS_EDITABLE, DELETABLE, is_cancellable
from wain.wire.arm_errors import ArmRefused, Code
from wain.wire.arm_paths import JOB_TYPE, NEWEST, account_id, account_of, job_id

IMPORT: Final = "ImportToAzure"
DISK: Final = "DataBoxDisk"
_SHAPES: Final = frozenset({DISK, "DataBox", "DataBoxHeavy", "DataBoxCustomerDisk"})
"""Azure's kinds of details (`jobDetailsType`)."""
WORDS_CAP: Final = 64 * 1024
"""How long what a customer says about an order may be, as JSON."""
REASON_CAP: Final = 1024
LINE_CAP: Final = 256

DISPLAY: Final[Mapping[Stage, str]] = {
    Stage.DEVICE_ORDERED: "Ordered",
    Stage.DEVICE_PREPARED: "Processed",
    Stage.DISPATCHED: "Dispatched",
    Stage.DELIVERED: "Delivered",
    Stage.PICKED_UP: "Picked up",
    Stage.AT_AZURE_DC: "Received",
    Stage.DATA_COPY: "Data copy in progress",
    Stage.COMPLETED: "Completed",
    Stage.COMPLETED_WITH_WARNINGS: "Completed with warnings",
    Stage.COMPLETED_WITH_ERRORS: "Completed with errors",
    Stage.CANCELLED: "Canceled",
    Stage.ABORTED: "Aborted",
}
"""The portal's names (azure.md 3.1)."""

STAGES: Final = tuple(DISPLAY)[:8]
"""What every order lists from the first day on."""

ENDED: Final[Mapping[Stage, str]] = {
    Stage.COMPLETED: "Succeeded",
    Stage.COMPLETED_WITH_WARNINGS: "SucceededWithWarnings",
    Stage.COMPLETED_WITH_ERRORS: "SucceededWithErrors",
    Stage.CANCELLED: "Cancelled",
    Stage.ABORTED: "Failed",
}
"""`stageStatus` of the stages that end an order."""

_KEPT: Final = ("contactDetails", "shippingAddress", "preferences", "expectedDataSizeInTeraBytes", "preferredDisks",
                "reverseShippingDetails", "keyEncryptionKey")  # fmt: skip
_SIZE: Final = "expectedDataSizeInTeraBytes"
_SIZE_CAP: Final = 1000
_SECRETS: Final = ("passkey", "devicePassword")
_CHANGEABLE: Final = frozenset({"contactDetails", "shippingAddress", "preferences", "reverseShippingDetails"})
LOGS: Final = "wainCopyLogs"
"""Below an order: the logs of its data copy, at Wain's own service. Azure's lie in the storage account."""
WAITING: Final = "SsemUserCopyErrorWaitingForAction"
HEEDED: Final = "heeded"
"""Beside what a customer answered to a halt: the data copy went on because of it. Another halt is another question."""
RESOLUTIONS: Final = ("Resume",)
"""What `mitigate` can do here: go on with the data copy."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a create request asks for. `words` is a JSON object, in one spelling."""

    location: str
    sku: str
    account: str
    words: str


@dataclass(frozen=True, slots=True)
class Job:
    """An order with everything that the wire shows of it."""

    order: Order
    words: Mapping[str, Any]
    version: int
    serial: str | None = None
    cancel_reason: str | None = None
    package: Mapping[str, Any] | None = None
    """How the device comes back: `carrierName`, `trackingId`."""
    mitigation: Mapping[str, Any] | None = None
    logs: tuple[str, str] | None = None
    """Names of the copy log and the verbose log of a finished data copy."""
    halted: bool = False
    """Its data copy began and nobody works on it."""

    @property
    def etag(self) -> str:
        """Changes with every change of the customer's words and with every stage."""
        return f'"{self.version}.{len(self.order.history)}"'

    @property
    def waits(self) -> bool:
        """Whether its data copy waits for the customer."""
        return self.halted and (self.mitigation is None or HEEDED in self.mitigation)


def mapping(value: Any, target: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        ArmRefused: it is something else.
    """
    if not isinstance(value, dict):
        raise ArmRefused(Code.BODY, f"{target} must be an object", target)
    return value


def text(fields: Mapping[str, Any], key: str, target: str, cap: int = LINE_CAP) -> str:
    """Return a text that must be there.

    Raises:
        ArmRefused: it is missing, empty, too long, or no text.
    """
    value = fields.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > cap:
        raise ArmRefused(Code.BODY, f"{target}.{key} must be a text of 1 to {cap} characters", f"{target}.{key}")
    return value


def shape_of(sku: str) -> str:
    """Return whose details an order has on the wire, where Azure knows only its own: an operator's kind is a disk."""
    return sku if sku in _SHAPES else DISK


def wanted(body: Mapping[str, Any]) -> Wanted:
    """Return what a create request asks for.

    Raises:
        ArmRefused: names the first part of it that cannot be.
    """
    properties = mapping(body.get("properties"), "properties")
    if properties.get("transferType", IMPORT) != IMPORT:
        raise ArmRefused(Code.TRANSFER, "only ImportToAzure is possible", "properties.transferType")
    details = mapping(properties.get("details"), "properties.details")
    sku = text(mapping(body.get("sku"), "sku"), "name", "sku")
    if details.get("jobDetailsType", shape_of(sku)) != shape_of(sku):
        target = "properties.details.jobDetailsType"
        reason = f"the details are those of a {details['jobDetailsType']!r}, not of a {shape_of(sku)}"
        raise ArmRefused(Code.BODY, reason, target)
    for secret in _SECRETS:
        if details.get(secret):
            reason = f"this service locks no device with a {secret} from an order"
            raise ArmRefused(Code.SECRET, reason, f"properties.details.{secret}", "Leave it out.")
    contact = mapping(details.get("contactDetails"), "properties.details.contactDetails")
    text(contact, "contactName", "contactDetails")
    said = {key: details[key] for key in _KEPT if details.get(key) is not None}
    for key in said.keys() - {_SIZE}:
        mapping(said[key], f"properties.details.{key}")
    if type(said.get(_SIZE, 1)) is not int or not 0 < said.get(_SIZE, 1) <= _SIZE_CAP:
        raise ArmRefused(Code.BODY, f"{_SIZE} must be 1 to {_SIZE_CAP}", f"properties.details.{_SIZE}")
    account = _account_id(details)
    kept = {"details": said, "storageAccountId": account, "tags": _tags(body)}
    return Wanted(text(body, "location", "job"), sku, account_of(account), words_json(kept))


def order_of(body: Mapping[str, Any]) -> Order:
    """Return the order that a service shows as a `JobResource` with its details.

    The kind of its storage account is not on the wire: an order that was taken has one with page blobs, so it counts
    as general purpose v2. Stages that Wain does not know are those of other kinds of order.

    Raises:
        Malformed: it is none that Wain understands.
    """
    try:
        parts = str(body["id"]).strip("/").split("/")
        properties = body["properties"]
        details = properties["details"]
        account = details["dataImportDetails"][0]["accountDetails"]["storageAccountId"]
        reached = [each for each in details["jobStages"] if each.get("stageTime")]
        history = tuple(StageTime(Stage(each["stageName"]), from_iso(each["stageTime"])) for each in reached)
        order = Order(
            name=str(body["name"]),
            sku=str(body["sku"]["name"]),
            account=account_of(account),
            account_kind=AccountKind.STORAGE_V2,
            subscription=parts[1],
            region=str(body["location"]),
            device=None,
            history=history,
            resource_group=parts[3],
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, ArmRefused) as error:
        raise Malformed("an order", f"the service shows it without {error}") from None
    if not history or order.stage.value != properties.get("status"):
        raise Malformed("an order", f"its stages do not end in {str(properties.get('status'))[:64]}")
    return order


def words_json(words: Mapping[str, Any]) -> str:
    """Return the customer's words in one spelling.

    Raises:
        ArmRefused: they are too long.
    """
    try:
        encoded = json.dumps(words, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(encoded.encode())
    except (ValueError, RecursionError):  # a number that is none, half a character, or too deep
        size = WORDS_CAP + 1
    if size > WORDS_CAP:
        raise ArmRefused(Code.BODY, f"the details of an order may take {WORDS_CAP} bytes of plain JSON", "properties")
    return encoded


def changed_words(words: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """Return the words of an order after a PATCH, and which details it changes.

    Raises:
        ArmRefused: it changes what cannot change.
    """
    properties = mapping(body.get("properties") or {}, "properties")
    details = mapping(properties.get("details") or {}, "properties.details")
    named = {key: value for key, value in details.items() if value is not None}
    strange = set(named) - _CHANGEABLE
    if strange:
        raise ArmRefused(Code.BODY, f"{min(strange)[:64]!r} of an order cannot change", "properties.details")
    before = words.get("details", {})
    after = {**before, **{key: mapping(value, key) for key, value in named.items()}}
    tags = _tags(body) if body.get("tags") is not None else words.get("tags", {})
    kept = words_json({**words, "details": after, "tags": tags})
    return kept, frozenset(key for key in named if named[key] != before.get(key))


def _account_id(details: Mapping[str, Any]) -> str:
    imports = details.get("dataImportDetails")
    if not isinstance(imports, list) or len(imports) != 1:
        target = "properties.details.dataImportDetails"
        raise ArmRefused(Code.ACCOUNT_COUNT, "an order takes exactly one storage account", target)
    account = mapping(mapping(imports[0], "dataImportDetails").get("accountDetails"), "accountDetails")
    if account.get("dataAccountType", "StorageAccount") != "StorageAccount":
        raise ArmRefused(Code.ACCOUNT_KIND, "managed disks hold no seed", "accountDetails.dataAccountType")
    if account.get("sharePassword"):
        reason = "this service opens no share with a password of the customer's"
        raise ArmRefused(Code.SECRET, reason, "accountDetails.sharePassword", "Leave it out.")
    return text(account, "storageAccountId", "accountDetails", 1024)


def _tags(body: Mapping[str, Any]) -> Mapping[str, str]:
    tags = mapping(body.get("tags") or {}, "tags")
    if not all(isinstance(value, str) and len(value) <= LINE_CAP for value in tags.values()):
        raise ArmRefused(Code.BODY, f"tags are texts of at most {LINE_CAP} characters", "tags")
    return tags


def stages_json(job: Job) -> list[dict[str, Any]]:
    """Return the eight stages of an order, those that are still to come without a time (azure.md 3.1).

    The last one is how the order ended, once it has.
    """
    order = job.order
    reached = {each.stage: each.at for each in order.history}
    listed = (*STAGES[:-1], order.stage if order.stage in FINISHED | DEAD else STAGES[-1])
    return [_stage_json(job, stage, reached.get(stage)) for stage in listed]


def _stage_json(job: Job, stage: Stage, at: datetime | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"stageName": stage.value, "displayName": DISPLAY[stage], "stageStatus": "None"}
    if at is None:
        return shown
    status = ENDED.get(stage, "InProgress" if job.order.stage is stage else "Succeeded")
    if stage is Stage.DATA_COPY and job.halted:
        status = "WaitingForCustomerAction" if job.waits else "CustomerActionPerformed"
    return {**shown, "stageStatus": status, "stageTime": to_iso(at)}


def job_json(job: Job, base: str = "", *, details: bool) -> dict[str, Any]:
    """Return an order as a `JobResource`; its details only when they were asked for (`$expand=details`).

    `base` is where the service is reached: links to logs begin with it.
    """
    order, stage = job.order, job.order.stage
    properties: dict[str, Any] = {
        "transferType": IMPORT,
        "status": stage.value,
        "startTime": to_iso(order.history[0].at),
        "isCancellable": is_cancellable(stage),
        "isCancellableWithoutFee": is_cancellable(stage),
        "isDeletable": stage in DELETABLE,
        "isShippingAddressEditable": stage in ADDRESS_EDITABLE,
        "isPrepareToShipEnabled": False,
        "reverseShippingDetailsUpdate": "NotSupported",
        "reverseTransportPreferenceUpdate": "NotSupported",
        "deliveryType": "NonScheduled",
    }
    if job.cancel_reason:
        properties["cancellationReason"] = job.cancel_reason
    if job.waits:
        message = "The data copy has stopped. Resume it with mitigate."
        properties["error"] = {"code": WAITING, "message": message, "target": "CopyIntervention"}
    if details:
        properties["details"] = _details(job, base)
    return {
        "id": job_id(order.subscription, order.resource_group, order.name),
        "name": order.name,
        "type": JOB_TYPE,
        "location": order.region,
        "tags": job.words.get("tags", {}),
        "etag": job.etag,
        "sku": {"name": order.sku},
        "identity": {"type": "None"},
        "properties": properties,
    }


def _details(job: Job, base: str) -> dict[str, Any]:
    order = job.order
    shown = {
        "jobDetailsType": shape_of(order.sku),
        "contactDetails": {},
        **job.words.get("details", {}),
        "jobStages": stages_json(job),
        "dataImportDetails": [{"accountDetails": _account_json(job), "logCollectionLevel": "Verbose"}],
        "copyLogDetails": _logs_json(job, base),
        "actions": list(RESOLUTIONS) if job.waits else [],
    }
    if job.package is not None:
        shown["returnPackage"] = dict(job.package)
    if job.mitigation is not None:
        shown["lastMitigationActionOnJob"] = {key: said for key, said in job.mitigation.items() if key != HEEDED}
    if job.serial is not None and order.device is not None and shape_of(order.sku) == DISK:
        status = "InProgress" if order.stage is Stage.DATA_COPY else "NotStarted"
        if order.stage in FINISHED:
            status = "CompletedWithErrors" if order.stage is Stage.COMPLETED_WITH_ERRORS else "Completed"
        shown["copyProgress"] = [{"serialNumber": job.serial, "status": status}]
    return shown


def _logs_json(job: Job, base: str) -> list[dict[str, Any]]:
    """Return where the logs of a data copy are, in Azure's two shapes: of a disk, and of a storage account."""
    if job.logs is None:
        return []
    order = job.order
    here = f"{base}{job_id(order.subscription, order.resource_group, order.name)}/{LOGS}"
    log, verbose = (f"{here}/{name}?api-version={NEWEST}" for name in job.logs)
    if shape_of(order.sku) == DISK:
        known = {"copyLogDetailsType": DISK, "diskSerialNumber": job.serial or ""}
        return [{**known, "errorLogLink": log, "verboseLogLink": verbose}]
    kind = order.sku if order.sku == "DataBoxHeavy" else "DataBox"
    several = kind == "DataBoxHeavy"  # A list there, a text elsewhere.
    links = {"copyLogLink": [log] if several else log, "copyVerboseLogLink": [verbose] if several else verbose}
    return [{"copyLogDetailsType": kind, "accountName": order.account, **links}]


def copy_logs(body: Mapping[str, Any]) -> list[str]:
    """Return the addresses of the copy logs that an order names, at either service.

    Raises:
        Malformed: they are no addresses.
    """
    try:
        listed = body["properties"]["details"].get("copyLogDetails") or []
        found = [each.get("errorLogLink") or each.get("copyLogLink") or [] for each in listed]
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed("an order", f"the service shows it without {error}") from None
    links = [link for each in found for link in (each if isinstance(each, list) else [each])]
    if not all(isinstance(link, str) for link in links):
        raise Malformed("an order", "the service shows a copy log that is no address")
    return links


def _account_json(job: Job) -> dict[str, Any]:
    order = job.order
    said = job.words.get("storageAccountId")
    known = said or account_id(order.subscription, order.resource_group, order.account)
    return {"dataAccountType": "StorageAccount", "storageAccountId": known}


def page_json(items: Sequence[dict[str, Any]], next_link: str = "") -> dict[str, Any]:
    """Return one page of a list."""
    return {"value": list(items), **({"nextLink": next_link} if next_link else {})}
