"""The subset of Microsoft Graph v1.0 that agents use: applications with their keys, service principals, people.

Everybody who is signed in may register an application and becomes its owner; owners, and who is Owner at the root
scope, change it. An application reads itself, and renews its own keys by proof of possession (addKey, removeKey).
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wain.base.errors import UserError, WainError
from wain.base.moment import to_ns
from wain.identity import odata
from wain.identity.applications import etag
from wain.identity.callers import graph_callers
from wain.identity.credentials import KEYS_CAP, moment_text, new_key, removable, to_wire
from wain.identity.entities import Application, KeyCredential, ServicePrincipal, User
from wain.identity.grants import check_proof
from wain.identity.http import NO_STORE, BodyTooLarge, BodyUnreadable, Call, endpoint, failure_status
from wain.identity.refusals import GraphRefused, TokenRefused, bad, denied, not_found
from wain.identity.roles import MANAGE_DIRECTORY, ROOT_SCOPE
from wain.identity.service import Identity
from wain.wire.callers import Caller, Unauthenticated

BODY_CAP: Final = 1024 * 1024
_PREFIX: Final = "/v1.0"


class Graph:
    """Answers Graph's requests from the directory."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._callers = graph_callers(identity)

    def routes(self) -> list[Route]:
        """Return the routes."""
        by_id, by_app = "/applications/{id}", "/applications(appId='{app_id}')"
        found = [
            self._route("/me", "GET", self.me),
            self._route("/users/{name}", "GET", self.user),
            self._route("/applications", "GET", self.list_applications),
            self._route("/applications", "POST", self.create_application),
            self._route("/servicePrincipals", "GET", self.list_principals),
            self._route("/servicePrincipals", "POST", self.create_principal),
            self._route("/servicePrincipals/{id}", "DELETE", self.delete_principal),
        ]
        for path in (by_id, by_app):
            found += [
                self._route(path, "GET", self.get_application),
                self._route(path, "PATCH", self.update_application),
                self._route(path, "DELETE", self.delete_application),
                self._route(f"{path}/addKey", "POST", self.add_key),
                self._route(f"{path}/removeKey", "POST", self.remove_key),
            ]
        return found

    def _route(self, path: str, method: str, handler: Callable[[Caller, Call], Response]) -> Route:
        def handle(call: Call) -> Response:
            return handler(self._callers.caller(call.bearer), call)

        return Route(_PREFIX + path, endpoint(handle, _refusal, BODY_CAP), methods=[method])

    def me(self, caller: Caller, _: Call) -> Response:
        """Who is signed in."""
        if caller.is_application:
            raise bad("/me request is only valid with delegated authentication flow.")
        return self._answer("users/$entity", _user(self._identity.users.find(caller.object_id)))

    def user(self, caller: Caller, call: Call) -> Response:
        """One person, by user principal name or object id (seed, S107)."""
        if caller.is_application:
            raise denied()
        try:
            found = self._identity.users.find(call.path["name"])
        except UserError:
            raise not_found("the user") from None
        return self._answer("users/$entity", _user(found))

    def list_applications(self, caller: Caller, call: Call) -> Response:
        """Applications, oldest first."""
        where = odata.equality(call.query, ("displayName", "appId", "id"))
        after, top = odata.page(call.query)
        shown = odata.selected(call.query)
        if caller.is_application:
            own = self._own(caller)
            found = [own] if own and _matches(own, where) else []
        else:
            found = self._identity.applications.listed(where, after, top)
        body: dict[str, Any] = {"value": [_application(each, shown, with_key=False) for each in found]}
        if len(found) == top:
            body["@odata.nextLink"] = self._next(call, to_ns(found[-1].created_at))
        return self._answer("applications", body)

    def create_application(self, caller: Caller, call: Call) -> Response:
        """Register an application."""
        if caller.is_application:
            raise denied()
        made = self._identity.applications.create(caller.object_id, _object(call))
        return self._answer("applications/$entity", _application(made), 201, etag(made))

    def get_application(self, caller: Caller, call: Call) -> Response:
        """One application; certificates are shown when `keyCredentials` is selected."""
        found = self._named(call)
        if caller.is_application and self._own(caller) != found:
            raise not_found("the application")
        shown = odata.selected(call.query)
        body = _application(found, shown, with_key="keyCredentials" in shown)
        return self._answer("applications/$entity", body, tag=etag(found))

    def update_application(self, caller: Caller, call: Call) -> Response:
        """Change an application; with `If-Match`, only if it is still as it was read."""
        found = self._changeable(caller, call)
        self._identity.applications.update(found.object_id, _object(call), call.headers.get("if-match", ""))
        return Response(status_code=204, headers=NO_STORE)

    def delete_application(self, caller: Caller, call: Call) -> Response:
        """Delete an application, its keys and its roles; with `If-Match`, only if it is still as it was read."""
        found = self._changeable(caller, call)
        self._identity.applications.delete(found.object_id, call.headers.get("if-match", ""))
        return Response(status_code=204, headers=NO_STORE)

    def add_key(self, caller: Caller, call: Call) -> Response:
        """Add a certificate, by proof of possession of one that is there."""
        found, body = self._reachable(caller, call), _object(call)
        proof = check_proof(self._identity, found, _text(body, "proof"))
        made = new_key(body.get("keyCredential"), str(uuid4()), proof.key.key_id)

        def change(have: Application) -> tuple[KeyCredential, ...]:
            if proof.key not in have.keys:
                raise denied("The key of the proof was removed")
            if len(have.keys) >= KEYS_CAP or any(key.certificate == made.certificate for key in have.keys):
                raise bad(f"The certificate is there already, or the application has {KEYS_CAP} keys")
            return (*have.keys, made)

        self._identity.applications.change_keys(found.object_id, change)
        return self._answer("$metadata#microsoft.graph.keyCredential", to_wire(made, with_key=False))

    def remove_key(self, caller: Caller, call: Call) -> Response:
        """Remove a certificate, by proof of possession of its own line of keys (`credentials.removable`)."""
        found, body = self._reachable(caller, call), _object(call)
        proof = check_proof(self._identity, found, _text(body, "proof"))
        wanted = _text(body, "keyId").lower()

        def change(have: Application) -> tuple[KeyCredential, ...]:
            target = next((key for key in have.keys if key.key_id == wanted), None)
            if target is None:
                raise not_found("the key")
            if proof.key not in have.keys:
                raise denied("The key of the proof was removed")
            removable(have.keys, proof.key, target)
            return tuple(key for key in have.keys if key is not target)

        self._identity.applications.change_keys(found.object_id, change)
        return Response(status_code=204, headers=NO_STORE)

    def list_principals(self, caller: Caller, call: Call) -> Response:
        """The service principal of an application."""
        where = odata.equality(call.query, ("appId",))
        if where is None:
            raise bad("Ask with $filter=appId eq '...'")
        found = self._identity.applications.principal(where[1])
        hidden = found is None or (caller.is_application and found.object_id != caller.object_id)
        return self._answer("servicePrincipals", {"value": [] if hidden or found is None else [_principal(found)]})

    def create_principal(self, caller: Caller, call: Call) -> Response:
        """Give an application its account in the tenant."""
        app_id = _text(_object(call), "appId")
        application = self._identity.applications.by_app_id(app_id)
        if application is None:
            raise bad("The appId does not reference an application")
        self._check_may_change(caller, application)
        return self._answer(
            "servicePrincipals/$entity", _principal(self._identity.applications.add_principal(app_id)), 201
        )

    def delete_principal(self, caller: Caller, call: Call) -> Response:
        """Take an application's account away."""
        found = self._identity.applications.principal(call.path["id"])
        if found is None:
            raise not_found("the service principal")
        application = self._identity.applications.by_app_id(found.app_id)
        assert application is not None
        self._check_may_change(caller, application)
        self._identity.applications.delete_principal(found.object_id)
        return Response(status_code=204, headers=NO_STORE)

    def _named(self, call: Call) -> Application:
        if "id" in call.path:
            return self._identity.applications.get(call.path["id"])
        found = self._identity.applications.by_app_id(call.path["app_id"])
        if found is None:
            raise not_found("the application")
        return found

    def _own(self, caller: Caller) -> Application | None:
        principal = self._identity.applications.principal(caller.object_id)
        return None if principal is None else self._identity.applications.by_app_id(principal.app_id)

    def _changeable(self, caller: Caller, call: Call) -> Application:
        found = self._named(call)
        self._check_may_change(caller, found)
        return found

    def _reachable(self, caller: Caller, call: Call) -> Application:
        """Return the named application if the caller is it, or may change it: the proof is asked for in both cases."""
        found = self._named(call)
        if not caller.is_application:
            self._check_may_change(caller, found)
        elif self._own(caller) != found:
            raise not_found("the application")
        return found

    def _check_may_change(self, caller: Caller, application: Application) -> None:
        if caller.is_application:
            raise denied()
        administers = self._identity.assignments.may(caller.object_id, MANAGE_DIRECTORY, ROOT_SCOPE)
        if application.owner != caller.object_id and not administers:
            raise denied()

    def _next(self, call: Call, after_ns: int) -> str:
        kept = {name: value for name, value in call.query.items() if name != "$skiptoken"} | {
            "$skiptoken": str(after_ns)
        }
        query = "&".join(f"{quote(name, safe='$')}={quote(value)}" for name, value in kept.items())
        return f"{self._identity.site.base_url}{_PREFIX}/applications?{query}"

    def _answer(self, context: str, body: dict[str, Any], status: int = 200, tag: str = "") -> Response:
        root = f"{self._identity.site.base_url}{_PREFIX}/$metadata#"
        whole = {"@odata.context": root + context, **({"@odata.etag": tag} if tag else {}), **body}
        headers = {**NO_STORE, "OData-Version": "4.0", **({"ETag": tag} if tag else {})}
        return JSONResponse(whole, status, headers=headers)


