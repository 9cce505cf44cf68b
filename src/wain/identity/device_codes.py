"""Sign-in on another device (RFC 8628): the program shows a short code, the person types it on our page."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from wain.base.moment import from_ns, to_ns
from wain.identity.catalog import Catalog
from wain.identity.refusals import TokenRefused
from wain.identity.tables import DEVICE_CODES
from wain.storage.sql import Connection

LIFETIME: Final = timedelta(minutes=15)
INTERVAL: Final = timedelta(seconds=2)
OPEN_CAP: Final = 1000
"""Sign-ins that may be open at once."""
ADDRESS_CAP: Final = 50
"""And from one network address: nobody fills the list alone."""
CODE_CAP: Final = 256
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no words come out (RFC 8628 6.1)."""
_LENGTH: Final = 8
_PENDING, _APPROVED, _DECLINED = "pending", "approved", "declined"


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A sign-in that waits for its person."""

    client: str
    scope: str
    address: str
    """Where the program asked from."""
    until: datetime


class DeviceCodes:
    """The open sign-ins."""

    def __init__(self, catalog: Catalog, clock: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._clock = clock

    def begin(self, client: str, scope: str, address: str) -> tuple[str, str]:
        """Open a sign-in and return its device code (for the program) and user code (for the person).

        Raises:
            TokenRefused: too many are open.
        """
        now = self._clock()
        code = secrets.token_urlsafe(32)
        with self._catalog.writing() as rows:
            rows.change("DELETE FROM device_codes WHERE until_ns < :now", now=to_ns(now))
            open_here = rows.value("SELECT COUNT(*) FROM device_codes WHERE address = :address", address=address[:64])
            open_all = rows.value("SELECT COUNT(*) FROM device_codes")
            if int(open_here or 0) >= ADDRESS_CAP or int(open_all or 0) >= OPEN_CAP:
                raise TokenRefused("temporarily_unavailable", 50196, "Too many sign-ins are open.", 429)
            user_code = _fresh_user_code(rows)
            rows.change(
                DEVICE_CODES.insertion(),
                digest=_digest(code),
                user_code=user_code,
                client=client,
                scope=scope,
                address=address[:64],
                until_ns=to_ns(now + LIFETIME),
                polled_ns=0,
                state=_PENDING,
                user_id="",
            )
        return code, shown(user_code)

    def find(self, user_code: str) -> DeviceRequest | None:
        """Return the sign-in that waits under a typed code, or None."""
        with self._catalog.reading() as rows:
            row = rows.row(
                f"{DEVICE_CODES.selection} WHERE user_code = :code AND state = :pending AND until_ns > :now",
                code=typed(user_code),
                pending=_PENDING,
                now=to_ns(self._clock()),
            )
        return None if row is None else DeviceRequest(row.client, row.scope, row.address, from_ns(row.until_ns))

    def decide(self, user_code: str, user_id: str, *, approved: bool) -> bool:
        """Answer a waiting sign-in, once; say whether it still waited."""
        with self._catalog.writing() as rows:
            changed = rows.change(
                "UPDATE device_codes SET state = :state, user_id = :user"
                " WHERE user_code = :code AND state = :pending AND until_ns > :now",
                state=_APPROVED if approved else _DECLINED,
                user=user_id,
                code=typed(user_code),
                pending=_PENDING,
                now=to_ns(self._clock()),
            )
        return bool(changed)

    def redeem(self, code: str, client: str) -> tuple[str, str]:
        """Return the user and the scope of an approved sign-in; it can be redeemed once.

        Raises:
            TokenRefused: not answered yet, asked too often, declined, expired, or not this client's.
        """
        digest, now = _digest(code[:CODE_CAP]), self._clock()
        # What is refused is decided within the transaction and raised after it: its changes must stand.
        with self._catalog.writing() as rows:
            row = rows.row(f"{DEVICE_CODES.selection} WHERE digest = :digest", digest=digest)
            refusal = _refusal(row, client, now)
            if refusal is None:
                rows.change("DELETE FROM device_codes WHERE digest = :digest", digest=digest)
            elif row is not None and row.client == client:
                rows.change(
                    "UPDATE device_codes SET polled_ns = :now WHERE digest = :digest", now=to_ns(now), digest=digest
                )
        if refusal is not None:
            raise refusal
        assert row is not None
        return str(row.user_id), str(row.scope)


def shown(user_code: str) -> str:
    """Return a user code as people read it: `BCDF-GHJK`."""
    return f"{user_code[:4]}-{user_code[4:]}"


def typed(text: str) -> str:
    """Return a user code as it is kept, from what somebody typed."""
    return "".join(letter for letter in text[:64].upper() if letter in _LETTERS)


def _refusal(row: Any, client: str, now: datetime) -> TokenRefused | None:
    if row is None or row.client != client:
        return TokenRefused("invalid_grant", 70019, "The device code is not known, was used, or is another client's.")
    if from_ns(row.until_ns) <= now:
        return TokenRefused("expired_token", 70020, "The device code has expired.")
    if row.state == _DECLINED:
        return TokenRefused("authorization_declined", 50199, "The sign-in was declined.")
    if row.state == _APPROVED:
        return None
    if now < from_ns(row.polled_ns) + INTERVAL * 0.8:
        return TokenRefused("slow_down", 70016, f"Ask at most every {INTERVAL.seconds} seconds.")
    return TokenRefused("authorization_pending", 70016, "The person has not signed in yet.")


def _fresh_user_code(rows: Connection) -> str:
    while True:
        code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        if rows.row(f"{DEVICE_CODES.selection} WHERE user_code = :code", code=code) is None:
            return code


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode(errors="surrogatepass")).digest()
