"""Parity over groups of packs: whatever is lost within its strength comes back, one cell more does not, lies never."""

import os
import random

import pytest
from blake3 import blake3
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from unit.pageblob.groups import PARITY_BLOB, Group, record_of, stored_record
from wain.base.errors import Corrupt, DataError, Truncated
from wain.base.ids import PackId
from wain.pack.format import LEAF_BYTES
from wain.pageblob.names import packs_blob
from wain.pageblob.parity import STRENGTHS, Strength, expected_parity, most_parity, rows
from wain.pageblob.parity_code import encode_row
from wain.pageblob.parity_record import (
    ParityVerifier,
    Place,
    blank_record,
    decode_header,
    encode_header,
    header_bytes,
    locate,
)
from wain.pageblob.parity_repair import BeyondParity

MIB = 1 << 20
SMALL = Strength(4, 2)
lengths = st.lists(st.integers(2, 800).map(lambda blocks: blocks * 4096), min_size=1, max_size=6)
strengths = st.builds(Strength, st.integers(1, 64), st.integers(1, 8))


@given(lengths, strengths)
def test_every_byte_stands_in_one_row(sizes: list[int], strength: Strength) -> None:
    group = rows(sizes, strength.data)
    cells = [cell for row in group for cell in row.cells]
    for number, size in enumerate(sizes):
        mine = sorted((cell.offset, cell.length) for cell in cells if cell.pack == number)
        assert [offset for offset, _ in mine] == [*range(0, size - 4096, LEAF_BYTES), size - 4096]
        assert sum(length for _, length in mine) == size
    for row in group:
        assert 1 <= len(row.cells) <= strength.data
        assert row.length == max(cell.length for cell in row.cells)


