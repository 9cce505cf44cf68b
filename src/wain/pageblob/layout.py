"""Where packs lie in page blobs: end to end, in the order they were written, from the start of each blob."""

from dataclasses import dataclass
from typing import Final

from wain.base.errors import Refused
from wain.base.sizes import BLOCK_BYTES, GIB, TIB, format_bytes

BLOB_LIMIT_BYTES: Final = 64 * GIB
"""About 1,000 packs: few enough files for a Data Box Disk, small enough to lose one in a copy and not mind."""
MAX_BLOB_LIMIT_BYTES: Final = 4 * TIB
"""The smallest page-blob maximum that Azure's documents give (Data Box limits)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one pack lies: blob number, then bytes. `offset` and `length` are multiples of 4,096."""

    blob: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte after the pack."""
        return self.offset + self.length


def check_blob_limit(limit: int) -> None:
    """Check the greatest size of a page blob.

    Raises:
        Refused: not a multiple of 4,096 between 4,096 bytes and 4 TiB.
    """
    if limit % BLOCK_BYTES or not BLOCK_BYTES <= limit <= MAX_BLOB_LIMIT_BYTES:
        raise Refused(
            f"a page blob limit of {limit} bytes is not a multiple of {BLOCK_BYTES} up to "
            f"{format_bytes(MAX_BLOB_LIMIT_BYTES)}",
            "Leave it at 64 GiB.",
        )


class Layout:
    """Gives each pack its place. `next` is the blob and offset of the next pack, to go on after a pause."""

    def __init__(self, blob_limit: int = BLOB_LIMIT_BYTES, next: tuple[int, int] = (0, 0)) -> None:  # noqa: A002
        check_blob_limit(blob_limit)
        self._limit = blob_limit
        self._blob, self._offset = next

    @property
    def next(self) -> tuple[int, int]:
        """Where the next pack would start, if it fits into the present blob."""
        return self._blob, self._offset

    def place(self, length: int) -> Placement:
        """Return the place of a pack of `length` bytes; a full blob makes it open the next one.

        Raises:
            Refused: `length` is not a positive multiple of 4,096, or over the blob limit.
        """
        if length <= 0 or length % BLOCK_BYTES:
            raise Refused(f"a pack of {length} bytes is not a multiple of {BLOCK_BYTES}")
        if length > self._limit:
            raise Refused(f"a pack of {length} bytes does not fit into page blobs of {self._limit}")
        if self._offset + length > self._limit:
            self.skip()
        placement = Placement(self._blob, self._offset, length)
        self._offset = placement.end
        return placement

    def skip(self) -> None:
        """Leave the present blob as it is; the next pack opens a new one."""
        self._blob, self._offset = self._blob + 1, 0
