"""What fits on which device: the seed's table of sizes per server (azure.md S17-S23). Sizes in decimal TB."""

from dataclasses import dataclass
from typing import Final

from wain.base.errors import Refused
from wain.base.sizes import TB, format_bytes
from wain.pageblob.parity import Strength, expected_parity

CONTACT: Final = "AskAzureBackupTeam@microsoft.com"
TYPICAL_COMPRESSION_PERCENT: Final = (10, 20)
"""By how much MARS typically shrinks data (the seed's footnote): a first guess before anything is measured."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """One row: the largest initial backup of one server, compressed, and the SKU that carries it."""

    limit_bytes: int
    sku: str
    """A name in `order.sku.SKUS`."""
    title: str
    """What the seed calls it."""


CAPACITIES: Final = (
    Capacity(72 * TB // 10, "DataBoxDisk", "Azure Data Box disk"),
    Capacity(80 * TB, "DataBox", "Azure Data Box (100 TB)"),
)
"""Smallest first: the first row that is large enough is the one to order. A limit belongs to its row (`<=`)."""


def sku_for(stored_bytes: int) -> Capacity:
    """Return the row for a server whose initial backup takes `stored_bytes` after compression.

    Raises:
        Refused: over 80 TB, or negative.
    """
    if stored_bytes < 0:
        raise Refused("a backup cannot be smaller than nothing")
    for row in CAPACITIES:
        if stored_bytes <= row.limit_bytes:
            return row
    limit = format_bytes(CAPACITIES[-1].limit_bytes)
    reason = f"{format_bytes(stored_bytes)} are more than the {limit} that one server may seed offline"
    raise Refused(reason, f"Contact {CONTACT}, or split the server's items between several registrations.")


def expected_bytes(source_bytes: int, parity: Strength | None = None) -> tuple[int, int]:
    """Return the least and the most that `source_bytes` typically take after compression, with their parity."""
    least, most = TYPICAL_COMPRESSION_PERCENT
    stored = source_bytes * (100 - most) // 100, source_bytes * (100 - least) // 100
    return stored[0] + expected_parity(stored[0], parity), stored[1] + expected_parity(stored[1], parity)
