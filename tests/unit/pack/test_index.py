"""The chunk index: a plain dictionary is the model; files are searched in place; forged ones are refused."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Corrupt, DataError, Malformed, TooLarge, Truncated
from wain.base.ids import ChunkId, PackId
from wain.pack import index
from wain.pack.index import (
    ENTRY_BYTES,
    HEADER_BYTES,
    INDEX_FIXED_BYTES,
    IndexTable,
    IndexWriter,
    Location,
    encode_index,
    fanout_bits,
    merge_indexes,
)

Entries = dict[ChunkId, Location]
PACKS = tuple(PackId(bytes([number]) * 32) for number in range(1, 9))


def chunk(number: int) -> ChunkId:
    """Return an id as evenly spread as real ones."""
    return ChunkId(blake3(number.to_bytes(8, "big")).digest())


def made(count: int, packs: tuple[PackId, ...] = PACKS) -> Entries:
    return {chunk(n): Location(packs[n % len(packs)], n % 70, n * 3, n + 1) for n in range(count)}


def rehashed(body: bytes) -> bytes:
    """Return a body whose hash fits again, as a forger would."""
    return body[:-32] + blake3(body[:-32]).digest()


def rewritten(table: IndexTable) -> bytes:
    writer = IndexWriter(len(table), table.packs)
    return b"".join([*writer.feed(table.items()), writer.finish()])


_locations = st.builds(
    Location,
    pack=st.sampled_from(PACKS),
    segment=st.integers(0, (1 << 32) - 1),
    offset=st.integers(0, (1 << 31)),
    length=st.integers(1, (1 << 31) - 1),
)
# Few different first bytes, so that ids crowd in some buckets and leave others empty.
_heads = st.sampled_from((b"\0", b"\x01", b"\xff"))
_ids = st.builds(lambda head, rest: ChunkId(head + rest), _heads, st.binary(min_size=31, max_size=31))
_entries = st.dictionaries(_ids.filter(any), _locations, max_size=40)


@settings(max_examples=80, deadline=None)
@given(_entries, st.lists(_ids, max_size=5))
def test_an_index_answers_like_the_dictionary_it_was_made_from(entries: Entries, others: list[ChunkId]) -> None:
    body = encode_index(entries.items())
    for table in (IndexTable(body), IndexTable(memoryview(body))):
        table.verify()
        assert dict(table.items()) == entries
        assert [found for found, _ in table.items()] == sorted(entries)
        assert len(table) == len(entries)
        assert list(table.packs) == sorted({location.pack for location in entries.values()})
        for wanted in [*entries, *others]:
            assert table.find(wanted) == entries.get(wanted)
            assert (wanted in table) == (wanted in entries)
        assert rewritten(table) == body


@pytest.mark.parametrize("count", [0, 1, 7, 8, 15, 16, 17, 31, 32, 5000])
def test_every_size_of_fanout_finds_everything(count: int) -> None:
    entries = made(count)
    body = encode_index(entries.items())
    table = IndexTable(body)
    table.verify()
    assert all(table.find(wanted) == entries[wanted] for wanted in entries)
    assert not any(chunk(n) in table for n in range(count, count + 500))
    assert len(body) == INDEX_FIXED_BYTES + 32 * len(table.packs) + 48 * count + (4 << fanout_bits(count))


def test_a_chunk_costs_less_than_fifty_bytes() -> None:
    entries = made(4096, tuple(sorted(chunk(n) for n in range(10**6, 10**6 + 4096 // 22))))  # type: ignore[arg-type]
    assert len(encode_index(entries.items())) < 50 * 4096


def test_a_mapped_file_is_searched_in_place(tmp_path: Path) -> None:
    entries = made(3000)
    file = tmp_path / "index"
    file.write_bytes(encode_index(entries.items()))
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as view:
        table = IndexTable(view)
        table.verify()
        assert all(table.find(wanted) == entries[wanted] for wanted in entries)
        assert table.find(chunk(3000)) is None
        assert dict(table.items()) == entries


def test_an_id_astride_two_fields_is_not_found() -> None:
    first = chunk(1)
    middle = ChunkId(first[16:] + (0).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"\x06\0\0\0\x07\0\0\0")
    table = IndexTable(encode_index([(first, Location(PACKS[0], 5, 6, 7))]))
    assert table.find(middle) is None
    assert table.find(first) == Location(PACKS[0], 5, 6, 7)
    assert table.find(ChunkId(b"")) is None
    assert table.find(ChunkId(first[:31])) is None


def test_a_crowded_bucket_is_halved_before_it_is_read() -> None:
    entries = {ChunkId(b"\x77" * 28 + n.to_bytes(4, "big")): Location(PACKS[0], n, 0, 1) for n in range(0, 4000, 2)}
    table = IndexTable(encode_index(entries.items()))
    table.verify()
    for n in range(4000):
        wanted = ChunkId(b"\x77" * 28 + n.to_bytes(4, "big"))
        assert table.find(wanted) == entries.get(wanted)


def test_the_pack_table_is_a_lazy_sequence() -> None:
    packs = IndexTable(encode_index(made(100).items())).packs
    assert packs == list(PACKS) or list(packs) == list(PACKS)
    assert packs[-1] == PACKS[-1]
    assert packs[1:3] == PACKS[1:3]
    assert PACKS[3] in packs
    assert b"x" * 32 not in packs
    assert "x" not in packs
    with pytest.raises(IndexError):
        packs[8]


def test_streaming_with_a_bound_gives_the_very_same_bytes() -> None:
    entries = sorted(made(9000).items())
    for bound in (9000, 9001, 30_000, 1_000_000):
        writer = IndexWriter(bound, PACKS)
        pieces = [*writer.feed(entries[:10]), *writer.feed(iter(entries[10:]))]
        assert len(pieces) > 1
        assert max(map(len, pieces)) < 1 << 19
        assert b"".join([*pieces, writer.finish()]) == encode_index(entries)


def test_a_listed_pack_without_entries_is_kept() -> None:
    writer = IndexWriter(1, PACKS)
    table = IndexTable(b"".join([*writer.feed([(chunk(1), Location(PACKS[2], 0, 0, 1))]), writer.finish()]))
    table.verify()
    assert list(table.packs) == list(PACKS)


PLACE = Location(PACKS[0], 0, 0, 1)
WRONG_FEEDS = {
    "descending": sorted([(chunk(1), PLACE), (chunk(2), PLACE)])[::-1],
    "twice": [(chunk(1), PLACE)] * 2,
    "more than announced": sorted((chunk(n), PLACE) for n in range(3)),
    "unlisted pack": [(chunk(1), PLACE._replace(pack=PACKS[1]))],
    "empty chunk": [(chunk(1), PLACE._replace(length=0))],
    "negative length": [(chunk(1), PLACE._replace(length=-1, offset=5))],
    "negative offset": [(chunk(1), PLACE._replace(offset=-1, length=5))],
    "end over 32 bits": [(chunk(1), PLACE._replace(offset=1 << 31, length=1 << 31))],
    "segment over 32 bits": [(chunk(1), PLACE._replace(segment=1 << 32))],
    "short id": [(ChunkId(b"x" * 31), PLACE)],
    "long id": [(ChunkId(b"x" * 33), PLACE)],
}


@pytest.mark.parametrize("entries", WRONG_FEEDS.values(), ids=WRONG_FEEDS)
def test_what_a_reader_would_refuse_is_not_written(entries: list[tuple[ChunkId, Location]]) -> None:
    with pytest.raises(Malformed):
        list(IndexWriter(2, PACKS[:1]).feed(entries))


def test_a_wrong_pack_table_is_not_written() -> None:
    for packs in (PACKS[::-1], PACKS[:1] * 2, (PackId(b"x" * 31),)):
        with pytest.raises(Malformed):
            IndexWriter(0, packs)
    with pytest.raises(TooLarge):
        IndexWriter(1 << 32, PACKS)
    with pytest.raises(Malformed, match="does not follow"):
        encode_index([(chunk(1), PLACE), (chunk(1), PLACE._replace(segment=3))])


def test_an_index_cut_anywhere_or_lengthened_is_refused_on_opening() -> None:
    body = encode_index(made(20).items())
    for length in range(len(body)):
        with pytest.raises(DataError):
            IndexTable(body[:length]).verify()
    for extra in (b"\0", b"\0" * 48, b"x" * 32):
        with pytest.raises(DataError):
            IndexTable(body + extra).verify()
    for length in range(INDEX_FIXED_BYTES + 4):
        with pytest.raises(Truncated):
            IndexTable(body[:length])


def test_every_bit_flip_is_seen_by_verify_and_breaks_no_lookup() -> None:
    entries = made(20)
    body = encode_index(entries.items())
    canonical = 0
    for at in range(len(body)):
        for bit in (0, 3, 7):
            changed = bytearray(body)
            changed[at] ^= 1 << bit
            with pytest.raises(DataError):
                IndexTable(bytes(changed)).verify()
            canonical += forged_is_refused_or_canonical(rehashed(bytes(changed)), list(entries))
    assert canonical


def forged_is_refused_or_canonical(body: bytes, wanted: list[ChunkId]) -> bool:
    try:
        table = IndexTable(body)
    except DataError:
        return False
    for one in wanted:
        try:
            table.find(one)
        except Malformed:
            continue
    try:
        table.verify()
    except DataError:
        return False
    assert rewritten(table) == body
    return True


def test_forged_numbers_are_refused_where_they_are_met() -> None:
    entries = made(1, PACKS[:1])
    (wanted,) = entries
    body = encode_index(entries.items())
    entry = HEADER_BYTES + 32
    for at, value in ((entry + 32, 1), (entry + 44, 0), (entry + 40, (1 << 32) - 1)):
        forged = IndexTable(rehashed(body[:at] + value.to_bytes(4, "little") + body[at + 4 :]))
        with pytest.raises(Malformed):
            forged.find(wanted)
        with pytest.raises(Malformed):
            forged.verify()
    at = entry + ENTRY_BYTES
    with pytest.raises(Malformed, match="fanout"):
        IndexTable(body[:at] + (2).to_bytes(4, "little") + body[at + 4 :])
    with pytest.raises(Corrupt):
        IndexTable(body[:-1] + bytes([body[-1] ^ 1])).verify()


@pytest.mark.parametrize("first", [17, (1 << 32) - 1])
def test_a_forged_fanout_is_refused_by_the_lookup_that_meets_it(first: int) -> None:
    body = encode_index(made(16).items())
    at = len(body) - 36 - 8
    table = IndexTable(body[:at] + first.to_bytes(4, "little") + body[at + 4 :])
    for wanted in (ChunkId(b"\x01" * 32), ChunkId(b"\xff" * 32)):
        with pytest.raises(Malformed, match="fanout"):
            table.find(wanted)


def test_forged_counts_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encode_index(made(3).items())
    with pytest.raises(Truncated):
        IndexTable(body[:-36] + b"\xff\xff\xff\xff" + body[-32:])
    with pytest.raises(TooLarge):
        IndexTable(body[:12] + b"\xff\xff\xff\xff" + body[16:])
    monkeypatch.setattr(index, "MAX_PACKS", 2)
    with pytest.raises(TooLarge):
        IndexWriter(0, PACKS[:3])


_tables = st.lists(st.dictionaries(st.integers(0, 12).map(chunk), _locations, max_size=8), max_size=4)


@settings(max_examples=80, deadline=None)
@given(_tables, st.frozensets(st.sampled_from(PACKS), max_size=4))
def test_merging_lets_the_newest_win_that_is_not_given_up(layers: list[Entries], dropped: frozenset[PackId]) -> None:
    model: Entries = {}
    for layer in layers:
        model.update({one: at for one, at in layer.items() if at.pack not in dropped})
    merged = list(merge_indexes([IndexTable(encode_index(layer.items())) for layer in layers], dropped))
    assert merged == sorted(model.items(), key=lambda row: row[0])


def test_merging_streams_into_a_writer() -> None:
    old, new = made(500), {one: at._replace(segment=99) for one, at in made(700).items() if at.length > 300}
    tables = [IndexTable(encode_index(layer.items())) for layer in (old, new)]
    writer = IndexWriter(sum(map(len, tables)), PACKS)
    rows: Iterator[tuple[ChunkId, Location]] = merge_indexes(tables, frozenset())
    assert b"".join([*writer.feed(rows), writer.finish()]) == encode_index((old | new).items())
