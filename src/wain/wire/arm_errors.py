"""Refusals on the ARM wire: one table of codes with their HTTP status, and the body they travel in.

`SsemUserCopyErrorWaitingForAction`, `ResourceNotFound`, `AuthorizationFailed` and `InvalidAuthenticationToken` are
Azure's words. Azure documents no codes for the rules of its orders, so the others are ours, in its style.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from wain.base.errors import UserError


class Code(Enum):
    """Why a request is refused: the `code` of the error body."""

    UNAUTHENTICATED = "InvalidAuthenticationToken"
    FORBIDDEN = "AuthorizationFailed"
    NOT_FOUND = "ResourceNotFound"
    API_VERSION_MISSING = "MissingApiVersionParameter"
    API_VERSION_UNKNOWN = "InvalidApiVersionParameter"
    BODY = "InvalidRequestContent"
    TOO_LARGE = "RequestContentTooLarge"
    SKIP_TOKEN = "InvalidSkipToken"  # noqa: S105 - the name of a query parameter
    NAME = "InvalidJobName"
    SKU = "SkuNotAvailable"
    TRANSFER = "TransferTypeNotSupported"
    ACCOUNT_MISSING = "StorageAccountNotFound"
    ACCOUNT_KIND = "StorageAccountKindNotSupported"
    ACCOUNT_COUNT = "StorageAccountCountNotSupported"
    SECRET = "CustomerSecretNotSupported"  # noqa: S105 - says that there is none
    EXISTS = "JobAlreadyExists"
    NOT_CANCELLABLE = "JobNotCancellable"
    REASON_MISSING = "CancellationReasonMissing"
    NOT_DELETABLE = "JobNotDeletable"
    ADDRESS_FIXED = "ShippingAddressNotEditable"
    NOT_RETURNABLE = "JobNotDelivered"
    NOT_WAITING = "JobNotWaitingForAction"
    RESOLUTION = "CustomerResolutionNotSupported"
    CREDENTIALS_EARLY = "CredentialsNotAvailable"
    CUSTODY = "CustodyRecordNotAccepted"
    CUSTODY_DAMAGED = "CustodyChainDamaged"
    CHANGED = "PreconditionFailed"
    LATER = "ServiceUnavailable"
    INTERNAL = "InternalServerError"


STATUS = {
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.TOO_LARGE: 413,
    Code.EXISTS: 409,
    Code.NOT_CANCELLABLE: 409,
    Code.NOT_DELETABLE: 409,
    Code.ADDRESS_FIXED: 409,
    Code.NOT_RETURNABLE: 409,
    Code.NOT_WAITING: 409,
    Code.CREDENTIALS_EARLY: 409,
    Code.CUSTODY_DAMAGED: 409,
    Code.CHANGED: 412,
    Code.LATER: 503,
    Code.INTERNAL: 500,
}
"""HTTP's status for each code; what is not listed is 400."""


@dataclass(eq=False)
class ArmRefused(UserError):
    """A request that the ARM wire refuses. `target` names the part of it that is wrong."""

    code: Code
    reason: str
    target: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return self.reason

    @property
    def status(self) -> int:
        """HTTP's status."""
        return STATUS.get(self.code, 400)

    def body(self) -> dict[str, Any]:
        """Return the error body (azure.md 3.3)."""
        message = f"{self.reason}. {self.hint}" if self.hint else f"{self.reason}."
        error = {"code": self.code.value, "message": message}
        return {"error": {**error, "target": self.target} if self.target else error}
