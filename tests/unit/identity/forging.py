"""Client assertions and tokens as an attacker would make them: by hand, without a library that refuses to."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from unit.identity.certs import KeyPair
from unit.identity.serving import Served
from wain.identity.grants import ASSERTION_TYPE


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(served: Served, app_id: str, **changes: Any) -> dict[str, Any]:
    """Claims that hold, with some of them changed; None takes one away."""
    now = time.time()
    whole = {
        "iss": app_id,
        "sub": app_id,
        "aud": served.identity.site.token_endpoint,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": uuid.uuid4().hex,
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(pair: KeyPair, body: dict[str, Any], **header: Any) -> str:
    """A JWT signed with RS256 or PS256, whatever else its header says."""
    whole = {"alg": "RS256", "typ": "JWT", "x5t": base64url(hashlib.sha1(pair.der).digest()), **header}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (whole, body))
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    scheme = pss if whole["alg"] == "PS256" else padding.PKCS1v15()
    return f"{text}.{base64url(pair.key.sign(text.encode(), scheme, SHA256()))}"


def unsigned(pair: KeyPair, body: dict[str, Any], alg: str = "none") -> str:
    header = {"alg": alg, "x5t": base64url(hashlib.sha1(pair.der).digest())}
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, body)) + "."


def with_public_key_as_secret(pair: KeyPair, body: dict[str, Any], secret: bytes | None = None) -> str:
    """HS256 with what everybody knows as its secret."""
    header = {"alg": "HS256", "x5t": base64url(hashlib.sha1(pair.der).digest())}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, body))
    public = pair.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{text}.{base64url(hmac.digest(secret or public, text.encode(), 'sha256'))}"


def ask(served: Served, app_id: str, assertion: str, **changes: str) -> Any:
    """Ask the token endpoint; return the response."""
    form = {
        "client_id": app_id,
        "grant_type": "client_credentials",
        "scope": "https://management.azure.com/.default",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    } | changes
    with served.client() as client:
        return client.post(f"/{served.identity.site.tenant}/oauth2/v2.0/token", data=form)
