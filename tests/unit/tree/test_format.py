"""Entries and pieces: round trips, canonical form, caps, order."""

from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.tree.samples import EVERY_KIND, chunk, entries, file, stat
from wain.base.errors import DataError, Malformed, TooLarge, Truncated
from wain.pack.format import MAX_SEGMENT_PLAIN
from wain.tree.entry import Content, Entry, Kind
from wain.tree.format import (
    ENTRY_FIXED_BYTES,
    PIECE_BYTES,
    PIECE_HEADER_BYTES,
    PieceBuilder,
    decode_piece,
    decode_pieces,
    encode_entry,
    encode_piece,
    entry_name,
)
from wain.tree.rules import MAX_CHUNKS, MAX_ENTRY_BYTES

PIECE = encode_piece([encode_entry(entry) for entry in EVERY_KIND])
FEW = settings(max_examples=80, deadline=None)


def read_one(encoded: bytes) -> Entry:
    (entry,) = decode_piece(encode_piece([encoded]))
    return entry


def build(encoded: list[bytes]) -> list[bytes]:
    builder = PieceBuilder()
    for entry in encoded:
        builder.add(entry)
    return builder.finish()


def test_every_kind_survives_the_round_trip() -> None:
    assert decode_piece(PIECE) == list(EVERY_KIND)
    assert decode_piece(memoryview(PIECE)) == list(EVERY_KIND)


@FEW
@given(entries)
def test_any_entry_survives_the_round_trip(entry: Entry) -> None:
    encoded = encode_entry(entry)
    assert read_one(encoded) == entry
    assert entry_name(encoded) == entry_name(memoryview(encoded)) == entry.name


@FEW
@given(entries, st.data())
def test_a_changed_byte_is_refused_or_is_another_entry_in_canonical_form(entry: Entry, data: st.DataObject) -> None:
    piece = bytearray(encode_piece([encode_entry(entry)]))
    at = data.draw(st.integers(0, len(piece) - 1))
    piece[at] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_piece(bytes(piece))
    except DataError:
        return
    assert found != [entry]
    assert encode_piece([encode_entry(entry) for entry in found]) == piece


def test_every_bit_flip_of_a_piece_is_refused_or_canonical() -> None:
    refused = 0
    for at in range(len(PIECE)):
        for bit in range(8):
            piece = bytearray(PIECE)
            piece[at] ^= 1 << bit
            try:
                found = decode_piece(bytes(piece))
            except DataError:
                refused += 1
                continue
            assert encode_piece([encode_entry(entry) for entry in found]) == piece
    assert refused > len(PIECE)


@pytest.mark.parametrize("whole", [PIECE, encode_piece([]), encode_piece([encode_entry(EVERY_KIND[0])])])
def test_a_piece_cut_anywhere_is_refused(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(Truncated):
            decode_piece(whole[:length])
    with pytest.raises(Malformed, match="follow the end"):
        decode_piece(whole + b"\0")


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: bytes) -> None:
    with pytest.raises(Malformed):
        encode_entry(file(name))


def test_a_longest_name_passes_and_a_longer_one_is_refused() -> None:
    assert read_one(encode_entry(file(b"n" * 255))).name == b"n" * 255
    with pytest.raises(TooLarge):
        encode_entry(file(b"n" * 256))