@given(lengths, strengths)
def test_a_run_of_leaves_costs_no_row_more_than_its_share(sizes: list[int], strength: Strength) -> None:
    count = -(-sum(-(-(size - 4096) // MIB) for size in sizes) // strength.data)
    leaf_rows = rows(sizes, strength.data)[:count]
    order = sorted((cell.pack, cell.offset, at) for at, row in enumerate(leaf_rows) for cell in row.cells)
    run = [at for _, _, at in order][: len(leaf_rows) * strength.parity]
    assert all(run.count(at) <= strength.parity for at in range(len(leaf_rows)))


@given(lengths)
def test_what_parity_takes_is_bounded_before_it_is_known(sizes: list[int]) -> None:
    for strength in STRENGTHS.values():
        if strength is not None:
            names = [(PackId(bytes([number]) * 32), size) for number, size in enumerate(sizes)]
            assert blank_record(names, strength).stored_bytes <= most_parity(sizes)


def test_the_estimate_is_close_for_full_groups() -> None:
    sizes = [64 * MIB + 8192] * 4
    names = [(PackId(bytes([number]) * 32), size) for number, size in enumerate(sizes)]
    for percent, strength in STRENGTHS.items():
        if strength is None:
            assert expected_parity(10**9, None) == 0
            continue
        real, guess = blank_record(names, strength).stored_bytes, expected_parity(sum(sizes), strength)
        assert guess <= real <= guess * 1.15
        assert abs(guess / sum(sizes) * 100 - percent) < 0.6


@st.composite
def damaged_rows(draw: st.DrawFn) -> tuple[int, int, int, set[int]]:
    data, parity = draw(st.integers(1, 32)), draw(st.integers(1, 8))
    lost = draw(st.sets(st.integers(0, data + parity - 1), max_size=parity))
    return data, parity, draw(st.integers(1, 300)), lost


@given(damaged_rows(), st.randoms(use_true_random=False))
def test_any_loss_within_the_strength_is_repaired(shape: tuple[int, int, int, set[int]], dice: random.Random) -> None:
    from wain.pageblob.parity import Cell, Row  # noqa: PLC0415
    from wain.pageblob.parity_code import decode_row  # noqa: PLC0415

    data, parity, length, lost = shape
    cells = [dice.randbytes(dice.randint(1, length)) for _ in range(data)]
    longest = max(map(len, cells))
    row = Row(tuple(Cell(0, 0, len(cell)) for cell in cells), longest)
    every = dict(enumerate([*cells, *encode_row(cells, longest, parity)]))
    assert decode_row(row, parity, {at: cell for at, cell in every.items() if at not in lost}) == cells


def gf_multiply(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def gf_power(a: int, n: int) -> int:
    value = 1
    for _ in range(n):
        value = gf_multiply(value, a)
    return value


def gf_solve(matrix: list[list[int]], wanted: list[int]) -> list[int]:
    """Return x with x * matrix = wanted."""
    size = len(matrix)
    table = [[matrix[row][column] for row in range(size)] + [wanted[column]] for column in range(size)]
    for at in range(size):
        pivot = next(row for row in range(at, size) if table[row][at])
        table[at], table[pivot] = table[pivot], table[at]
        inverse = gf_power(table[at][at], 254)
        table[at] = [gf_multiply(inverse, value) for value in table[at]]
        for row in range(size):
            if row != at and table[row][at]:
                factor = table[row][at]
                table[row] = [a ^ gf_multiply(factor, b) for a, b in zip(table[row], table[at], strict=True)]
    return [row[-1] for row in table]


@pytest.mark.parametrize(("data", "parity"), [(1, 2), (3, 2), (7, 4)])
def test_the_code_is_the_one_that_the_format_describes(data: int, parity: int) -> None:
    """FORMAT.md, Parity, computed by hand: whoever has only the document can repair."""

    def power_row(number: int) -> list[int]:
        return [1] + [0] * (data - 1) if number == 0 else [gf_power(gf_power(2, number - 1), at) for at in range(data)]

    top = [power_row(number) for number in range(data)]
    cells = [random.Random(at).randbytes(5) for at in range(data)]
    expected = []
    for number in range(data, data + parity):
        factors = gf_solve(top, power_row(number))
        cell = bytearray(5)
        for factor, body in zip(factors, cells, strict=True):
            cell = bytearray(a ^ gf_multiply(factor, b) for a, b in zip(cell, body, strict=True))
        expected.append(bytes(cell))
    assert encode_row(cells, 5, parity) == expected


def group(strength: Strength = SMALL) -> Group:
    return Group((2 * MIB + 8192, 8192, MIB, 3 * MIB - 4096), strength)


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_a_group_within_its_strength_is_whole_again(data: st.DataObject) -> None:
    there = group()
    for number, row in enumerate(there.record.rows):
        every = [*range(len(row.cells) + there.strength.parity)]
        for lost in data.draw(st.sets(st.sampled_from(every), max_size=there.strength.parity)):
            if lost < len(row.cells):
                there.lose(row.cells[lost])
            else:
                there.lose_parity(number, lost - len(row.cells))
    assert there.all_repaired()


def test_one_cell_more_is_not_repaired_and_is_said() -> None:
    there = group()
    row = there.record.rows[0]
    for cell in row.cells[:3]:
        there.lose(cell)
    with pytest.raises(BeyondParity, match="row 0 of its group lost 3 cells and has 2 whole cells of parity"):
        there.repaired(row.cells[0].pack)
    assert there.repaired(1)[0] == there.packs[1].stored, "another pack of the group does not suffer"


def test_a_burst_over_every_row_is_repaired() -> None:
    there = group()
    leaf_rows = len(there.record.rows) - 1
    burst = leaf_rows * there.strength.parity
    leaves = sorted((cell.pack, cell.offset) for row in there.record.rows[:leaf_rows] for cell in row.cells)
    for pack, offset in leaves[3 : 3 + burst]:
        (cell,) = [c for row in there.record.rows for c in row.cells if (c.pack, c.offset) == (pack, offset)]
        there.lose(cell)
    assert there.all_repaired()


def test_a_lost_footer_is_repaired_with_its_leaves() -> None:
    there = group()
    place = there.places[there.packs[0].id]
    there.spoil(packs_blob(0), place.end - 4096, 4096)
    there.spoil(packs_blob(0), place.offset + MIB + 7, 1)
    body, found = there.repaired(0)
    assert body == there.packs[0].stored
    assert found.words == "leaf 1 (bytes 1048576 to 2097151), the footer page"


def test_too_many_lost_footers_are_said() -> None:
    there = group(Strength(4, 1))
    for number in (0, 2):
        there.spoil(packs_blob(0), there.places[there.packs[number].id].end - 4096, 4096)
    with pytest.raises(BeyondParity, match="its footer page is lost, with too many others"):
        there.repaired(0)


@pytest.mark.parametrize("which", ["first", "second", "both"])
def test_one_whole_header_is_enough(which: str) -> None:
    there = group()
    there.lose(there.record.rows[0].cells[0])
    wanted = there.record.rows[0].cells[0].pack
    if which in ("first", "both"):
        there.spoil(PARITY_BLOB, 100, 1)
    if which in ("second", "both"):
        there.spoil(PARITY_BLOB, there.record.stored_bytes - 4000, 1)
    if which == "both":
        with pytest.raises(BeyondParity, match="there is none for it"):
            there.repaired(wanted)
    else:
        assert there.all_repaired()


def test_records_behind_a_destroyed_one_are_found() -> None:
    there, other = group(), Group((MIB, 2 * MIB), SMALL, first=50)
    there.blobs[PARITY_BLOB] = (
        bytearray(os.urandom(20_480)) + other.blobs[PARITY_BLOB][4096:] + there.blobs[PARITY_BLOB]
    )
    there.lose(there.record.rows[1].cells[1])
    assert there.all_repaired()


def test_parity_of_another_seed_repairs_nothing() -> None:
    there, other = group(), Group((MIB, 2 * MIB), SMALL, first=50)
    there.blobs[PARITY_BLOB] = other.blobs[PARITY_BLOB]
    there.lose(there.record.rows[0].cells[0])
    with pytest.raises(BeyondParity, match="there is none for it"):
        there.repaired(there.record.rows[0].cells[0].pack)


def test_cells_that_lie_never_pass() -> None:
    """A record that vouches for false cells: what comes out is something else, and is not taken."""
    there = group()
    lies = [random.Random(at).randbytes(len(cell)) for at, cell in enumerate(there.cells)]
    false = type(there.record)(there.strength, there.record.packs, tuple(blake3(lie).digest() for lie in lies))
    there.blobs[PARITY_BLOB] = bytearray(stored_record(false, lies))
    row = there.record.rows[0]
    there.lose(row.cells[0])
    with pytest.raises(BeyondParity, match="is something else"):
        there.repaired(row.cells[0].pack)
    honest = stored_record(there.record, there.cells)
    there.blobs["parity-00001"] = bytearray(honest)
    assert there.all_repaired(), "an honest record beside it is tried as well"


def test_a_lying_medium_does_not_pass_either() -> None:
    """Every read gives something else: the repair ends, and hands out nothing that is false."""
    there = group()
    dice = random.Random(7)
    real = there.read

    def lying(blob: str, offset: int, length: int) -> bytes:
        return real(blob, offset, length) if dice.random() < 0.8 else dice.randbytes(length)

    for _ in range(30):
        repairer = there.repairer()
        repairer._read = lying
        try:
            found = repairer.repair(there.packs[0].id)
        except BeyondParity:
            continue
        for offset, part in found.parts.items():
            assert part == bytes(there.packs[0].stored[offset : offset + len(part)])


@given(st.integers(1, 9999), st.binary(max_size=64))
def test_a_header_that_was_changed_is_refused(at: int, junk: bytes) -> None:
    record, _ = record_of(Group((12288, 8192), SMALL).packs, SMALL)
    body = bytearray(encode_header(record, Place.BEFORE))
    changed = bytes(body[: at % len(body)]) + junk + bytes(body[at % len(body) + len(junk) :])
    if changed[: len(body)] != body:
        with pytest.raises(DataError):
            decode_header(changed)


def test_a_header_comes_back_as_it_was() -> None:
    there = Group((8192,) * 14, Strength(1, 8))
    for place in Place:
        body = encode_header(there.record, place)
        assert decode_header(body) == (there.record, place)
        assert len(body) == header_bytes(body[:4096]) == there.record.header_bytes
    assert there.record.header_bytes > 4096, "this one needs more than its first block"
    assert there.all_repaired()


@pytest.mark.parametrize("step", [777, 4096, MIB, 1 << 30])
def test_a_stream_of_records_is_verified(step: int) -> None:
    there, other = group(), Group((MIB, 2 * MIB), SMALL, first=50)
    known = {pack.id: len(pack.stored) for pack in [*there.packs, *other.packs]}
    body = bytes(there.blobs[PARITY_BLOB] + other.blobs[PARITY_BLOB])

    def verify(stream: bytes) -> None:
        verifier = ParityVerifier(known)
        for at in range(0, len(stream), step):
            verifier.feed(stream[at : at + step])
        verifier.finish()

    verify(b"")
    verify(body)
    with pytest.raises(Truncated):
        verify(body[:-1])
    for at, words in (
        (50, "hash of its header"),
        (5000, "cell 0"),
        (there.record.stored_bytes - 4000, "second header"),
    ):
        with pytest.raises(Corrupt, match=f"record at byte 0: .*{words}"):
            verify(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    known.pop(other.packs[0].id)
    with pytest.raises(Corrupt, match=f"record at byte {there.record.stored_bytes}: it is for pack"):
        verify(body)


def test_garbage_holds_no_record() -> None:
    body = random.Random(3).randbytes(3 * MIB)
    assert list(locate(lambda at, n: body[at : at + n], len(body))) == []
    marks = b"WAINPRTY".ljust(4096, b"\1") * 500
    assert list(locate(lambda at, n: marks[at : at + n], len(marks))) == []
