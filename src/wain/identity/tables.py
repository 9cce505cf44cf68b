"""The rows of the directory. Moments are signed 64-bit nanoseconds since 1970; what is secret is kept as its hash."""

from typing import Final

from wain.storage.sql import Table

VERSION: Final = 1
"""Kept in `PRAGMA user_version`; a catalog with another number is refused, never guessed at."""

_DEFINITIONS: list[str] = []
_TEXT: Final = "TEXT NOT NULL"
_MOMENT: Final = "BIGINT NOT NULL"
_COUNT: Final = "INTEGER NOT NULL"


def _table(name: str, columns: dict[str, str], *key: str) -> Table:
    """Define a table; `key` when its key is more than one column."""
    parts = [f"{column} {kind}" for column, kind in columns.items()]
    if key:
        parts.append(f"PRIMARY KEY ({', '.join(key)})")
    _DEFINITIONS.append(f"CREATE TABLE {name} ({', '.join(parts)})")
    return Table(name, tuple(columns), len(key) or 1)


TENANT: Final = _table("tenant", {"id": f"{_TEXT} PRIMARY KEY", "created_ns": _MOMENT})
"""One row: a directory is one tenant."""

USERS: Final = _table(
    "users",
    {
        "id": f"{_TEXT} PRIMARY KEY",
        "name": f"{_TEXT} UNIQUE",
        "display_name": _TEXT,
        "password": _TEXT,
        "enabled": _COUNT,
        "epoch": _COUNT,
    },
)
"""`password` is a PHC string. `epoch` grows with every change of it: what was given out before no longer counts."""

APPLICATIONS: Final = _table(
    "applications",
    {
        "id": f"{_TEXT} PRIMARY KEY",
        "app_id": f"{_TEXT} UNIQUE",
        "display_name": _TEXT,
        "owner": _TEXT,
        "created_ns": f"{_MOMENT} UNIQUE",
        "version": _COUNT,
    },
)
"""No two applications were created at the same moment, so "the oldest" is one of them."""

KEYS: Final = _table(
    "keys",
    {
        "application": f"{_TEXT} REFERENCES applications (id) ON DELETE CASCADE",
        "number": _COUNT,
        "key_id": _TEXT,
        "certificate": "BLOB NOT NULL",
        "starts_ns": _MOMENT,
        "ends_ns": _MOMENT,
        "custom_identifier": _TEXT,
        "display_name": _TEXT,
        "added_by": _TEXT,
    },
    "application",
    "number",
)

PRINCIPALS: Final = _table(
    "principals",
    {
        "id": f"{_TEXT} PRIMARY KEY",
        "app_id": f"{_TEXT} UNIQUE REFERENCES applications (app_id) ON DELETE CASCADE",
    },
)

ROLE_ASSIGNMENTS: Final = _table(
    "role_assignments",
    {"id": f"{_TEXT} PRIMARY KEY", "principal": _TEXT, "role": _TEXT, "scope": _TEXT, "created_ns": _MOMENT},
)

ASSERTIONS: Final = _table("assertions", {"digest": "BLOB NOT NULL PRIMARY KEY", "until_ns": _MOMENT})
"""SHA-256 of client, jti and audience of every assertion that was used and is still valid."""

DEVICE_CODES: Final = _table(
    "device_codes",
    {
        "digest": "BLOB NOT NULL PRIMARY KEY",
        "user_code": f"{_TEXT} UNIQUE",
        "client": _TEXT,
        "scope": _TEXT,
        "address": _TEXT,
        "until_ns": _MOMENT,
        "polled_ns": _MOMENT,
        "state": _TEXT,
        "user_id": _TEXT,
    },
)
"""`state`: pending, approved, declined."""

REFRESH_TOKENS: Final = _table(
    "refresh_tokens",
    {
        "digest": "BLOB NOT NULL PRIMARY KEY",
        "family": _TEXT,
        "user_id": _TEXT,
        "epoch": _COUNT,
        "client": _TEXT,
        "until_ns": _MOMENT,
        "used": _COUNT,
    },
)
"""Each is used once; a second use ends its family: one of the two users was a thief (RFC 9700 4.14.2)."""

ATTEMPTS: Final = _table(
    "attempts", {"kind": _TEXT, "name": _TEXT, "failures": _COUNT, "last_ns": _MOMENT}, "kind", "name"
)

SIGNING_KEYS: Final = _table(
    "signing_keys", {"kid": f"{_TEXT} PRIMARY KEY", "created_ns": _MOMENT, "retired_ns": "BIGINT"}
)
"""The private halves are files beside the catalog, mode 0600."""

_DEFINITIONS.append("CREATE INDEX keys_by_id ON keys (application, key_id)")
_DEFINITIONS.append("CREATE INDEX role_assignments_by_principal ON role_assignments (principal)")

DEFINITIONS: Final = tuple(_DEFINITIONS)
"""What makes all tables of this version."""
