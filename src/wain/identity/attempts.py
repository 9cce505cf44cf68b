"""Guesses at passwords and codes, counted by user and by network address, across processes and restarts."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wain.base.errors import UserError
from wain.base.moment import from_ns, to_ns
from wain.identity.catalog import Catalog
from wain.identity.passwords import FORGOTTEN_AFTER, next_try_at
from wain.identity.tables import ATTEMPTS

USER: Final = "user"
ADDRESS: Final = "address"
_NAME_CAP: Final = 256
_SHARED: Final = 4
"""How many more failures an address may have than a user: offices share one."""


@dataclass(eq=False)
class TooManyAttempts(UserError):
    """Too many guesses in a row. `seconds` is how long to wait."""

    seconds: int
    hint = "Wait that long, then try once more."

    def __str__(self) -> str:
        return f"AADSTS50053: too many wrong attempts; the next one is allowed in {self.seconds} seconds"


class Attempts:
    """Counts attempts. A guess is counted before it is looked at, so that a hundred at once are a hundred."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def begin(self, keys: Sequence[tuple[str, str]], now: datetime) -> None:
        """Count one attempt for each (kind, name).

        Raises:
            TooManyAttempts: one of them must wait; then none is counted.
        """
        with self._catalog.writing() as rows:
            rows.change("DELETE FROM attempts WHERE last_ns < :old", old=to_ns(now - FORGOTTEN_AFTER))
            for kind, name in keys:
                row = rows.row(f"{ATTEMPTS.selection} WHERE kind = :kind AND name = :name", kind=kind, name=_cut(name))
                if row is not None:
                    _check(kind, row.failures, from_ns(row.last_ns), now)
            for kind, name in keys:
                rows.change(
                    ATTEMPTS.insertion(
                        "ON CONFLICT (kind, name) DO UPDATE SET failures = failures + 1, last_ns = excluded.last_ns"
                    ),
                    kind=kind,
                    name=_cut(name),
                    failures=1,
                    last_ns=to_ns(now),
                )

    def succeeded(self, keys: Sequence[tuple[str, str]]) -> None:
        """Forget a user's failures; an address loses only the one that was counted for this attempt."""
        with self._catalog.writing() as rows:
            for kind, name in keys:
                if kind == USER:
                    rows.change("DELETE FROM attempts WHERE kind = :kind AND name = :name", kind=kind, name=_cut(name))
                else:
                    rows.change(
                        "UPDATE attempts SET failures = failures - 1 WHERE kind = :kind AND name = :name",
                        kind=kind,
                        name=_cut(name),
                    )


def address_key(address: str) -> str:
    """Return what an address is counted as: IPv6 by its /64, which one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _check(kind: str, failures: int, last: datetime, now: datetime) -> None:
    counted = failures // _SHARED if kind == ADDRESS else failures
    until = next_try_at(counted, last)
    if until > now:
        raise TooManyAttempts(max(1, round((until - now).total_seconds())))


def _cut(name: str) -> str:
    return name[:_NAME_CAP].lower()
