"""Which bytes of a group of packs stand in which row of its parity (FORMAT.md, Parity), and what parity costs.

A row has up to `data` cells of data and `parity` cells that are computed from them. The leaves of a group are dealt
to its rows in turn, so that a run of lost leaves costs every row the same small number of cells. Footer pages are
small and have rows of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wain.base.sizes import BLOCK_BYTES, round_up
from wain.pack.format import FOOTER_BYTES, LEAF_BYTES

ROW_CELLS: Final = 32
"""Data cells of a row, as the writer of this version makes them."""
MAX_ROW_CELLS: Final = 64
"""What a reader accepts: a repair holds one row in memory."""
MAX_PARITY_CELLS: Final = 8
MAX_GROUP_PACKS: Final = 64


@dataclass(frozen=True, slots=True)
class Strength:
    """How many data cells a row has at most, and how many lost cells of a row can be repaired."""

    data: int
    parity: int

    def __post_init__(self) -> None:
        assert 1 <= self.data <= MAX_ROW_CELLS
        assert 1 <= self.parity <= MAX_PARITY_CELLS


STRENGTHS: Final[Mapping[int, Strength | None]] = MappingProxyType(
    {0: None, **{3 * parity: Strength(ROW_CELLS, parity) for parity in range(1, 5)}}
)
"""Percent, as policies say it, to strength; None is off."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A leaf or a footer page: which pack of the group, and where in its stored bytes."""

    pack: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Row:
    """The data cells of one row. All count as `length` bytes long, with zeros behind a shorter one."""

    cells: tuple[Cell, ...]
    length: int


def rows(lengths: Sequence[int], data: int) -> tuple[Row, ...]:
    """Return the rows of a group of packs with these stored lengths: those of the leaves, then those of the footers."""
    leaves = [
        Cell(number, offset, min(LEAF_BYTES, length - FOOTER_BYTES - offset))
        for number, length in enumerate(lengths)
        for offset in range(0, length - FOOTER_BYTES, LEAF_BYTES)
    ]
    footers = [Cell(number, length - FOOTER_BYTES, FOOTER_BYTES) for number, length in enumerate(lengths)]
    return (*_dealt(leaves, data), *_dealt(footers, data))


def _dealt(cells: list[Cell], data: int) -> list[Row]:
    count = -(-len(cells) // data)
    dealt = [tuple(cells[first::count]) for first in range(count)]
    return [Row(row, max(cell.length for cell in row)) for row in dealt]


def expected_parity(stored_bytes: int, strength: Strength | None) -> int:
    """Return what the parity of packs of `stored_bytes` takes, about: small groups take a little more."""
    return 0 if strength is None else round_up(stored_bytes * strength.parity // strength.data, BLOCK_BYTES)


def most_parity(lengths: Sequence[int]) -> int:
    """Return what parity of packs with these stored lengths can take at most, by the strongest writer of this version.

    Every pack may be a group of its own; more rows than that grouping gives no other one has.
    """
    strongest = max(strength.parity for strength in STRENGTHS.values() if strength is not None)
    total = 0
    for length in lengths:
        leaf_rows = -(-(length - FOOTER_BYTES) // (LEAF_BYTES * ROW_CELLS))
        headers = 2 * BLOCK_BYTES
        total += strongest * (leaf_rows * LEAF_BYTES + FOOTER_BYTES) + headers
    return total
