"""Paths, versions and pages of the ARM wire. Pure."""

import base64
from collections.abc import Mapping
from typing import Final

from wain.wire.arm_errors import ArmRefused, Code

PROVIDER: Final = "Microsoft.DataBox"
JOB_TYPE: Final = f"{PROVIDER}/jobs"
API_VERSIONS: Final = ("2018-01-01", "2019-09-01", "2022-12-01", "2025-02-01", "2025-07-01")
"""Versions that are understood; all answer in the shapes of the newest, which only adds to the older ones."""
NEWEST: Final = API_VERSIONS[-1]
PAGE: Final = 100
"""Orders on one page of a list."""
ETAG_CAP: Final = 64
_TOKEN_CAP: Final = 64
_DIGITS: Final = 18


def group_scope(subscription: str, group: str) -> str:
    """Return the scope of a resource group."""
    return f"/subscriptions/{subscription}/resourceGroups/{group}"


def job_id(subscription: str, group: str, name: str) -> str:
    """Return the resource id of an order."""
    return f"{group_scope(subscription, group)}/providers/{JOB_TYPE}/{name}"


def account_id(subscription: str, group: str, name: str) -> str:
    """Return the resource id of a storage account."""
    return f"{group_scope(subscription, group)}/providers/Microsoft.Storage/storageAccounts/{name}"


def account_of(resource: str) -> str:
    """Return the name of the storage account that a resource id names.

    Raises:
        ArmRefused: it names none.
    """
    parts = resource.strip("/").split("/")
    shape = [part.lower() for part in parts[0::2]]
    if shape != ["subscriptions", "resourcegroups", "providers", "storageaccounts"] or not all(parts):
        target = "storageAccountId"
        raise ArmRefused(Code.ACCOUNT_MISSING, f"{resource[:200]!r} is not the id of a storage account", target)
    return parts[-1]


def check_version(query: Mapping[str, str]) -> str:
    """Return the api-version of a request.

    Raises:
        ArmRefused: it is missing, or none that is understood.
    """
    version = query.get("api-version", "")
    if not version:
        raise ArmRefused(Code.API_VERSION_MISSING, "the api-version query parameter is required", "api-version")
    if version.lower() not in API_VERSIONS:
        hint = f"Supported are {', '.join(API_VERSIONS)}."
        reason = f"the api-version {version[:40]!r} is not supported for {JOB_TYPE}"
        raise ArmRefused(Code.API_VERSION_UNKNOWN, reason, "api-version", hint)
    return version


def skip_token(after: int) -> str:
    """Return what a next page begins after, as clients hand it back."""
    return base64.urlsafe_b64encode(f"after:{after}".encode()).decode()


def skipped(token: str) -> int:
    """Return the position that a token means; 0 for none.

    Raises:
        ArmRefused: we gave no such token.
    """
    if not token:
        return 0
    try:
        if len(token) > _TOKEN_CAP:
            raise ValueError
        word, _, number = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii").partition(":")
    except ValueError:
        word, number = "", ""
    if word != "after" or not number.isdecimal() or len(number) > _DIGITS:
        raise ArmRefused(Code.SKIP_TOKEN, "the $skipToken is not one of this service's", "$skipToken")
    return int(number)
