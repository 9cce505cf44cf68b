"""Client assertions (RFC 7523): a JWT that an application signs with the private key of one of its certificates. Pure.

Only RS256 and PS256 are read: `none` and every HMAC are refused by name, before any key is looked at, so that no
public key can be taken for a shared secret.

One assertion gives one token for each audience. RFC 7523 leaves replay to the server; a stricter rule would break
msal, which sends the same assertion again for another audience within nine minutes.
"""

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from wain.identity.certificates import read_certificate
from wain.identity.credentials import find_by_header
from wain.identity.entities import KeyCredential
from wain.identity.refusals import TokenRefused

ASSERTION_CAP: Final = 32 * 1024
"""msal puts the whole certificate into the header (`x5c`)."""
HEADER_CAP: Final = 16 * 1024
JTI_CAP: Final = 256
ALGORITHMS: Final = ("RS256", "PS256")
LEEWAY: Final = timedelta(minutes=5)
"""How far two clocks may differ, as Entra allows it."""
LIFETIME: Final = timedelta(hours=1)
"""How far from now an assertion may expire; msal writes ten minutes."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an assertion must say: its issuer, and one of the audiences.

    `is_proof`: of addKey and removeKey, whose claims are only audience, issuer and times in Microsoft's own examples.
    """

    issuer: str
    audiences: tuple[str, ...]
    is_proof: bool = False


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that holds."""

    key: KeyCredential
    jti: str
    expires_at: datetime


def check_assertion(text: str, expected: Expected, keys: Sequence[KeyCredential], now: datetime) -> Assertion:
    """Check an assertion's algorithm, key, signature and claims. Whether it was used before, the caller asks.

    Raises:
        TokenRefused: anything about it is not as it must be.
    """
    header = read_header(text)
    key = find_by_header(keys, header)
    if key is None:
        raise _refused(700027, "The certificate used to sign the client assertion is not registered on application.")
    if not key.starts_at - LEEWAY <= now <= key.ends_at:
        raise _refused(7000222, f"The provided client certificate is not valid now: KeyId {key.key_id}.")
    claims = _claims(text, key)
    _check_parties(claims, expected)
    expires = _check_times(claims, now)
    if expected.is_proof and "jti" not in claims:
        return Assertion(key, hashlib.sha256(text.encode()).hexdigest(), expires)
    return Assertion(key, _jti(claims), expires)


def read_header(text: str) -> dict[str, Any]:
    """Return the header of a JWS in compact form, unproven.

    Raises:
        TokenRefused: it is too long, no JSON object, or names an algorithm that is not accepted.
    """
    if len(text) > ASSERTION_CAP:
        raise _refused(50027, f"Invalid JWT token: longer than {ASSERTION_CAP} characters.")
    parts = text.split(".")
    if len(parts) != 3 or len(parts[0]) > HEADER_CAP:
        raise _refused(50027, "Invalid JWT token: it is not in compact form.")
    try:
        raw = base64.b64decode(parts[0] + "=" * (-len(parts[0]) % 4), altchars=b"-_", validate=True)
        header = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise _refused(50027, "Invalid JWT token: its header is not JSON.") from None
    if not isinstance(header, dict):
        raise _refused(50027, "Invalid JWT token: its header is not an object.")
    if header.get("alg") not in ALGORITHMS:
        raise _refused(5002738, f"Invalid JWT token: its algorithm must be one of {', '.join(ALGORITHMS)}.")
    if "crit" in header or "b64" in header:
        # RFC 7515 4.1.11: what is critical and not understood is refused; nothing that is critical is understood here.
        raise _refused(50027, "Invalid JWT token: it has a critical header that is not understood.")
    return header


def _claims(text: str, key: KeyCredential) -> dict[str, Any]:
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = HEADER_CAP
    public = RSAKey.import_key(read_certificate(key.certificate).public_pem)
    try:
        payload = jws.deserialize_compact(text.encode("ascii"), public, registry=registry).payload
        claims = json.loads(payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _refused(700027, "The signature of the client assertion does not verify.") from None
    if not isinstance(claims, dict):
        raise _refused(50027, "Invalid JWT token: its claims are not an object.")
    return claims


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    subject = claims.get("sub", expected.issuer if expected.is_proof else None)
    if claims.get("iss") != expected.issuer or subject != expected.issuer:
        raise _refused(700021, "Client assertion issuer and subject must both be the application's id.")
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str) or audience not in expected.audiences:
        raise _refused(700023, "Client assertion audience claim does not match this token endpoint.")


def _check_times(claims: Mapping[str, Any], now: datetime) -> datetime:
    expires = _moment(claims, "exp")
    if expires is None:
        raise _refused(700024, "Client assertion has no expiry.")
    begins = [at for name in ("nbf", "iat") if (at := _moment(claims, name)) is not None]
    if expires < now - LEEWAY or any(at > now + LEEWAY for at in begins):
        raise _refused(700024, "Client assertion is not within its valid time range.")
    if expires > now + LIFETIME + LEEWAY:
        raise _refused(700024, f"Client assertion is valid for too long: at most {LIFETIME.seconds // 60} minutes.")
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return a NumericDate; msal writes floats (components.md 3.1)."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(50027, f"Invalid JWT token: {name} is not a number.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise _refused(700024, f"Client assertion is not within its valid time range: {name}.") from None


def _jti(claims: Mapping[str, Any]) -> str:
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_CAP:
        raise _refused(50027, f"Invalid JWT token: jti must be a text of at most {JTI_CAP} characters.")
    return jti


def _refused(number: int, reason: str) -> TokenRefused:
    return TokenRefused("invalid_client", number, reason, 401)