REFUSED = {
    "file with a target": replace(file(b"n"), target=b"t"),
    "file with an rdev": replace(file(b"n"), rdev=(0, 1)),
    "file with bytes and no chunk": Entry(b"n", Kind.FILE, stat(1)),
    "file with a chunk and no bytes": Entry(b"n", Kind.FILE, stat(0), Content((chunk(1),))),
    "more chunks than bytes": Entry(b"n", Kind.FILE, stat(1), Content((chunk(1), chunk(2)))),
    "more bytes than its chunk can hold": Entry(b"n", Kind.FILE, stat((8 << 20) + 1), Content((chunk(1),))),
    "listed without a list": Entry(b"n", Kind.FILE, stat(0), Content(listed=True)),
    "listed directory": Entry(b"n", Kind.DIRECTORY, stat(), Content((chunk(1),), listed=True)),
    "directory without a piece": Entry(b"n", Kind.DIRECTORY, stat()),
    "directory with extents": Entry(b"n", Kind.DIRECTORY, stat(9), Content((chunk(1),), ((0, 1),))),
    "symlink without a target": Entry(b"n", Kind.SYMLINK, stat()),
    "symlink with a chunk": Entry(b"n", Kind.SYMLINK, stat(1), Content((chunk(1),)), b"t"),
    "symlink with a NUL": Entry(b"n", Kind.SYMLINK, stat(), target=b"t\0"),
    "fifo with an rdev": Entry(b"n", Kind.FIFO, stat(), rdev=(1, 0)),
    "device with a chunk": Entry(b"n", Kind.BLOCK_DEVICE, stat(), Content((chunk(1),))),
    "socket with a target": Entry(b"n", Kind.SOCKET, stat(), target=b"t"),
    "type bits in the mode": Entry(b"n", Kind.FIFO, stat(0, 0o10644)),
    "negative mode": Entry(b"n", Kind.FIFO, stat(0, -1)),
    "negative size": Entry(b"n", Kind.FIFO, stat(-1)),
    "inode over 64 bits": Entry(b"n", Kind.FIFO, replace(stat(), inode=1 << 64)),
    "chunk id of 31 bytes": Entry(b"n", Kind.FILE, stat(1), Content((chunk(1)[:31],))),
    "extents overlap": Entry(b"n", Kind.FILE, stat(9), Content((chunk(1),), ((0, 3), (2, 3)))),
    "extents descend": Entry(b"n", Kind.FILE, stat(9), Content((chunk(1),), ((5, 1), (0, 1)))),
    "empty extent": Entry(b"n", Kind.FILE, stat(9), Content((chunk(1),), ((0, 1), (4, 0)))),
    "extent past the end": Entry(b"n", Kind.FILE, stat(9), Content((chunk(1),), ((8, 2),))),
    "extents of a dense file": Entry(b"n", Kind.FILE, stat(9), Content((chunk(1),), ((0, 9),))),
    "touching extents of a dense file": Entry(b"n", Kind.FILE, stat(9), Content((chunk(1),), ((0, 4), (4, 5)))),
    "one hole of no bytes": Entry(b"n", Kind.FILE, stat(0), Content((), ((0, 0),))),
    "hole mark elsewhere": Entry(b"n", Kind.FILE, stat(9), Content((), ((8, 0),))),
    "xattrs out of order": replace(file(b"n"), xattrs=((b"b", b""), (b"a", b""))),
    "xattr twice": replace(file(b"n"), xattrs=((b"a", b"1"), (b"a", b"2"))),
    "xattr without a name": replace(file(b"n"), xattrs=((b"", b"1"),)),
    "xattr name with a NUL": replace(file(b"n"), xattrs=((b"a\0", b"1"),)),
}
TOO_LARGE = {
    "target": Entry(b"n", Kind.SYMLINK, stat(), target=b"t" * 65537),
    "xattr value": replace(file(b"n"), xattrs=((b"a", b"v" * 65537),)),
    "xattr name": replace(file(b"n"), xattrs=((b"a" * 256, b""),)),
    "xattr count": replace(file(b"n"), xattrs=tuple((b"%04d" % number, b"") for number in range(1025))),
    "whole entry": replace(file(b"n"), xattrs=tuple((b"%04d" % number, b"v" * 65536) for number in range(192))),
    "chunk count": Entry(b"n", Kind.FILE, stat(1 << 40), Content((chunk(1),) * (MAX_CHUNKS + 1))),
}


@pytest.mark.parametrize("entry", REFUSED.values(), ids=REFUSED)
def test_an_entry_that_makes_no_sense_is_not_written(entry: Entry) -> None:
    with pytest.raises(Malformed):
        encode_entry(entry)


