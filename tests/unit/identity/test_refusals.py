"""What the token service and Graph refuse: every way to be somebody else that we could think of."""

import hashlib
import hmac
import json
import socket
import ssl
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt

from unit.identity.certs import KeyPair, make
from unit.identity.forging import ask, base64url, claims, signed, unsigned, with_public_key_as_secret
from unit.identity.people import ADA, registered, token_of
from unit.identity.serving import Served

PAIR = make("server", 1)
STRANGER = make("stranger", 2)


@pytest.fixture(scope="module")
def app_id(served: Served) -> str:
    return registered(served, "under attack", PAIR)[1]


def test_a_good_assertion_is_taken(served: Served, app_id: str) -> None:
    for alg in ("RS256", "PS256"):
        assert ask(served, app_id, signed(PAIR, claims(served, app_id), alg=alg)).status_code == 200
    padded = base64url(hashlib.sha1(PAIR.der).digest()) + "="
    assert ask(served, app_id, signed(PAIR, claims(served, app_id), x5t=padded)).status_code == 200


Forge = Callable[[Served, str], str]
FORGED: dict[str, tuple[Forge, int]] = {
    "another key under the certificate's name": (
        lambda s, a: signed(KeyPair(STRANGER.key, PAIR.certificate), claims(s, a)),
        700027,
    ),
    "another certificate": (lambda s, a: signed(STRANGER, claims(s, a)), 700027),
    "a certificate of the attacker in x5c": (
        lambda s, a: signed(STRANGER, claims(s, a), x5c=[base64url(STRANGER.der)]),
        700027,
    ),
    "a key of the attacker in jwk": (lambda s, a: signed(STRANGER, claims(s, a), jwk={"kty": "RSA"}), 700027),
    "a changed claim": (
        lambda s, a: _swapped(signed(PAIR, claims(s, a)), signed(STRANGER, claims(s, a, exp=time.time() + 900))),
        700027,
    ),
    "no algorithm": (lambda s, a: unsigned(PAIR, claims(s, a)), 5002738),
    "no algorithm, in other letters": (lambda s, a: unsigned(PAIR, claims(s, a), "nOnE"), 5002738),
    "HS256 with the public key": (lambda s, a: with_public_key_as_secret(PAIR, claims(s, a)), 5002738),
    "HS256 with the certificate": (lambda s, a: with_public_key_as_secret(PAIR, claims(s, a), PAIR.der), 5002738),
    "RS512": (lambda s, a: signed(PAIR, claims(s, a), alg="RS512"), 5002738),
    "RS256 signed as PS256 says": (lambda s, a: _relabelled(signed(PAIR, claims(s, a)), "PS256"), 700027),
    "an unknown kid": (lambda s, a: signed(PAIR, claims(s, a), x5t=None, kid="no-such-key"), 700027),
    "x5t of one certificate and x5t#S256 of another": (
        lambda s, a: signed(PAIR, claims(s, a), **{"x5t#S256": base64url(b"\0" * 32)}),
        700027,
    ),
    "a critical header that nobody knows": (lambda s, a: signed(PAIR, claims(s, a), crit=["exp"], exp=1), 50027),
    "a critical header that is null": (lambda s, a: signed(PAIR, claims(s, a), crit=None), 50027),
    "expired": (lambda s, a: signed(PAIR, claims(s, a, exp=time.time() - 600)), 700024),
    "not valid yet": (lambda s, a: signed(PAIR, claims(s, a, nbf=time.time() + 900)), 700024),
    "issued in the future": (lambda s, a: signed(PAIR, claims(s, a, iat=time.time() + 900)), 700024),
    "valid for a week": (lambda s, a: signed(PAIR, claims(s, a, exp=time.time() + 7 * 86400)), 700024),
    "without an end": (lambda s, a: signed(PAIR, claims(s, a, exp=None)), 700024),
    "an end that is no number": (lambda s, a: signed(PAIR, claims(s, a, exp=float("inf"))), 50027),
    "an end beyond all calendars": (lambda s, a: signed(PAIR, claims(s, a, exp=10**30)), 700024),
    "for another audience": (lambda s, a: signed(PAIR, claims(s, a, aud="https://login.example/token")), 700023),
    "for several audiences": (
        lambda s, a: signed(PAIR, claims(s, a, aud=[s.identity.site.token_endpoint, "https://x.example"])),
        700023,
    ),
    "from somebody else": (lambda s, a: signed(PAIR, claims(s, a, iss=str(uuid.uuid4()))), 700021),
    "about somebody else": (lambda s, a: signed(PAIR, claims(s, a, sub=str(uuid.uuid4()))), 700021),
    "without a jti": (lambda s, a: signed(PAIR, claims(s, a, jti=None)), 50027),
    "a jti that is too long": (lambda s, a: signed(PAIR, claims(s, a, jti="j" * 257)), 50027),
    "not a JWT": (lambda s, a: "not.a.token", 50027),
    "a header that is a list": (lambda s, a: f"{base64url(b'[1]')}.e30.AAAA", 50027),
    "a header of a thousand brackets": (lambda s, a: f"{base64url(b'[' * 3000)}.e30.AAAA", 50027),
    "longer than any assertion": (lambda s, a: "a" * 33000, 50027),
}


