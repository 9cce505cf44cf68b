"""The token endpoint: what is given for what (RFC 6749, 7523, 8628), as a table from grant type to rule."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from wain.base.moment import to_ns
from wain.identity import device_codes
from wain.identity.assertion import LEEWAY, Assertion, Expected, check_assertion
from wain.identity.attempts import address_key
from wain.identity.entities import Application, User
from wain.identity.refreshing import SignIn
from wain.identity.refusals import TokenRefused
from wain.identity.service import Identity
from wain.identity.site import OIDC, PROOF_AUDIENCE, PUBLIC_CLIENTS
from wain.identity.tables import ASSERTIONS
from wain.identity.tokens import LIFETIME

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
Form = Mapping[str, str]
Answer = dict[str, Any]


def grant(identity: Identity, form: Form) -> Answer:
    """Return the token that a request to the token endpoint earns.

    Raises:
        TokenRefused: it earns none.
    """
    rule = _RULES.get(_need(form, "grant_type"))
    if rule is None:
        raise TokenRefused("unsupported_grant_type", 70003, "The grant type is not supported here.")
    return rule(identity, form)


def begin_device(identity: Identity, form: Form, address: str) -> Answer:
    """Open a sign-in on another device.

    Raises:
        TokenRefused: the client is not known, or the scope names nothing here.
    """
    client = _public_client(form)
    scope = _need(form, "scope")
    identity.site.audience_of(scope)
    code, user_code = identity.device_codes.begin(client, scope, address_key(address))
    page = identity.site.device_page
    return {
        "device_code": code,
        "user_code": user_code,
        "verification_uri": page,
        "expires_in": int(device_codes.LIFETIME.total_seconds()),
        "interval": int(device_codes.INTERVAL.total_seconds()),
        "message": f"To sign in, open {page} in a browser and enter the code {user_code}.",
    }


def check_proof(identity: Identity, application: Application, proof: str) -> Assertion:
    """Check the proof of possession that addKey and removeKey ask for: a JWT of the application's object id, used once.

    Raises:
        TokenRefused: it is none.
    """
    expected = Expected(application.object_id, (PROOF_AUDIENCE,), is_proof=True)
    found = check_assertion(proof, expected, application.keys, identity.clock())
    _use_up(identity, application.object_id, found, PROOF_AUDIENCE)
    return found


def _client_credentials(identity: Identity, form: Form) -> Answer:
    audience = identity.site.audience_of(_need(form, "scope"))
    client = _need(form, "client_id").lower()
    application = identity.applications.by_app_id(client)
    if application is None:
        raise TokenRefused("unauthorized_client", 700016, f"Application {client[:64]!r} was not found in the tenant.")
    if form.get("client_assertion_type") != ASSERTION_TYPE or not form.get("client_assertion"):
        raise TokenRefused("invalid_client", 7000216, "A client_assertion signed with a certificate is required.", 401)
    expected = Expected(client, (identity.site.token_endpoint, identity.site.issuer, identity.site.authority))
    assertion = check_assertion(form["client_assertion"], expected, application.keys, identity.clock())
    principal = identity.applications.principal(application.app_id)
    if principal is None:
        raise TokenRefused("unauthorized_client", 7000229, "The application has no service principal in the tenant.")
    _use_up(identity, client, assertion, audience)
    token = identity.tokens.for_application(application, principal, assertion.key, audience)
    return _bearer(token)


def _device_code(identity: Identity, form: Form) -> Answer:
    client = _public_client(form)
    user_id, scope = identity.device_codes.redeem(_need(form, "device_code"), client)
    user, epoch = _standing(identity, user_id)
    return _signed_in(identity, user, identity.refresh_tokens.begin(user_id, epoch, client), scope)


def _refresh(identity: Identity, form: Form) -> Answer:
    client = _public_client(form)
    scope = _need(form, "scope")
    identity.site.audience_of(scope)
    sign_in = identity.refresh_tokens.redeem(_need(form, "refresh_token"), client)
    user, epoch = _standing(identity, sign_in.user_id)
    if epoch != sign_in.epoch:
        raise TokenRefused("invalid_grant", 50173, "The password has changed since the sign-in.")
    return _signed_in(identity, user, sign_in, scope)


_RULES: Final[Mapping[str, Callable[[Identity, Form], Answer]]] = {
    "client_credentials": _client_credentials,
    DEVICE_CODE: _device_code,
    "device_code": _device_code,
    "refresh_token": _refresh,
}


def _signed_in(identity: Identity, user: User, sign_in: SignIn, scope: str) -> Answer:
    audience = identity.site.audience_of(scope)
    answer = _bearer(identity.tokens.for_user(user, sign_in.epoch, sign_in.client, audience))
    answer["scope"] = " ".join(each for each in scope.split() if each not in OIDC)
    answer["refresh_token"] = identity.refresh_tokens.issue(sign_in)
    answer["id_token"] = identity.tokens.identity_of(user, sign_in.client)
    whose = json.dumps({"uid": user.object_id, "utid": identity.site.tenant}).encode()
    answer["client_info"] = base64.urlsafe_b64encode(whose).rstrip(b"=").decode()
    return answer


def _bearer(token: str) -> Answer:
    seconds = int(LIFETIME.total_seconds())
    return {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}


def _use_up(identity: Identity, client: str, assertion: Assertion, audience: str) -> None:
    """Remember that an assertion was used for an audience, until it has expired.

    Raises:
        TokenRefused: it was used for that audience before.
    """
    digest = hashlib.sha256("\0".join((client, audience.rstrip("/").lower(), assertion.jti)).encode()).digest()
    now = identity.clock()
    with identity.catalog.writing() as rows:
        rows.change("DELETE FROM assertions WHERE until_ns < :now", now=to_ns(now))
        fresh = rows.change(
            ASSERTIONS.insertion("ON CONFLICT (digest) DO NOTHING"),
            digest=digest,
            until_ns=to_ns(assertion.expires_at + LEEWAY),
        )
    if not fresh:
        raise TokenRefused("invalid_client", 50013, "The client assertion was used before. Sign a new one.", 401)


def _standing(identity: Identity, user_id: str) -> tuple[User, int]:
    epoch = identity.users.epoch(user_id)
    if epoch is None:
        raise TokenRefused("invalid_grant", 50057, "The user may no longer sign in.")
    return identity.users.find(user_id), epoch


def _public_client(form: Form) -> str:
    client = _need(form, "client_id").lower()
    if client not in PUBLIC_CLIENTS:
        raise TokenRefused("unauthorized_client", 700016, f"Application {client[:64]!r} was not found in the tenant.")
    return client


def _need(form: Form, name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise TokenRefused("invalid_request", 900144, f"The request must hold the parameter {name!r}.")
    return value
