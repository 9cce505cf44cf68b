"""The token service's routes: discovery, keys, tokens, and the beginning of a sign-in on another device."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wain.base.errors import UserError, WainError
from wain.identity import grants
from wain.identity.assertion import ALGORITHMS
from wain.identity.http import FORM_CAP, NO_STORE, BodyTooLarge, BodyUnreadable, Call, endpoint, failure_status, form
from wain.identity.refusals import TokenRefused
from wain.identity.service import Identity

_PREFIX: Final = "/{tenant}"


def token_routes(identity: Identity) -> list[Route]:
    """Return the routes of the token service."""

    def at(path: str, handler: Callable[[Identity, Call], dict[str, Any]], method: str) -> Route:
        def handle(call: Call) -> Response:
            identity.site.check_tenant(call.path["tenant"])
            return JSONResponse(handler(identity, call), headers=NO_STORE)

        return Route(_PREFIX + path, endpoint(handle, _refusal, FORM_CAP), methods=[method])

    return [
        at("/v2.0/.well-known/openid-configuration", _discovery, "GET"),
        at("/.well-known/openid-configuration", _discovery, "GET"),
        at("/discovery/v2.0/keys", _keys, "GET"),
        at("/oauth2/v2.0/token", _token, "POST"),
        at("/oauth2/v2.0/devicecode", _device_code, "POST"),
    ]


def _discovery(identity: Identity, _: Call) -> dict[str, Any]:
    """OpenID Connect Discovery 3: where everything is."""
    site = identity.site
    return {
        "issuer": site.issuer,
        "token_endpoint": site.token_endpoint,
        # Clients want the name; there is nothing behind it: people sign in with a device code.
        "authorization_endpoint": f"{site.authority}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": site.device_endpoint,
        "jwks_uri": f"{site.authority}/discovery/v2.0/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", "offline_access"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
    }


def _keys(identity: Identity, _: Call) -> dict[str, Any]:
    identity.signing.current()
    return identity.signing.jwks()


def _token(identity: Identity, call: Call) -> dict[str, Any]:
    return grants.grant(identity, form(call))


def _device_code(identity: Identity, call: Call) -> dict[str, Any]:
    return grants.begin_device(identity, form(call), call.address)


_OURS: Final = "The directory cannot answer now"


def _refusal(error: Exception, call: Call) -> Response:
    """Answer as RFC 6749 5.2 and Entra do."""
    match error:
        case TokenRefused():
            refused = error
        case BodyTooLarge():
            refused = TokenRefused("invalid_request", 900144, f"The body is larger than {FORM_CAP} bytes.", 413)
        case BodyUnreadable():
            refused = TokenRefused("invalid_request", 900144, f"The request cannot be read: {error}.")
        case UserError():
            refused = TokenRefused("invalid_request", 900144, str(error))
        case WainError():
            refused = TokenRefused("server_error", 90033, _OURS, failure_status(error))
        case _:
            raise error
    body = {
        "error": refused.error,
        "error_description": str(refused),
        "error_codes": [refused.number],
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
        "trace_id": call.id,
        "correlation_id": call.headers.get("client-request-id", call.id)[:64],
    }
    return JSONResponse(body, refused.status, headers=NO_STORE)
