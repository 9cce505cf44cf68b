"""The rows of the Data Box catalog. Moments are signed 64-bit nanoseconds since 1970, hashes and ids raw bytes.

Names that come from a device are bytes: no file system promises that they are text.
"""

from typing import Final

from wain.storage.sql import Table

VERSION: Final = 6
"""Kept in `PRAGMA user_version`; a catalog with a higher number is refused, never guessed at."""

_DEFINITIONS: list[str] = []
_OF_ORDER: Final = "INTEGER NOT NULL REFERENCES orders (id)"


def _table(name: str, columns: dict[str, str], *key: str) -> Table:
    """Define a table; `key` when its key is more than one column."""
    parts = [f"{column} {kind}" for column, kind in columns.items()]
    if key:
        parts.append(f"PRIMARY KEY ({', '.join(key)})")
    _DEFINITIONS.append(f"CREATE TABLE {name} ({', '.join(parts)})")
    return Table(name, tuple(columns), len(key) or 1)


ACCOUNTS: Final = _table(
    "accounts",
    {
        "name": "TEXT NOT NULL PRIMARY KEY",
        "kind": "TEXT NOT NULL",
        "region": "TEXT NOT NULL",
        "created_ns": "BIGINT NOT NULL",
    },
)

ORDERS: Final = _table(
    "orders",
    {
        "id": "INTEGER PRIMARY KEY",
        "name": "TEXT NOT NULL UNIQUE",
        "sku": "TEXT NOT NULL",
        "account": "TEXT NOT NULL REFERENCES accounts (name)",
        "subscription": "TEXT NOT NULL",
        "region": "TEXT NOT NULL",
        "cancel_reason": "TEXT",
        "device": "BLOB",
        "serial": "TEXT",
        "root": "BLOB",
    },
)
"""`device`, `serial` and `root` are set when a preparation begins; they count from `DevicePrepared` on."""

STAGES: Final = _table(
    "stages",
    {"order_id": _OF_ORDER, "number": "INTEGER NOT NULL", "stage": "TEXT NOT NULL", "at_ns": "BIGINT NOT NULL"},
    "order_id",
    "number",
)

CUSTODY: Final = _table(
    "custody", {"order_id": _OF_ORDER, "seq": "INTEGER NOT NULL", "record": "BLOB NOT NULL"}, "order_id", "seq"
)
"""The signed chain of an order, as `order.custody` encodes it."""

COPIES: Final = _table(
    "copies",
    {
        "order_id": "INTEGER NOT NULL PRIMARY KEY REFERENCES orders (id)",
        "guid": "TEXT NOT NULL",
        "started_ns": "BIGINT NOT NULL",
        "finished_ns": "BIGINT",
    },
)
"""One data copy per order. The plan (containers, blobs, first findings) is written with this row, at once."""

CONTAINERS: Final = _table(
    "containers",
    {
        "order_id": _OF_ORDER,
        "number": "INTEGER NOT NULL",
        "name": "BLOB NOT NULL",
        "copied_to": "TEXT NOT NULL",
        "seal_hash": "BLOB",
    },
    "order_id",
    "number",
)
"""`seal_hash` is null for a container that is not Wain's."""

BLOBS: Final = _table(
    "blobs",
    {
        "order_id": _OF_ORDER,
        "container": "INTEGER NOT NULL",
        "number": "INTEGER NOT NULL",
        "path": "BLOB NOT NULL",
        "copied_to": "TEXT NOT NULL",
        "length": "BIGINT NOT NULL",
        "done": "BIGINT",
        "crc64": "BLOB",
    },
    "order_id",
    "container",
    "number",
)
"""`done` bytes from the start are durable in the account (null: the blob has not been made yet);
`crc64` (8 bytes, big-endian) is their checksum."""

FINDINGS: Final = _table(
    "findings",
    {
        "id": "INTEGER PRIMARY KEY",
        "order_id": _OF_ORDER,
        "path": "BLOB NOT NULL",
        "category": "TEXT NOT NULL",
        "message": "TEXT NOT NULL",
        "type": "TEXT NOT NULL",
        "left_behind": "INTEGER NOT NULL",
    },
)
"""What the copy log will list, in the order it was found."""

ERASURES: Final = _table(
    "erasures",
    {
        "order_id": "INTEGER NOT NULL PRIMARY KEY REFERENCES orders (id)",
        "guid": "TEXT NOT NULL",
        "started_ns": "BIGINT NOT NULL",
        "finished_ns": "BIGINT",
        "permit": "BLOB NOT NULL",
        "record": "BLOB",
    },
)
"""An erasure that began was allowed; it is finished without asking again. `permit` (JSON) says by what and what there
was to erase, `record` is the finished erasure record."""

AZURE: Final = _table(
    "azure",
    {
        "account": "TEXT NOT NULL PRIMARY KEY REFERENCES accounts (name)",
        "endpoint": "TEXT NOT NULL",
        "secret_file": "BLOB NOT NULL",
    },
)
"""Accounts that lie in Azure: where, and the path of the file with the secret, never the secret."""

REQUESTS: Final = _table(
    "requests",
    {
        "order_id": "INTEGER NOT NULL PRIMARY KEY REFERENCES orders (id)",
        "resource_group": "TEXT NOT NULL",
        "first_words": "TEXT NOT NULL",
        "words": "TEXT NOT NULL",
        "version": "BIGINT NOT NULL",
        "deleted_ns": "BIGINT",
        "pickup": "TEXT",
        "package": "TEXT",
        "mitigation": "TEXT",
    },
)
"""What the customer said about an order, as JSON (contact, address, ...); `version` counts changes and is the ETag.
`first_words` are those of the order itself: they decide whether a repeated order is the same one.
A deleted order is no longer shown on the wire; its stages and its custody stay. Orders of version 2 have no row."""

OWN_SKUS: Final = _table(
    "skus",
    {
        "name": "TEXT NOT NULL PRIMARY KEY",
        "size_bytes": "BIGINT NOT NULL",
        "max_files": "BIGINT NOT NULL",
        "created_ns": "BIGINT NOT NULL",
    },
)
"""Kinds of device that the operator has defined. They are never changed: labels and orders rest on them."""

WITNESSES: Final = _table(
    "witnesses",
    {"order_id": _OF_ORDER, "public_key": "BLOB NOT NULL", "party": "TEXT NOT NULL", "vouched_by": "TEXT NOT NULL"},
    "order_id",
    "public_key",
)
"""Whose keys count in an order's chain of custody beside the service's own, and who handed each in first."""

SPANNING: Final = _table("spanning", {"sku": "TEXT NOT NULL PRIMARY KEY REFERENCES skus (name)"})
"""The operator's kinds of device from which a seed may go on to another device."""

DEFINITIONS: Final = tuple(_DEFINITIONS)
"""What makes all tables of this version."""

UPGRADES: Final = {version: (made,) for version, made in enumerate(_DEFINITIONS[-5:], 1)}
"""What makes the tables of the next version from those of this one."""
