"""A client of Microsoft Graph, or of Wain's part of it: applications, their certificates, service principals, people.

A certificate of an application is carried as the JSON object that the service sent, and sent back as exactly that
object. A model that knew only some of its properties would drop the others, and the service would take this for a
change: that was the bug behind the seed's "Update to existing credential with KeyId ... is not allowed" (S89, S95).
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from wain.base.errors import Malformed
from wain.wire.calls import Answer, Calls, Declined, with_query

SCOPE: Final = "https://graph.microsoft.com/.default"
_VERSION: Final = "/v1.0"
_CONFLICT: Final = 409
_SELECT: Final = "id,appId,displayName,createdDateTime,keyCredentials"


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the directory."""

    object_id: str
    name: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A certificate on an application. `raw` is what the service said of it, every property."""

    raw: Mapping[str, Any]

    @property
    def key_id(self) -> str:
        """The GUID of the entry."""
        return str(self.raw.get("keyId", "")).lower()

    @property
    def thumbprint(self) -> str:
        """The certificate's SHA-1 in upper-case hex: of the certificate where it is shown, else as it is named."""
        key = self.raw.get("key")
        if isinstance(key, str):
            with suppress(binascii.Error, ValueError):
                der = base64.b64decode(key, validate=True)
                return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        return str(self.raw.get("customKeyIdentifier", "")).upper()


@dataclass(frozen=True, slots=True)
class RemoteApplication:
    """An application as the directory has it. `etag` is empty where the service gives none."""

    object_id: str
    app_id: str
    display_name: str
    created: str
    etag: str
    keys: tuple[PublicKey, ...]


class Graph:
    """Graph's calls.

    Raises (all methods): what `Calls.ask` raises; `Malformed` for an answer without what it must have.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def me(self) -> Person:
        """Return who is signed in."""
        return _person(self._calls.ask("GET", f"{_VERSION}/me"))

    def person(self, name: str) -> Person:
        """Return a user by name (seed, S107)."""
        return _person(self._calls.ask("GET", f"{_VERSION}/users/{_segment(name)}"))

    def applications(self, display_name: str) -> list[RemoteApplication]:
        """Return the applications of a name, oldest first. Their keys are not shown."""
        literal = display_name.replace("'", "''")
        found = self._calls.ask(
            "GET", with_query(f"{_VERSION}/applications", {"$filter": f"displayName eq '{literal}'"})
        )
        values = found.body.get("value")
        if not isinstance(values, list):
            raise Malformed("Graph's list of applications", "it has no value")
        shown = [_application(each, "") for each in values]
        return sorted(shown, key=lambda each: (each.created, each.object_id))

    def application(self, object_id: str) -> RemoteApplication:
        """Return one application with its keys."""
        path = with_query(f"{_VERSION}/applications/{_segment(object_id)}", {"$select": _SELECT})
        found = self._calls.ask("GET", path)
        return _application(found.body, found.headers.get("etag", ""))

    def create_application(self, display_name: str) -> RemoteApplication:
        """Register an application without keys."""
        body = {"displayName": display_name, "signInAudience": "AzureADMyOrg"}
        found = self._calls.ask("POST", f"{_VERSION}/applications", body)
        return _application(found.body, found.headers.get("etag", ""))

    def set_keys(self, application: RemoteApplication, keys: Sequence[Mapping[str, Any]]) -> None:
        """Replace all keys of an application, if it is still as it was read (where the service can tell)."""
        headers = {"If-Match": application.etag} if application.etag else {}
        path = f"{_VERSION}/applications/{_segment(application.object_id)}"
        self._calls.ask("PATCH", path, {"keyCredentials": list(keys)}, headers)

    def delete_application(self, application: RemoteApplication) -> None:
        """Delete an application, if it is still as it was read (where the service can tell)."""
        headers = {"If-Match": application.etag} if application.etag else {}
        self._calls.ask("DELETE", f"{_VERSION}/applications/{_segment(application.object_id)}", headers=headers)

    def add_key(self, object_id: str, key: Mapping[str, Any], proof: str) -> PublicKey:
        """Add a certificate by proof of possession of another (application: addKey)."""
        body = {"keyCredential": dict(key), "passwordCredential": None, "proof": proof}
        found = self._calls.ask("POST", f"{_VERSION}/applications/{_segment(object_id)}/addKey", body)
        return PublicKey(found.body)

    def remove_key(self, object_id: str, key_id: str, proof: str) -> None:
        """Remove a certificate by proof of possession (application: removeKey)."""
        body = {"keyId": key_id, "proof": proof}
        self._calls.ask("POST", f"{_VERSION}/applications/{_segment(object_id)}/removeKey", body)

    def ensure_principal(self, app_id: str) -> str:
        """Give an application its account in the tenant, if it has none; return the account's object id."""
        found = self._principal(app_id)
        if found:
            return found
        try:
            self._calls.ask("POST", f"{_VERSION}/servicePrincipals", {"appId": app_id})
        except Declined as error:
            if error.status != _CONFLICT:
                raise
        found = self._principal(app_id)
        if not found:
            raise Malformed("Graph's list of service principals", "it lacks the one that was just made")
        return found

    def _principal(self, app_id: str) -> str:
        answer = self._calls.ask(
            "GET", with_query(f"{_VERSION}/servicePrincipals", {"$filter": f"appId eq '{app_id}'"})
        )
        values = answer.body.get("value")
        if not isinstance(values, list):
            raise Malformed("Graph's list of service principals", "it has no value")
        return _need(values[0], "id") if values else ""


def new_entry(der: bytes, display_name: str) -> dict[str, Any]:
    """Return the entry that adds a certificate's public part to an application."""
    return {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "displayName": display_name,
        "key": base64.b64encode(der).decode(),
    }


def _application(body: Any, etag: str) -> RemoteApplication:
    keys = body.get("keyCredentials") if isinstance(body, dict) else None
    return RemoteApplication(
        _need(body, "id"),
        _need(body, "appId"),
        _need(body, "displayName"),
        str(body.get("createdDateTime", "")),
        etag or str(body.get("@odata.etag", "")),
        tuple(PublicKey(key) for key in keys or () if isinstance(key, dict)),
    )


def _person(answer: Answer) -> Person:
    return Person(_need(answer.body, "id").lower(), _need(answer.body, "userPrincipalName"))


def _need(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, Mapping) else None
    if not isinstance(value, str) or not value:
        raise Malformed("Graph's answer", f"it has no {name}")
    return value


def _segment(text: str) -> str:
    return quote(text, safe="@")
