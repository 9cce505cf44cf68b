"""A client of ARM's `Microsoft.Authorization`: who is Owner, and what an application is allowed."""

import uuid
from typing import Any, Final

from wain.base.errors import Malformed, Refused
from wain.wire.calls import Calls, Declined, with_query

SCOPE: Final = "https://management.azure.com/.default"
OWNER: Final = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
DATA_BOX_READER: Final = "028f4ed7-e2a9-465e-a8f4-9c0ffdfdc027"
"""Ids of Azure's built-in roles; the same in every tenant."""
_API: Final = {"api-version": "2022-04-01"}
_PROVIDER: Final = "/providers/Microsoft.Authorization"
_CONFLICT: Final = 409


class Authorization:
    """Role assignments at a subscription.

    Raises (all methods): what `Calls.ask` raises; `Malformed` for an answer without what it must have.
    """

    def __init__(self, calls: Calls, subscription: str) -> None:
        self._calls = calls
        self._scope = f"/subscriptions/{subscription}"

    def check_owner(self, principal: str, name: str) -> None:
        """Check that somebody is Owner of the subscription.

        Raises:
            Refused: they are not.
        """
        if OWNER not in self._roles(principal):
            hint = "Sign in with an account that is Owner, or have this one made Owner of the subscription."
            raise Refused(f"{name} is not Owner of subscription {self._scope.rpartition('/')[2]}", hint)

    def grant(self, principal: str, role: str) -> None:
        """Grant a role to an application's account; done twice, it changes nothing."""
        if role in self._roles(principal):
            return
        name = uuid.uuid5(uuid.NAMESPACE_URL, "\0".join((self._scope.lower(), principal, role)))
        definition = f"{self._scope}{_PROVIDER}/roleDefinitions/{role}"
        properties = {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal"}
        path = with_query(f"{self._scope}{_PROVIDER}/roleAssignments/{name}", _API)
        try:
            self._calls.ask("PUT", path, {"properties": properties})
        except Declined as error:
            if error.status != _CONFLICT:
                raise

    def _roles(self, principal: str) -> set[str]:
        """Return the ids of the roles that somebody has at the subscription or above it."""
        query = {"$filter": f"assignedTo('{principal}')", **_API}
        answer = self._calls.ask("GET", with_query(f"{self._scope}{_PROVIDER}/roleAssignments", query))
        values = answer.body.get("value")
        if not isinstance(values, list):
            raise Malformed("the list of role assignments", "it has no value")
        return {role for role in (self._role_here(each) for each in values) if role}

    def _role_here(self, assignment: Any) -> str:
        properties = assignment.get("properties") if isinstance(assignment, dict) else None
        if not isinstance(properties, dict):
            return ""
        held = str(properties.get("scope", "")).rstrip("/").lower()
        here = self._scope.lower()
        if here != held and not here.startswith(held + "/"):
            return ""
        return str(properties.get("roleDefinitionId", "")).rpartition("/")[2].lower()
