"""Looking into encoded entries without decoding them: held against the codec."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Truncated
from wain.base.ids import ChunkId
from wain.tree.compare import (
    chunks_of,
    is_listed,
    kind_and_size,
    plain_entry,
    same,
    single_chunk,
    split_entries,
    stat_key,
)
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.format import decode_piece, encode_entry, encode_piece

CHUNK = ChunkId(b"c" * 32)
STATS = st.builds(
    Stat,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.integers(1, 1 << 20),
    mtime_ns=st.integers(-(2**70), 2**70),
    ctime_ns=st.integers(-(2**70), 2**70),
    inode=st.integers(0, 2**64 - 1),
    device=st.integers(0, 2**16 - 1),
    links=st.integers(0, 2**32 - 1),
)
NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")
)


def key_of(stat: Stat) -> bytes:
    return stat_key(tuple(getattr(stat, name) for name in Stat.__slots__))  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(STATS, NAMES)
def test_the_key_is_what_the_codec_writes(stat: Stat, name: bytes) -> None:
    entry = Entry(name, Kind.FILE, stat, Content((CHUNK,)))
    encoded = encode_entry(entry)
    assert same(encoded, Kind.FILE, key_of(stat))
    assert not same(encoded, Kind.FIFO, key_of(stat))
    assert plain_entry(Kind.FILE, name, key_of(stat), CHUNK) == encoded
    assert decode_piece(encode_piece([plain_entry(Kind.FILE, name, key_of(stat), CHUNK)])) == [entry]
    assert single_chunk(encoded) == CHUNK
    assert kind_and_size(encoded) == (Kind.FILE, stat.size)


@pytest.mark.parametrize("name", Stat.__slots__)
def test_every_field_of_a_stat_counts(name: str) -> None:
    stat = Stat(0o644, 1, 2, 3, 4 * 10**9 + 5, 6 * 10**9 + 7, 8, 9, 10)
    encoded = encode_entry(Entry(b"x", Kind.FILE, stat, Content((CHUNK,))))
    assert not same(encoded, Kind.FILE, key_of(replace(stat, **{name: getattr(stat, name) + 1})))


@pytest.mark.parametrize(
    "change", [{"device": 2**16}, {"uid": 2**32}, {"links": 2**32}, {"mtime_ns": 10**9 * 2**63}, {"inode": -1}]
)
def test_a_stat_that_no_entry_can_carry_is_the_same_as_none(change: dict[str, int]) -> None:
    stat = Stat(0o644, 1, 2, 3, 4, 5, 6, 7, 8)
    encoded = encode_entry(Entry(b"x", Kind.FILE, stat, Content((CHUNK,))))
    assert not same(encoded, Kind.FILE, key_of(replace(stat, **change)))


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (Content(), 0),
        (Content((CHUNK,)), 5),
        (Content((CHUNK, ChunkId(b"d" * 32))), 9_000_000),
        (Content((CHUNK,), ((5, 5),)), 20),
        (Content((), ((20, 0),)), 20),
        (Content((CHUNK,), (), listed=True), 20),
    ],
)
@pytest.mark.parametrize("xattrs", [(), ((b"user.a", b"1" * 40),)])
def test_chunks_of_every_shape(content: Content, size: int, xattrs: tuple[tuple[bytes, bytes], ...]) -> None:
    stat = Stat(0o644, 1, 2, size, 4, 5, 6, 7, 8)
    encoded = encode_entry(Entry(b"name", Kind.FILE, stat, content, xattrs=xattrs))
    assert chunks_of(encoded) == content.chunks
    assert is_listed(encoded) == content.listed
    one = len(content.chunks) == 1 and not content.extents
    assert single_chunk(encoded) == (content.chunks[0] if one else None)


def test_entries_end_to_end_are_split_again() -> None:
    entries = {
        name: encode_entry(Entry(name, Kind.SYMLINK, Stat(0o777, 0, 0, 1, 0, 0, 1, 0, 1), target=name * 2))
        for name in (b"a", b"b" * 255, b"c\xff")
    }
    body = b"".join(entries.values())
    assert split_entries(body) == entries
    for cut in (1, 89, 90, len(body) - 1):
        with pytest.raises(Truncated):
            split_entries(body[:cut])
