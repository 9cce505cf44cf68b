"""The keys that sign tokens: RSA, one file each (mode 0600) beside the catalog, rotated by age or by hand.

A retired key signs nothing more and still verifies until the last token it signed has expired; then its file goes.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import RSAKey

from wain.base.errors import Corrupt, Missing
from wain.base.moment import from_ns, to_ns
from wain.identity.catalog import Catalog
from wain.identity.tables import SIGNING_KEYS
from wain.storage.durable import TEMPORARY_PREFIX, make_dirs, reading, write_atomic, writing
from wain.storage.sql import Connection

BITS: Final = 2048
ROTATE_AFTER: Final = timedelta(days=90)
VERIFY_FOR: Final = timedelta(hours=2)
"""How long a retired key still verifies: longer than any token lives, with the clocks' difference."""
ALGORITHM: Final = "RS256"
_SUFFIX: Final = ".pem"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair that signs or has signed tokens."""

    kid: str
    created_at: datetime
    retired_at: datetime | None

    def signs(self, now: datetime) -> bool:
        """Say whether new tokens may be signed with it."""
        return self.retired_at is None and now < self.created_at + ROTATE_AFTER

    def verifies(self, now: datetime) -> bool:
        """Say whether tokens signed with it still count."""
        return self.retired_at is None or now < self.retired_at + VERIFY_FOR


class SigningKeys:
    """The signing keys of one directory. Several processes may share it."""

    def __init__(self, directory: Path, catalog: Catalog, clock: Callable[[], datetime]) -> None:
        make_dirs(directory, 0o700)
        self._directory = directory
        self._catalog = catalog
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: dict[str, RSAKey] = {}

    def current(self) -> tuple[str, RSAKey]:
        """Return the key that signs now, and its id; a new one when there is none or it is too old."""
        now = self._clock()
        for key in self.listed():
            if key.signs(now):
                return key.kid, self._load(key.kid)
        return self.rotate(only_if_due=True)

    def verifying(self, kid: str) -> RSAKey | None:
        """Return the key of an id if what it signed still counts."""
        now = self._clock()
        return next((self._load(key.kid) for key in self.listed() if key.kid == kid and key.verifies(now)), None)

    def jwks(self) -> dict[str, Any]:
        """Return the public halves as a JWK set (RFC 7517)."""
        now = self._clock()
        return {
            "keys": [
                {**self._load(key.kid).as_dict(private=False), "kid": key.kid, "use": "sig", "alg": ALGORITHM}
                for key in self.listed()
                if key.verifies(now)
            ]
        }

    def listed(self) -> list[SigningKey]:
        """Return the keys, newest first."""
        with self._catalog.reading() as rows:
            return _listed(rows)

    def rotate(self, *, only_if_due: bool = False, at_once: bool = False) -> tuple[str, RSAKey]:
        """Make a new key that signs from now on; retire the others and remove those that no longer count.

        `at_once`: the others no longer count from this moment, after a doubt about who has them.
        """
        now = self._clock()
        with self._catalog.writing() as rows:
            have = _listed(rows)
            if only_if_due and have and have[0].signs(now):
                return have[0].kid, self._load(have[0].kid)
            made = RSAKey.generate_key(BITS, private=True)
            kid = made.thumbprint()
            # The file comes first: a row never names a key that is not durable.
            write_atomic(self._path(kid), made.as_pem(private=True), 0o600)
            if at_once:
                rows.change("DELETE FROM signing_keys")
            rows.change("UPDATE signing_keys SET retired_ns = :now WHERE retired_ns IS NULL", now=to_ns(now))
            rows.change(SIGNING_KEYS.insertion(), kid=kid, created_ns=to_ns(now), retired_ns=None)
            gone = [key.kid for key in _listed(rows) if not key.verifies(now)]
            for old in gone:
                rows.change("DELETE FROM signing_keys WHERE kid = :kid", kid=old)
            kept = {key.kid for key in _listed(rows)}
        self._remove_all_but(kept)
        with self._lock:
            self._loaded = {kid: made}
        return kid, made

    def _remove_all_but(self, kept: set[str]) -> None:
        """Remove key files that no row names: of keys that ended, or left by a crash before the commit."""
        with writing(str(self._directory)):
            for name in os.listdir(self._directory):
                known = name.removesuffix(_SUFFIX) in kept
                if name.endswith(_SUFFIX) and not known and not name.startswith(TEMPORARY_PREFIX):
                    with suppress(FileNotFoundError):
                        os.unlink(self._directory / name)

    def _path(self, kid: str) -> Path:
        return self._directory / f"{kid}{_SUFFIX}"

    def _load(self, kid: str) -> RSAKey:
        with self._lock:
            found = self._loaded.get(kid)
        if found is None:
            path = self._path(kid)
            with reading(str(path)):
                if not path.exists():
                    raise Missing(str(path))
                body = path.read_bytes()
            try:
                found = RSAKey.import_key(body)
            except ValueError as error:
                raise Corrupt(str(path), str(error)) from None
            if found.thumbprint() != kid:
                raise Corrupt(str(path), "it is another key than its name says")
            with self._lock:
                self._loaded[kid] = found
        return found


def _listed(rows: Connection) -> list[SigningKey]:
    found = rows.rows(f"{SIGNING_KEYS.selection} ORDER BY created_ns DESC, kid")
    return [
        SigningKey(row.kid, from_ns(row.created_ns), None if row.retired_ns is None else from_ns(row.retired_ns))
        for row in found
    ]
