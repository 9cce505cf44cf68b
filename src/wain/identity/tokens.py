"""Tokens: signed statements of who somebody is, for one audience, for half an hour (RFC 7519, RFC 9068).

A token alone is never enough: with each use, the service looks whether its user is still enabled and has the same
password, or its application still has the certificate that the token was got with. What is revoked ends at once.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from joserfc import jws, jwt
from joserfc.errors import JoseError

from wain.identity.applications import Applications
from wain.identity.assertion import LEEWAY
from wain.identity.entities import Application, KeyCredential, ServicePrincipal, User
from wain.identity.signing import ALGORITHM, SigningKeys
from wain.identity.site import Site, is_for
from wain.identity.users import Users

LIFETIME: Final = timedelta(minutes=30)
"""Longer than the five minutes before whose end Azure's clients ask again."""
TOKEN_CAP: Final = 16 * 1024
_USER: Final = "user"
_APPLICATION: Final = "app"


class TokenInvalid(Exception):
    """A token that does not count. The text says why, in words that the caller may see."""


class Tokens:
    """Makes and reads access tokens."""

    def __init__(
        self, site: Site, keys: SigningKeys, people: tuple[Users, Applications], clock: Callable[[], datetime]
    ) -> None:
        self._site = site
        self._keys = keys
        self._users, self._applications = people
        self._clock = clock

    def for_application(
        self, application: Application, principal: ServicePrincipal, key: KeyCredential, audience: str
    ) -> str:
        """Return an access token for an application that has proved to hold one of its keys."""
        return self._signed(
            {
                "aud": audience,
                "sub": principal.object_id,
                "oid": principal.object_id,
                "appid": application.app_id,
                "azp": application.app_id,
                "app_displayname": application.display_name,
                "idtyp": _APPLICATION,
                "key_id": key.key_id,
            }
        )

    def for_user(self, user: User, epoch: int, client: str, audience: str) -> str:
        """Return an access token for a person who signed in through a client."""
        return self._signed(
            {
                "aud": audience,
                "sub": user.object_id,
                "oid": user.object_id,
                "appid": client,
                "azp": client,
                "name": user.display_name,
                "upn": user.name,
                "scp": "user_impersonation",
                "idtyp": _USER,
                "epoch": epoch,
            }
        )

    def identity_of(self, user: User, client: str) -> str:
        """Return an id token (OpenID Connect Core 2): who signed in, for the client itself."""
        return self._signed(
            {
                "aud": client,
                "sub": user.object_id,
                "oid": user.object_id,
                "name": user.display_name,
                "preferred_username": user.name,
            }
        )

    def read(self, token: str, audiences: tuple[str, ...]) -> dict[str, Any]:
        """Return the claims of an access token that counts now, for one of the audiences.

        Raises:
            TokenInvalid: it does not.
        """
        claims = self._verified(token)
        now = self._clock()
        if claims.get("iss") != self._site.issuer or claims.get("tid") != self._site.tenant:
            raise TokenInvalid("The access token is from another issuer.")
        if not is_for(str(claims.get("aud")), audiences):
            raise TokenInvalid("The access token is for another audience.")
        if not _moment(claims, "nbf") - LEEWAY <= now < _moment(claims, "exp"):
            raise TokenInvalid("The access token has expired, or is not valid yet.")
        self._check_standing(claims, now)
        return claims

    def _check_standing(self, claims: Mapping[str, Any], now: datetime) -> None:
        """Look whether what the token was given for is still so."""
        if claims.get("idtyp") == _USER:
            if self._users.epoch(str(claims.get("oid"))) != claims.get("epoch"):
                raise TokenInvalid("The user has changed the password, or may no longer sign in.")
            return
        application = self._applications.by_app_id(str(claims.get("appid")))
        if claims.get("idtyp") != _APPLICATION or application is None:
            raise TokenInvalid("The application of the access token does not exist.")
        principal = self._applications.principal(application.app_id)
        if principal is None or principal.object_id != claims.get("oid"):
            raise TokenInvalid("The application has no service principal in this tenant.")
        wanted = claims.get("key_id")
        if not any(key.key_id == wanted and now <= key.ends_at + LEEWAY for key in application.keys):
            raise TokenInvalid("The certificate that the access token was got with was removed, or has expired.")

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_CAP:
            raise TokenInvalid("The access token is too long.")
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
            kid = header.get("kid")
            # The algorithm is ours, whatever the token says: a public key is never taken for a shared secret.
            ours = header.get("alg") == ALGORITHM and isinstance(kid, str) and not {"crit", "b64"} & set(header)
            key = self._keys.verifying(kid) if ours and isinstance(kid, str) else None
            if key is None:
                raise TokenInvalid("The access token is signed with a key that is not known here.")
            claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise TokenInvalid("The access token's signature does not verify.") from None
        return claims

    def _signed(self, claims: dict[str, Any]) -> str:
        now = int(self._clock().timestamp())
        kid, key = self._keys.current()
        whole = {
            **claims,
            "iss": self._site.issuer,
            "tid": self._site.tenant,
            "iat": now,
            "nbf": now,
            "exp": now + int(LIFETIME.total_seconds()),
            "jti": uuid4().hex,
            "ver": "2.0",
        }
        return jwt.encode({"alg": ALGORITHM, "kid": kid}, whole, key, algorithms=[ALGORITHM])


def _moment(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TokenInvalid(f"The access token has no {name}.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise TokenInvalid(f"The access token's {name} is no moment.") from None
