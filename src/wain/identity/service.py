"""The directory with everything that it needs, opened from one directory.

`catalog.sqlite`, `signing/<kid>.pem` (mode 0600). The home itself has mode 0700.
"""

import os
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from wain.base.errors import Refused
from wain.base.moment import to_ns
from wain.identity.applications import Applications
from wain.identity.assignments import Assignments
from wain.identity.attempts import Attempts
from wain.identity.catalog import Catalog
from wain.identity.device_codes import DeviceCodes
from wain.identity.refreshing import RefreshTokens
from wain.identity.signing import SigningKeys
from wain.identity.site import Site
from wain.identity.tables import TENANT
from wain.identity.tokens import Tokens
from wain.identity.users import Users
from wain.storage.durable import make_dirs, writing

CATALOG: Final = "catalog.sqlite"
SIGNING: Final = "signing"
NOWHERE: Final = "https://localhost"
"""The address of a directory that is opened by the operator's commands and serves nobody."""


class Identity:
    """An open directory. Share it between threads."""

    def __init__(self, root: Path, base_url: str, clock: Callable[[], datetime]) -> None:
        make_dirs(root, 0o700)
        self.clock = clock
        self.catalog = Catalog(root / CATALOG)
        with writing(str(root / CATALOG)):
            os.chmod(root / CATALOG, 0o600)
        self.site = Site(_checked(base_url), self._tenant())
        self.users = Users(self.catalog)
        self.applications = Applications(self.catalog, clock)
        self.assignments = Assignments(self.catalog, clock)
        self.attempts = Attempts(self.catalog)
        self.device_codes = DeviceCodes(self.catalog, clock)
        self.refresh_tokens = RefreshTokens(self.catalog, clock)
        self.signing = SigningKeys(root / SIGNING, self.catalog, clock)
        self.tokens = Tokens(self.site, self.signing, (self.users, self.applications), clock)

    @classmethod
    def open(cls, root: Path, base_url: str, clock: Callable[[], datetime]) -> Self:
        """Open a directory, or make it when there is none. `base_url` is where clients reach `wain serve`.

        Raises:
            Refused: the address is not `https://host[:port]`.
            UnknownVersion, WriteFailed, Corrupt: of the catalog.
        """
        return cls(root, base_url, clock)

    def _tenant(self) -> str:
        with self.catalog.writing() as rows:
            found = rows.value("SELECT id FROM tenant")
            if found is None:
                found = str(uuid.uuid4())
                rows.change(TENANT.insertion(), id=found, created_ns=to_ns(self.clock()))
        return str(found)

    def close(self) -> None:
        """Let go of the files."""
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(base_url: str) -> str:
    """Return the address without a slash at its end. Microsoft's clients refuse to sign in without TLS."""
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise Refused(
            f"{base_url!r} is not the address of a token service", "Write it like https://vault.example:8443."
        )
    return base_url.rstrip("/").lower()