@pytest.mark.parametrize("entry", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_part_over_its_cap_is_not_written(entry: Entry) -> None:
    with pytest.raises(TooLarge):
        encode_entry(entry)


def test_times_far_from_now_keep_every_nanosecond() -> None:
    for moment in (-1, 0, 15_021_158_400 * 10**9 + 1, -(1 << 63) * 10**9, (1 << 63) * 10**9 - 1):
        entry = Entry(b"n", Kind.FIFO, replace(stat(), mtime_ns=moment, ctime_ns=moment))
        assert read_one(encode_entry(entry)).stat == entry.stat
    with pytest.raises(Malformed):
        encode_entry(Entry(b"n", Kind.FIFO, replace(stat(), mtime_ns=(1 << 63) * 10**9)))


def test_a_full_second_of_nanoseconds_is_refused() -> None:
    encoded = bytearray(encode_entry(file(b"n")))
    encoded[36:40] = (10**9).to_bytes(4, "little")
    with pytest.raises(Malformed):
        read_one(bytes(encoded))


@pytest.mark.parametrize("at", [66, 70, 74, 78, 82, 86])
def test_a_huge_count_is_refused_before_it_costs_anything(at: int) -> None:
    encoded = bytearray(encode_entry(EVERY_KIND[3]))
    encoded[at : at + 4] = b"\xff\xff\xff\xff"
    if at >= 74:
        with pytest.raises((Malformed, TooLarge)):
            read_one(bytes(encoded))
    else:
        with pytest.raises(Malformed, match="another kind"):
            read_one(bytes(encoded))


def test_names_must_ascend_within_a_piece_and_across_pieces() -> None:
    one, two = encode_entry(file(b"a")), encode_entry(file(b"b"))
    for wrong in ([two, one], [one, one]):
        with pytest.raises(Malformed):
            decode_piece(encode_piece(wrong))
        with pytest.raises(Malformed):
            build(wrong)
        with pytest.raises(Malformed):
            list(decode_pieces([encode_piece([entry]) for entry in wrong]))
    assert [entry.name for entry in decode_pieces([encode_piece([one]), encode_piece([two])])] == [b"a", b"b"]


def test_an_empty_directory_has_one_empty_piece() -> None:
    assert build([]) == [encode_piece([])]
    assert list(decode_pieces(build([]))) == []
    for wrong in ([encode_piece([])] * 2, [encode_piece([]), encode_piece([encode_entry(file(b"a"))])]):
        with pytest.raises(Malformed):
            list(decode_pieces(wrong))


def test_a_large_directory_splits_into_pieces_within_the_limit() -> None:
    encoded = [encode_entry(file(b"%07d" % number)) for number in range(20_000)]
    builder = PieceBuilder()
    taken: list[bytes] = []
    for entry in encoded:
        builder.add(entry)
        taken += builder.take_full()
    assert len(taken) > 1
    pieces = taken + builder.finish()
    assert pieces == build(encoded)
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert [entry.name for entry in decode_pieces(pieces)] == [b"%07d" % number for number in range(20_000)]


def test_nothing_is_left_over_when_the_last_entry_fills_a_piece() -> None:
    big = [replace(file(b"%03d" % n), xattrs=((b"a", b"x" * 65_000),)) for n in range(4)]
    ending = next(b"z%d" % n for n in range(1 << 20) if not crc32(b"z%d" % n) & 0x7FF)
    encoded = [encode_entry(entry) for entry in (*big, replace(file(ending), xattrs=((b"a", b"x" * 65_000),)))]
    builder = PieceBuilder()
    for entry in encoded:
        builder.add(entry)
    assert len(builder.take_full()) == 1
    assert builder.finish() == []


def test_one_new_name_changes_few_pieces() -> None:
    encoded = [encode_entry(file(b"%07d" % number)) for number in range(30_000)]
    before = set(build(encoded))
    after = set(build([encode_entry(file(b"0000000-new")), *encoded[1:]]))
    assert len(before) > 4
    assert len(after - before) <= 2


def test_only_a_single_entry_may_exceed_the_piece() -> None:
    names = [b"%07d" % number for number in range(MAX_CHUNKS)]
    largest = encode_entry(Entry(names[0], Kind.FILE, stat(1 << 40), Content((chunk(1),) * MAX_CHUNKS)))
    assert PIECE_BYTES < len(largest) <= MAX_ENTRY_BYTES + 4
    small = encode_entry(file(names[1]))
    assert [len(piece) for piece in build([largest, small])] == [
        PIECE_HEADER_BYTES + len(largest),
        PIECE_HEADER_BYTES + len(small),
    ]
    with pytest.raises(TooLarge):
        encode_piece([largest, small])
    whole = encode_piece([largest])
    with pytest.raises(Malformed):
        decode_piece(whole[:10] + b"\x02" + whole[11:] + small)


def test_the_largest_piece_fits_a_segment() -> None:
    assert PIECE_HEADER_BYTES + 4 + MAX_ENTRY_BYTES <= MAX_SEGMENT_PLAIN


def test_the_smallest_entry_is_the_fixed_part_and_a_name() -> None:
    assert len(encode_entry(Entry(b"n", Kind.FIFO, stat()))) == ENTRY_FIXED_BYTES + 1
