"""Who calls, and what they may: the two Protocols of `wire.callers`, answered from the directory."""

from typing import Any

from wain.identity.service import Identity
from wain.identity.site import GRAPH
from wain.identity.tokens import TokenInvalid
from wain.wire.callers import Caller, Unauthenticated


class DirectoryCallers:
    """Turns the bearer tokens of one kind of service into callers."""

    def __init__(self, identity: Identity, audiences: tuple[str, ...] = ()) -> None:
        self._identity = identity
        self._audiences = audiences or identity.site.arm_audiences

    def caller(self, bearer: str) -> Caller:
        """Return who a token speaks for: for the management services, unless others were named.

        Raises:
            Unauthenticated: the token does not count.
        """
        return _caller(self.claims(bearer))

    def claims(self, bearer: str) -> dict[str, Any]:
        """Return the claims of a token that counts.

        Raises:
            Unauthenticated: it does not.
        """
        try:
            return self._identity.tokens.read(bearer, self._audiences)
        except TokenInvalid as error:
            raise Unauthenticated(str(error)) from None


class DirectoryRoles:
    """Answers what a caller may, from the role assignments."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def may(self, caller: Caller, action: str, scope: str) -> bool:
        """Say whether a caller may do something, such as `Microsoft.DataBox/jobs/read`, at a scope."""
        return caller.tenant_id == self._identity.site.tenant and self._identity.assignments.may(
            caller.object_id, action, scope
        )


def graph_callers(identity: Identity) -> DirectoryCallers:
    """Return what reads the tokens for Microsoft Graph."""
    return DirectoryCallers(identity, GRAPH)


def _caller(claims: dict[str, Any]) -> Caller:
    is_application = claims["idtyp"] == "app"
    name = claims["app_displayname" if is_application else "upn"]
    return Caller(str(claims["oid"]), str(claims["tid"]), str(name), is_application)
