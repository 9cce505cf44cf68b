"""A client that fails as the old Azure PowerShell did (Azure/azure-powershell, issue 6219).

Its model of a key credential has no `customKeyIdentifier`: what it read and sends back lacks it. Like the MARS agent
around it, it makes its certificate first, looks for a thumbprint set by hand, and writes how it ended to `CBUICurr`.
"""

import base64
from typing import Any

import httpx

from unit.identity.serving import now
from wain.agent.certificates import OwnCertificate
from wain.agent.offline_identity import OfflineIdentity
from wain.agent.ui_log import FAILED

MODEL = ("keyId", "type", "usage", "startDateTime", "endDateTime")


class PolicyNotCreated(Exception):
    """The wizard's error page (S92)."""


class OldClient:
    def __init__(self, agent: OfflineIdentity, graph: httpx.Client) -> None:
        self._agent = agent
        self._graph = graph

    def configure(self) -> OwnCertificate:
        """What happens behind the wizard when an offline policy is saved. Returns the certificate in use."""
        user = self._graph.get("/me").raise_for_status().json()["id"]
        found = self._application(f"AzureOfflineBackup_{user}")
        by_hand = self._agent.record().bindings.get(user)
        if by_hand and found and self._has(found["id"], by_hand.thumbprint):
            certificate = self._agent.certificates.find(by_hand.thumbprint)
            assert certificate is not None
            return self._saved(certificate)
        made = self._agent.certificates.all()
        certificate = made[-1] if made else self._agent.certificates.make(now())
        if found is None:
            body = {"displayName": f"AzureOfflineBackup_{user}", "keyCredentials": [self._entry(certificate)]}
            created = self._graph.post("/applications", json=body).raise_for_status().json()
            self._graph.post("/servicePrincipals", json={"appId": created["appId"]}).raise_for_status()
            return self._saved(certificate)
        have = self._keys(found["id"])
        known = [{name: key[name] for name in MODEL} for key in have]
        body = {"keyCredentials": [*known, self._entry(certificate)]}
        answer = self._graph.patch(f"/applications/{found['id']}", json=body)
        if answer.is_error:
            self._agent.log.write(now(), FAILED.format(answer.json()["error"]["message"]))
            raise PolicyNotCreated(answer.json()["error"]["message"])
        return self._saved(certificate)

    def _saved(self, certificate: OwnCertificate) -> OwnCertificate:
        self._agent.log.write(now(), "The offline backup policy was created.")
        return certificate

    def _application(self, name: str) -> dict[str, Any] | None:
        query = {"$filter": f"displayName eq '{name}'"}
        found = self._graph.get("/applications", params=query).raise_for_status().json()["value"]
        return found[0] if found else None

    def _keys(self, object_id: str) -> list[dict[str, Any]]:
        query = {"$select": "keyCredentials"}
        found = self._graph.get(f"/applications/{object_id}", params=query).raise_for_status()
        return list(found.json()["keyCredentials"])

    def _has(self, object_id: str, thumbprint: str) -> bool:
        return any(key["customKeyIdentifier"] == thumbprint for key in self._keys(object_id))

    def _entry(self, certificate: OwnCertificate) -> dict[str, str]:
        key = base64.b64encode(certificate.der).decode()
        return {"type": "AsymmetricX509Cert", "usage": "Verify", "key": key}
