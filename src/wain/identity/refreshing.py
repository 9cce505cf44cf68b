"""Refresh tokens of people who signed in: random, kept as hashes, each used once, all gone after a working day."""

import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from wain.base.moment import to_ns
from wain.identity.catalog import Catalog
from wain.identity.refusals import TokenRefused
from wain.identity.tables import REFRESH_TOKENS

LIFETIME: Final = timedelta(hours=12)
"""From the sign-in on, however often it is renewed."""
TOKEN_CAP: Final = 256


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in of one person through one client. `epoch` is the password's at that time."""

    family: str
    user_id: str
    epoch: int
    client: str
    until_ns: int


class RefreshTokens:
    """The refresh tokens that are out."""

    def __init__(self, catalog: Catalog, clock: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._clock = clock

    def begin(self, user_id: str, epoch: int, client: str) -> SignIn:
        """Return a new sign-in, for its first refresh token."""
        return SignIn(str(uuid.uuid4()), user_id, epoch, client, to_ns(self._clock() + LIFETIME))

    def issue(self, sign_in: SignIn) -> str:
        """Return a new refresh token of a sign-in."""
        token = secrets.token_urlsafe(32)
        with self._catalog.writing() as rows:
            rows.change("DELETE FROM refresh_tokens WHERE until_ns < :now", now=to_ns(self._clock()))
            rows.change(
                REFRESH_TOKENS.insertion(),
                digest=_digest(token),
                family=sign_in.family,
                user_id=sign_in.user_id,
                epoch=sign_in.epoch,
                client=sign_in.client,
                until_ns=sign_in.until_ns,
                used=0,
            )
        return token

    def redeem(self, token: str, client: str) -> SignIn:
        """Use a token up and return its sign-in. A second use ends the sign-in: somebody copied the token.

        Raises:
            TokenRefused: it is unknown, used, expired, or another client's.
        """
        digest, now = _digest(token[:TOKEN_CAP]), to_ns(self._clock())
        with self._catalog.writing() as rows:
            row = rows.row(f"{REFRESH_TOKENS.selection} WHERE digest = :digest", digest=digest)
            if row is not None and row.used:
                rows.change("DELETE FROM refresh_tokens WHERE family = :family", family=row.family)
            sound = row is not None and not row.used and row.client == client and row.until_ns > now
            if sound:
                rows.change("UPDATE refresh_tokens SET used = 1 WHERE digest = :digest", digest=digest)
        if not sound:
            raise TokenRefused("invalid_grant", 700082, "The refresh token has expired, was used, or is not known.")
        assert row is not None
        return SignIn(row.family, row.user_id, row.epoch, row.client, row.until_ns)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
