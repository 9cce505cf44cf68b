"""The subset of ARM's `Microsoft.Authorization` that agents use: role definitions and role assignments.

The agent asks it whether the person who signed in is Owner (seed, S25), and grants its application what it needs.
"""

import json
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wain.base.errors import Refused, UserError, WainError
from wain.identity import odata
from wain.identity.callers import DirectoryCallers, DirectoryRoles
from wain.identity.entities import RoleAssignment
from wain.identity.http import NO_STORE, BodyTooLarge, BodyUnreadable, Call, endpoint, failure_status
from wain.identity.refusals import GraphRefused
from wain.identity.roles import ROLES, Role, check_scope, covers, find_role
from wain.identity.service import Identity
from wain.wire.callers import Caller, Unauthenticated

BODY_CAP: Final = 64 * 1024
_PROVIDER: Final = "/{scope:path}/providers/Microsoft.Authorization"
_ROOT_PROVIDER: Final = "/providers/Microsoft.Authorization"
_TYPE: Final = "Microsoft.Authorization/roleAssignments"
_ID_CAP: Final = 64


class RoleRoutes:
    """Answers `Microsoft.Authorization` from the directory."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._callers = DirectoryCallers(identity)
        self._roles = DirectoryRoles(identity)

    def routes(self) -> list[Route]:
        """Return the routes, at every scope and at the root."""
        found = []
        for prefix in (_PROVIDER, _ROOT_PROVIDER):
            found += [
                Route(f"{prefix}/roleDefinitions", endpoint(self._definitions, _refusal, BODY_CAP), methods=["GET"]),
                Route(f"{prefix}/roleAssignments", endpoint(self._list, _refusal, BODY_CAP), methods=["GET"]),
                Route(f"{prefix}/roleAssignments/{{name}}", endpoint(self._put, _refusal, BODY_CAP), methods=["PUT"]),
                Route(
                    f"{prefix}/roleAssignments/{{name}}", endpoint(self._delete, _refusal, BODY_CAP), methods=["DELETE"]
                ),
            ]
        return found

    def _definitions(self, call: Call) -> Response:
        self._callers.caller(call.bearer)
        where = odata.equality(call.query, ("roleName",))
        shown = [role for role in ROLES if where is None or role.name.casefold() == where[1].casefold()]
        return _json({"value": [_definition(role) for role in shown]})

    def _list(self, call: Call) -> Response:
        caller = self._callers.caller(call.bearer)
        scope = _scope(call)
        whose = odata.assigned_to(call.query)
        if whose != caller.object_id and not self._roles.may(caller, f"{_TYPE}/read", scope):
            raise _denied(caller, f"{_TYPE}/read", scope)
        found = [
            each
            for each in self._identity.assignments.all()
            if whose in ("", each.principal) and (covers(each.scope, scope) or covers(scope, each.scope))
        ]
        return _json({"value": [_assignment(each) for each in found]})

    def _put(self, call: Call) -> Response:
        scope = self._allowed(call, "write")
        try:
            wanted = dict(json.loads(call.body)["properties"])
            role, principal = str(wanted["roleDefinitionId"]), str(wanted["principalId"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise GraphRefused(
                "InvalidRequestContent", "properties must hold roleDefinitionId and principalId"
            ) from None
        made = self._identity.assignments.grant(principal, role, scope, _name(call))
        return _json(_assignment(made), 201 if made.id == _name(call) else 200)

    def _delete(self, call: Call) -> Response:
        scope = self._allowed(call, "delete")
        found = next((each for each in self._identity.assignments.all() if each.id == _name(call)), None)
        if found is None or found.scope.lower() != scope.lower():
            return Response(status_code=204, headers=NO_STORE)
        self._identity.assignments.revoke(found.id)
        return _json(_assignment(found))

    def _allowed(self, call: Call, verb: str) -> str:
        caller, scope = self._callers.caller(call.bearer), _scope(call)
        if not self._roles.may(caller, f"{_TYPE}/{verb}", scope):
            raise _denied(caller, f"{_TYPE}/{verb}", scope)
        return scope


def _scope(call: Call) -> str:
    return check_scope(call.path.get("scope", ""))


def _name(call: Call) -> str:
    name = call.path["name"].lower()
    if len(name) > _ID_CAP or not name.replace("-", "").isalnum():
        raise GraphRefused("InvalidRoleAssignmentId", "The role assignment's name must be a GUID")
    return name


def _definition(role: Role) -> dict[str, Any]:
    return {
        "id": f"/providers/Microsoft.Authorization/roleDefinitions/{role.id}",
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "assignableScopes": ["/"],
            "permissions": [{"actions": list(role.actions), "notActions": list(role.not_actions)}],
        },
    }


def _assignment(found: RoleAssignment) -> dict[str, Any]:
    at = found.scope.rstrip("/")
    return {
        "id": f"{at}/providers/{_TYPE}/{found.id}",
        "name": found.id,
        "type": _TYPE,
        "properties": {
            "scope": found.scope,
            "principalId": found.principal,
            "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{find_role(found.role).id}",
        },
    }


def _denied(caller: Caller, action: str, scope: str) -> GraphRefused:
    why = (
        f"The client '{caller.name}' with object id '{caller.object_id}' does not have authorization to perform"
        f" action '{action}' over scope '{scope}'"
    )
    return GraphRefused("AuthorizationFailed", why, 403)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, headers=NO_STORE)


_OURS: Final = "The directory cannot answer now"


def _refusal(error: Exception, call: Call) -> Response:
    """Answer as ARM does (azure.md 3.3)."""
    headers = {**NO_STORE, "x-ms-request-id": call.id}
    match error:
        case GraphRefused():
            refused = error
        case Unauthenticated():
            refused = GraphRefused("InvalidAuthenticationToken", str(error), 401)
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        case BodyTooLarge():
            refused = GraphRefused("RequestContentTooLarge", f"The body is larger than {BODY_CAP} bytes", 413)
        case BodyUnreadable() | Refused() | UserError():
            refused = GraphRefused("BadRequest", str(error))
        case WainError():
            refused = GraphRefused("ServiceUnavailable", _OURS, failure_status(error))
        case _:
            raise error
    return JSONResponse({"error": {"code": refused.code, "message": str(refused)}}, refused.status, headers=headers)
