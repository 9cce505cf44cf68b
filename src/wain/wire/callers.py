"""Who calls a service, and what they may: two Protocols between the services and the directory that knows people."""

from dataclasses import dataclass
from typing import Protocol

from wain.base.errors import UserError


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or an application that has proved who it is. Ids are GUIDs in lower case."""

    object_id: str
    tenant_id: str
    name: str
    is_application: bool


@dataclass(eq=False)
class Unauthenticated(UserError):
    """A bearer token that does not count: missing, expired, forged, for somebody else, or revoked."""

    reason: str
    hint: str = "Sign in again."

    def __str__(self) -> str:
        return self.reason


class Callers(Protocol):
    """Turns bearer tokens into callers."""

    def caller(self, bearer: str) -> Caller:
        """Return who a bearer token speaks for.

        Raises:
            Unauthenticated: the token does not count.
        """


class Roles(Protocol):
    """Knows what callers may."""

    def may(self, caller: Caller, action: str, scope: str) -> bool:
        """Say whether a caller may do something at a scope.

        Actions are Azure's (`Microsoft.DataBox/jobs/read`), scopes are resource paths
        (`/subscriptions/S/resourceGroups/G`). A role granted at a scope holds for everything below it.
        """
