"""The code behind parity: Reed-Solomon over GF(2^8), systematic, by zfec (FORMAT.md, Parity).

zfec works with the interpreter's lock released. Its speed does not depend on the length of the cells. It is loaded when
it is needed: its package brings its own command lines and a second OpenSSL, 4 MB that a restore has no use for.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from wain.pageblob.parity import Row, Strength, rows


@lru_cache(maxsize=64)
def _encoder(data: int, parity: int) -> Any:
    import zfec  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    return zfec.Encoder(data, data + parity)


@lru_cache(maxsize=64)
def _decoder(data: int, parity: int) -> Any:
    import zfec  # noqa: PLC0415 - see above

    return zfec.Decoder(data, data + parity)


def _filled(cell: bytes | memoryview, length: int) -> bytes | memoryview:
    return cell if len(cell) == length else bytes(cell) + bytes(length - len(cell))


def encode_row(cells: Sequence[bytes | memoryview], length: int, parity: int) -> list[bytes]:
    """Return the parity cells of one row, each `length` bytes long."""
    filled = tuple(_filled(cell, length) for cell in cells)
    numbers = tuple(range(len(cells), len(cells) + parity))
    return list(_encoder(len(cells), parity).encode(filled, numbers))


def encode_group(packs: Sequence[bytes | memoryview], strength: Strength) -> Iterator[bytes]:
    """Yield the parity cells of a group in the order they lie. Memory: one row's."""
    views = [memoryview(pack) for pack in packs]
    for row in rows([len(view) for view in views], strength.data):
        cells = [views[cell.pack][cell.offset : cell.offset + cell.length] for cell in row.cells]
        yield from encode_row(cells, row.length, strength.parity)


def decode_row(row: Row, parity: int, there: Mapping[int, bytes]) -> list[bytes]:
    """Return all data cells of a row. `there` are the cells that are whole, by number: data first, then parity.

    It must have as many as the row has data cells, or more.
    """
    count = len(row.cells)
    numbers = tuple(sorted(there)[:count])
    blocks = tuple(_filled(there[number], row.length) for number in numbers)
    decoded = _decoder(count, parity).decode(blocks, numbers)
    return [bytes(block[: cell.length]) for block, cell in zip(decoded, row.cells, strict=True)]