def _application(found: Application, shown: frozenset[str] = frozenset(), *, with_key: bool = False) -> dict[str, Any]:
    whole = {
        "id": found.object_id,
        "appId": found.app_id,
        "displayName": found.display_name,
        "createdDateTime": moment_text(found.created_at),
        "signInAudience": "AzureADMyOrg",
        "keyCredentials": [to_wire(key, with_key=with_key) for key in found.keys],
        "passwordCredentials": [],
    }
    return {name: value for name, value in whole.items() if not shown or name in shown}


def _principal(found: ServicePrincipal) -> dict[str, Any]:
    return {
        "id": found.object_id,
        "appId": found.app_id,
        "displayName": found.display_name,
        "accountEnabled": True,
        "servicePrincipalType": "Application",
    }


def _user(found: User) -> dict[str, Any]:
    return {"id": found.object_id, "displayName": found.display_name, "userPrincipalName": found.name, "mail": None}


def _matches(application: Application, where: tuple[str, str] | None) -> bool:
    return where is None or _application(application)[where[0]] == where[1]


def _object(call: Call) -> dict[str, Any]:
    try:
        body = json.loads(call.body)
    except (ValueError, RecursionError):
        raise bad("Unable to read JSON request payload") from None
    if not isinstance(body, dict):
        raise bad("The request payload must be a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise bad(f"{name} is missing")
    return value


_UNAUTHENTICATED: Final = "InvalidAuthenticationToken"


_OURS: Final = "The directory cannot answer now"


def _refusal(error: Exception, call: Call) -> Response:
    """Answer as Graph does (Microsoft Graph error responses)."""
    headers = dict(NO_STORE)
    match error:
        case GraphRefused():
            refused = error
        case Unauthenticated():
            refused = GraphRefused(_UNAUTHENTICATED, str(error), 401)
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        case TokenRefused():
            refused = GraphRefused("Authentication_MissingOrMalformed", str(error), 401)
        case BodyTooLarge():
            refused = GraphRefused("Request_EntityTooLarge", f"The body is larger than {BODY_CAP} bytes", 413)
        case BodyUnreadable() | UserError():
            refused = bad(str(error))
        case WainError():
            refused = GraphRefused("ServiceUnavailable", _OURS, failure_status(error))
        case _:
            raise error
    inner: dict[str, Any] = {"date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "request-id": call.id}
    if refused.detail:
        inner["code"] = refused.detail
    body = {"error": {"code": refused.code, "message": str(refused), "innerError": inner}}
    return JSONResponse(body, refused.status, headers=headers)