def _swapped(good: str, other: str) -> str:
    head, _, signature = good.split(".")
    return ".".join((head, other.split(".")[1], signature))


def _relabelled(good: str, alg: str) -> str:
    _, body, signature = good.split(".")
    header = {"alg": alg, "x5t": base64url(hashlib.sha1(PAIR.der).digest())}
    return ".".join((base64url(json.dumps(header).encode()), body, signature))


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_assertion_is_refused(served: Served, app_id: str, case: str) -> None:
    forge, number = FORGED[case]
    answer = ask(served, app_id, forge(served, app_id))
    assert (answer.status_code, answer.json()["error_codes"]) == (401, [number]), answer.text
    assert answer.json()["error"] == "invalid_client"
    assert "access_token" not in answer.json()


def test_an_assertion_is_good_once_for_each_audience(served: Served, app_id: str) -> None:
    assertion = signed(PAIR, claims(served, app_id))
    assert ask(served, app_id, assertion).status_code == 200
    replayed = ask(served, app_id, assertion)
    assert (replayed.status_code, replayed.json()["error_codes"]) == (401, [50013])
    assert ask(served, app_id, assertion, scope="https://management.azure.com//.default").status_code == 401
    assert ask(served, app_id, assertion, scope="https://graph.microsoft.com/.default").status_code == 200
    assert ask(served, app_id, assertion, scope="https://graph.microsoft.com/.default").status_code == 401


def test_a_certificate_that_was_removed_signs_nobody_in(served: Served) -> None:
    object_id, app_id = registered(served, "to be emptied", PAIR)
    assert ask(served, app_id, signed(PAIR, claims(served, app_id))).status_code == 200
    served.identity.applications.update(object_id, {"keyCredentials": []}, "")
    assert ask(served, app_id, signed(PAIR, claims(served, app_id))).json()["error_codes"] == [700027]


@pytest.mark.parametrize(
    ("changes", "error", "number"),
    [
        ({"client_id": str(uuid.uuid4())}, "unauthorized_client", 700016),
        ({"grant_type": "password"}, "unsupported_grant_type", 70003),
        ({"grant_type": ""}, "invalid_request", 900144),
        ({"scope": "https://vault.example/.default"}, "invalid_resource", 500011),
        ({"scope": "https://graph.microsoft.com/a https://storage.azure.com/b"}, "invalid_scope", 28000),
        ({"client_assertion": ""}, "invalid_client", 7000216),
        ({"client_assertion_type": "saml"}, "invalid_client", 7000216),
    ],
)
def test_a_request_that_breaks_a_rule(
    served: Served, app_id: str, changes: dict[str, str], error: str, number: int
) -> None:
    answer = ask(served, app_id, signed(PAIR, claims(served, app_id)), **changes)
    assert answer.status_code in (400, 401)
    assert (answer.json()["error"], answer.json()["error_codes"]) == (error, [number])


def test_another_tenant_is_not_served(served: Served) -> None:
    with served.client() as client:
        for path in ("v2.0/.well-known/openid-configuration", "discovery/v2.0/keys"):
            answer = client.get(f"/{uuid.uuid4()}/{path}")
            assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


def test_an_application_without_an_account_is_refused(served: Served) -> None:
    _, app_id = registered(served, "without account", PAIR)
    principal = served.identity.applications.principal(app_id)
    assert principal is not None
    served.identity.applications.delete_principal(principal.object_id)
    answer = ask(served, app_id, signed(PAIR, claims(served, app_id)))
    assert answer.json()["error_codes"] == [7000229]


