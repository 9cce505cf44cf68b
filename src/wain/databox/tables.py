"""The rows of the Data Box catalog. Moments are signed 64-bit nanoseconds since 1970, hashes and ids raw bytes.

Names that come from a device are bytes: no file system promises that they are text.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

VERSION: Final = 1
"""Kept in `PRAGMA user_version`; a catalog with another number is refused, never guessed at."""

METADATA: Final = MetaData()


def _order() -> Column[int]:
    return Column("order_id", Integer, ForeignKey("orders.id"), nullable=False)


ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
)

ORDERS: Final = Table(
    "orders",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("sku", Text, nullable=False),
    Column("account", Text, ForeignKey("accounts.name"), nullable=False),
    Column("subscription", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("cancel_reason", Text),
    Column("device", LargeBinary),
    Column("serial", Text),
    Column("root", LargeBinary),
)
"""`device`, `serial` and `root` are set when a preparation begins; they count from `DevicePrepared` on."""

STAGES: Final = Table(
    "stages",
    METADATA,
    _order(),
    Column("number", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    PrimaryKeyConstraint("order_id", "number"),
)

CUSTODY: Final = Table(
    "custody",
    METADATA,
    _order(),
    Column("seq", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    PrimaryKeyConstraint("order_id", "seq"),
)
"""The signed chain of an order, as `order.custody` encodes it."""

COPIES: Final = Table(
    "copies",
    METADATA,
    Column("order_id", Integer, ForeignKey("orders.id"), primary_key=True),
    Column("guid", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("finished_ns", BigInteger),
)
"""One data copy per order. The plan (containers, blobs, first findings) is written with this row, at once."""

CONTAINERS: Final = Table(
    "containers",
    METADATA,
    _order(),
    Column("number", Integer, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("copied_to", Text, nullable=False),
    Column("seal_hash", LargeBinary),
    PrimaryKeyConstraint("order_id", "number"),
)
"""`seal_hash` is null for a container that is not Wain's."""

BLOBS: Final = Table(
    "blobs",
    METADATA,
    _order(),
    Column("container", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("copied_to", Text, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("done", BigInteger),
    Column("crc64", LargeBinary),
    PrimaryKeyConstraint("order_id", "container", "number"),
)
"""`done` bytes from the start are durable in the account (null: the blob has not been made yet);
`crc64` (8 bytes, big-endian) is their checksum."""

FINDINGS: Final = Table(
    "findings",
    METADATA,
    Column("id", Integer, primary_key=True),
    _order(),
    Column("path", LargeBinary, nullable=False),
    Column("category", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("left_behind", Integer, nullable=False),
)
"""What the copy log will list, in the order it was found."""

ERASURES: Final = Table(
    "erasures",
    METADATA,
    Column("order_id", Integer, ForeignKey("orders.id"), primary_key=True),
    Column("guid", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("finished_ns", BigInteger),
    Column("permit", LargeBinary, nullable=False),
    Column("record", LargeBinary),
)
"""An erasure that began was allowed; it is finished without asking again. `permit` (JSON) says by what and what there
was to erase, `record` is the finished erasure record."""
