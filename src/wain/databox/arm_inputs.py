"""What a customer may ask before ordering (azure.md 3.5): which devices there are, and whether an order would pass."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from wain.base.errors import Refused
from wain.base.sizes import TB
from wain.databox.jobs import Jobs
from wain.order.sku import Sku
from wain.wire.arm_errors import ArmRefused, Code
from wain.wire.arm_jobs import IMPORT, mapping, page_json, text
from wain.wire.arm_paths import API_VERSIONS, account_of

REQUESTS_CAP: Final = 16
COUNTRY_LETTERS: Final = 2
ALL_VALID: Final = "AllValidToProceed"
REVISIT: Final = "InputsRevisitRequired"
SKIPPED: Final = "CertainInputValidationsSkipped"


def skus_json(skus: Mapping[str, Sku], body: Mapping[str, Any], location: str) -> dict[str, Any]:
    """Return the kinds of device, as `availableSkus` does.

    Raises:
        ArmRefused: it asks for an export.
    """
    _check_import(body)
    names = body.get("skuNames")
    wanted = set(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else set(skus)
    return page_json([_sku_json(sku, location) for name, sku in skus.items() if name in wanted])


def _sku_json(sku: Sku, location: str) -> dict[str, Any]:
    size = f"{sku.usable_bytes / TB:g}"
    return {
        "sku": {"name": sku.name, "displayName": sku.name, "family": sku.name},
        "enabled": True,
        "properties": {
            "dataLocationToServiceLocationMap": [{"dataLocation": location, "serviceLocation": location}],
            "capacity": {"usable": size, "maximum": size, "individualSkuUsable": size},
            "costs": [],
            "apiVersions": list(API_VERSIONS),
            "disabledReason": "None",
        },
    }


def validation_json(jobs: Jobs, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `validateInputs` says: every question with `Valid`, `Invalid` and why, or `Skipped`.

    Raises:
        ArmRefused: the request is none.
    """
    questions = body.get("individualRequestDetails")
    if not isinstance(questions, list) or not 1 <= len(questions) <= REQUESTS_CAP:
        target = "individualRequestDetails"
        raise ArmRefused(Code.BODY, f"{target} must list 1 to {REQUESTS_CAP} validations", target)
    answers = [_answer(jobs, mapping(question, "individualRequestDetails")) for question in questions]
    states = {answer.get("status", answer.get("validationStatus")) for answer in answers}
    status = REVISIT if "Invalid" in states else SKIPPED if "Skipped" in states else ALL_VALID
    return {"properties": {"status": status, "individualResponseDetails": answers}}


def _answer(jobs: Jobs, question: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(question.get("validationType", ""))[:64]
    word = "validationStatus" if kind == "ValidateAddress" else "status"
    shown: dict[str, Any] = {"validationType": kind}
    passed = "Valid" if kind in _CHECKS else "Skipped"
    try:
        (_CHECKS.get(kind) or _FORMS.get(kind, _check_nothing))(jobs, question)
    except ArmRefused as error:
        return {**shown, word: "Invalid", "error": error.body()["error"]}
    return {**shown, word: passed, "error": {"code": "Success"}}


def _check_import(question: Mapping[str, Any]) -> None:
    if question.get("transferType", IMPORT) != IMPORT:
        raise ArmRefused(Code.TRANSFER, "only ImportToAzure is possible", "transferType")


def _check_sku(jobs: Jobs, question: Mapping[str, Any]) -> None:
    _check_import(question)
    try:
        jobs.check_sku(str(question.get("deviceType", "")))
    except Refused as error:
        raise ArmRefused(Code.SKU, error.reason, "deviceType", error.hint) from None


def _check_accounts(jobs: Jobs, question: Mapping[str, Any]) -> None:
    _check_sku(jobs, question)
    imports = question.get("dataImportDetails")
    if not isinstance(imports, list) or len(imports) != 1:
        raise ArmRefused(Code.ACCOUNT_COUNT, "an order takes exactly one storage account", "dataImportDetails")
    account = mapping(mapping(imports[0], "dataImportDetails").get("accountDetails"), "accountDetails")
    jobs.check_account(account_of(str(account.get("storageAccountId", ""))[:1024]))


def _check_nothing(jobs: Jobs, question: Mapping[str, Any]) -> None:
    """Anybody whose role allows it may order here, as often as they like: Azure's limits are its own."""


def _check_address(jobs: Jobs, question: Mapping[str, Any]) -> None:
    """Refuse what cannot be an address: no street, or a country that is not two letters (ISO 3166-1 alpha-2)."""
    target = "shippingAddress"
    address = mapping(question.get(target), target)
    text(address, "streetAddress1", target)
    country = text(address, "country", target)
    if not (len(country) == COUNTRY_LETTERS and country.isascii() and country.isalpha()):
        reason = f"the country {country[:64]!r} is not a code of two letters"
        raise ArmRefused(Code.BODY, reason, f"{target}.country", "Write it like NL or US.")


_CHECKS: Final[Mapping[str, Callable[[Jobs, Mapping[str, Any]], None]]] = {
    "ValidateSkuAvailability": _check_sku,
    "ValidateDataTransferDetails": _check_accounts,
    "ValidateSubscriptionIsAllowedToCreateJob": _check_nothing,
    "ValidateCreateOrderLimit": _check_nothing,
}
"""What is judged here. Preferences are nobody's to judge: their validation is skipped."""

_FORMS: Final[Mapping[str, Callable[[Jobs, Mapping[str, Any]], None]]] = {"ValidateAddress": _check_address}
"""Where only the form can be judged: wrong is `Invalid`, well-formed stays `Skipped`, for no carrier is asked."""