@pytest.mark.parametrize(
    ("method", "path", "cap"),
    [
        ("POST", "/{tenant}/oauth2/v2.0/token", 64 * 1024),
        ("POST", "/{tenant}/oauth2/v2.0/devicecode", 64 * 1024),
        ("POST", "/devicelogin", 16 * 1024),
        ("POST", "/v1.0/applications", 1024 * 1024),
    ],
)
def test_a_body_over_the_cap_is_not_read(served: Served, method: str, path: str, cap: int) -> None:
    path = path.replace("{tenant}", served.identity.site.tenant)

    def pieces() -> Any:
        for _ in range(cap // 4096 + 2):
            yield b"a" * 4096

    with served.client() as client:
        assert client.request(method, path, content=b"a" * (cap + 1)).status_code == 413
        assert client.request(method, path, content=pieces()).status_code == 413  # Its length is not announced.


@pytest.mark.parametrize("length", [10**12, 10**17])
def test_a_huge_length_is_refused_before_a_byte_of_the_body_has_come(served: Served, length: int) -> None:
    host, port = served.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(served.ca))
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        head = f"POST /devicelogin HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
        secure.sendall(head.encode())
        assert secure.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "body",
    [b"grant_type=a&grant_type=b", b"&".join(b"f%d=1" % number for number in range(40)), b"\xff\xfe=%ff"],
)
def test_a_form_that_says_two_things_is_refused(served: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with served.client() as client:
        answer = client.post(f"/{served.identity.site.tenant}/oauth2/v2.0/token", content=body, headers=headers)
        assert answer.status_code == 400
        assert client.post(f"/{served.identity.site.tenant}/oauth2/v2.0/token", json={}).status_code == 400


def access_claims(served: Served, **changes: Any) -> dict[str, Any]:
    user = served.identity.users.find(ADA)
    now = int(time.time())
    whole = {
        "iss": served.identity.site.issuer,
        "tid": served.identity.site.tenant,
        "aud": "https://graph.microsoft.com",
        "oid": user.object_id,
        "idtyp": "user",
        "epoch": served.identity.users.epoch(user.object_id),
        "upn": ADA,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def own_token(served: Served, body: dict[str, Any], **header: Any) -> str:
    """A token signed with the service's real key: only its claims can be wrong."""
    kid, key = served.identity.signing.current()
    whole = {"alg": "RS256", "kid": kid} | header
    return jwt.encode({name: value for name, value in whole.items() if value}, body, key)


ACCESS: dict[str, Callable[[Served], str]] = {
    "none at all": lambda s: "",
    "not a token": lambda s: "abc",
    "for another audience": lambda s: token_of(s, ADA, "https://management.azure.com"),
    "an id token": lambda s: s.identity.tokens.identity_of(s.identity.users.find(ADA), "https://graph.microsoft.com"),
    "expired": lambda s: own_token(s, access_claims(s, exp=int(time.time()) - 1)),
    "without an end": lambda s: own_token(s, access_claims(s, exp=None)),
    "from another issuer": lambda s: own_token(s, access_claims(s, iss="https://login.example/v2.0")),
    "of another tenant": lambda s: own_token(s, access_claims(s, tid=str(uuid.uuid4()))),
    "of nobody": lambda s: own_token(s, access_claims(s, oid=str(uuid.uuid4()))),
    "of an earlier password": lambda s: own_token(s, access_claims(s, epoch=0)),
    "of an application that is none": lambda s: own_token(s, access_claims(s, idtyp="app", appid="x")),
    "of no kind": lambda s: own_token(s, access_claims(s, idtyp=None)),
    "an unknown kid": lambda s: own_token(s, access_claims(s), kid="another"),
    "no kid": lambda s: own_token(s, access_claims(s), kid=None),
    "a stranger's key": lambda s: signed(PAIR, access_claims(s), kid=s.identity.signing.current()[0]),
    "no algorithm": lambda s: unsigned(PAIR, access_claims(s)),
    "a critical header that is null": lambda s: _with_critical(s),  # noqa: PLW0108 - defined below
    "HS256 with our public key": lambda s: _confused(s),  # noqa: PLW0108 - defined below
    "longer than any token": lambda s: "a" * 20000,
}


def _with_critical(served: Served) -> str:
    kid, _ = served.identity.signing.current()
    return signed(PAIR, access_claims(served), kid=kid, crit=None)


def _confused(served: Served) -> str:
    kid, key = served.identity.signing.current()
    header = {"alg": "HS256", "kid": kid}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, access_claims(served)))
    return f"{text}.{base64url(hmac.digest(key.as_pem(private=False), text.encode(), 'sha256'))}"


@pytest.mark.parametrize("case", ACCESS)
def test_an_access_token_that_does_not_count(served: Served, case: str) -> None:
    with served.client() as client:
        good = {"Authorization": f"Bearer {own_token(served, access_claims(served))}"}
        assert client.get("/v1.0/me", headers=good).status_code == 200
        token = ACCESS[case](served)
        answer = client.get("/v1.0/me", headers={"Authorization": f"Bearer {token}"} if token else {})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "InvalidAuthenticationToken"
        assert "WWW-Authenticate" in answer.headers


def test_graphs_token_is_not_taken_by_arm(served: Served) -> None:
    path = "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions"
    with served.client() as client:
        for audience, status in (("https://graph.microsoft.com", 401), ("https://management.azure.com", 200)):
            headers = {"Authorization": f"Bearer {token_of(served, ADA, audience)}"}
            assert client.get(path, headers=headers).status_code == status
