"""Packs: what goes in comes out, nothing else opens, and no bit moves unseen."""

import os
import random
import tracemalloc
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.pack.packing import KEY, NAMER, OWNER, RESTORE, SALT, WholeWriter, pack, segment
from wain.base.errors import CommitmentMismatch, Corrupt, DataError, Malformed, TooLarge, Truncated
from wain.base.ids import PackId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.keys.secret import Secret, restore_key
from wain.pack import segment as segments
from wain.pack.cipher import PackCipher, PackKey
from wain.pack.format import (
    FOOTER_BYTES,
    LEAF_BYTES,
    Codec,
    decode_footer,
    decode_header,
    decode_index,
    encode_footer,
    encode_header,
    pack_id,
)
from wain.pack.reader import PackReader
from wain.pack.verify import LeafVerifier, damaged_leaves, leaf_hashes, verify_pack
from wain.pack.writer import PackFor, SealedPack

BODIES = st.lists(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), min_size=1, max_size=4)


def reader(one: SealedPack, stored: bytes | None = None, key=RESTORE) -> PackReader:
    body = one.stored if stored is None else stored
    return PackReader(lambda at, size: body[at : at + size], len(body), one.id, key)


@settings(max_examples=50, deadline=None)
@given(BODIES)
def test_every_chunk_comes_back(bodies: list[list[bytes]]) -> None:
    one = pack(bodies)
    opened = reader(one)
    assert [opened.chunk(chunk) for chunk in opened.index.chunks] == [body for run in bodies for body in run]
    assert opened.index.chunks == one.chunks
    assert len(one.stored) % 4096 == 0
    verify_pack(one.stored, one.id)


@pytest.mark.parametrize("kind", ChunkType)
def test_header_and_footer_are_canonical(kind: ChunkType) -> None:
    one = pack([[b"x"]], kind)
    assert encode_header(decode_header(one.stored[:4096])) == one.stored[:4096]
    assert encode_footer(decode_footer(one.stored[-FOOTER_BYTES:])) == one.stored[-FOOTER_BYTES:]


def test_any_flipped_bit_is_found_without_keys_and_named_to_its_leaf() -> None:
    one = pack([[os.urandom(700_000)] for _ in range(4)])
    dice = random.Random(7)
    for at in [0, 4095, 4096, len(one.stored) - 1, *(dice.randrange(len(one.stored)) for _ in range(60))]:
        stored = bytearray(one.stored)
        stored[at] ^= 1 << dice.randrange(8)
        part = "footer page" if at >= len(stored) - FOOTER_BYTES else f"leaf {at // LEAF_BYTES} (bytes"
        with pytest.raises(Corrupt, match=f"pack {one.id.hex()}") as caught:
            verify_pack(bytes(stored), one.id)
        assert part in str(caught.value)
        stream = LeafVerifier(one.id, len(stored))
        stream.feed(stored)
        with pytest.raises(Corrupt) as streamed:
            stream.finish()
        assert str(streamed.value) == str(caught.value)


def test_no_flipped_bit_ever_gives_a_wrong_byte() -> None:
    bodies = [[b"a" * 5000, os.urandom(3000)], [b"b" * 100]]
    one = pack(bodies)
    for at in range(0, len(one.stored), 7):
        stored = bytearray(one.stored)
        stored[at] ^= 1
        try:
            opened = reader(one, bytes(stored))
            found = [opened.chunk(chunk) for chunk in opened.index.chunks]
        except DataError:
            continue
        assert found == [body for run in bodies for body in run], f"byte {at}: wrong content was returned"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=30))
def test_the_streaming_verifier_does_not_care_how_bytes_arrive(sizes: list[int]) -> None:
    one = STREAMED
    stream = LeafVerifier(one.id, len(one.stored))
    at, turn = 0, 0
    while at < len(one.stored):
        step = sizes[turn % len(sizes)] * 37
        stream.feed(one.stored[at : at + step])
        at, turn = at + step, turn + 1
    assert stream.finish() == decode_footer(one.stored[-FOOTER_BYTES:])


STREAMED = pack([[os.urandom(1_300_000)], [os.urandom(900_000)]])


def test_a_short_pack_is_truncated_wherever_it_was_cut() -> None:
    one = pack([[b"x" * 9000]])
    for size in (0, 1, 4096, 8192, len(one.stored) - 1):
        with pytest.raises(DataError):
            verify_pack(one.stored[:size], one.id)
        with pytest.raises(Truncated):  # noqa: PT012
            stream = LeafVerifier(one.id, len(one.stored))
            stream.feed(one.stored[:size])
            stream.finish()


def test_swapped_footers_are_found() -> None:
    one, other = pack([[b"one" * 2000]]), pack([[b"two" * 2000]], salt=b"t" * 32)
    mixed = bytes(one.stored[:-FOOTER_BYTES]) + bytes(other.stored[-FOOTER_BYTES:])
    for expected in (one.id, other.id):
        with pytest.raises(Corrupt):
            verify_pack(mixed, expected)
    assert damaged_leaves(mixed[:-FOOTER_BYTES], decode_footer(mixed[-FOOTER_BYTES:])) == [0]


def test_another_restore_key_does_not_open_it() -> None:
    with pytest.raises(CommitmentMismatch, match="does not open with this key"):
        reader(pack([[b"x"]]), key=restore_key(Secret(bytes(32))))


def test_a_key_the_header_does_not_commit_to_is_refused_before_decryption() -> None:
    with pytest.raises(CommitmentMismatch):
        reader(pack([[b"x"]]), key=PackKey(b"other key 32 bytes long, really!"))


@pytest.mark.parametrize("kind", [kind for kind in ChunkType if kind is not ChunkType.DATA])
def test_a_pack_relabelled_as_another_type_does_not_open(kind: ChunkType) -> None:
    one = pack([[b"content that claims to be a tree"]])
    stored = bytearray(one.stored)
    stored[10] = kind
    footer = bytearray(stored[-FOOTER_BYTES:])
    footer[10] = kind
    body = bytes(stored[:-FOOTER_BYTES])
    good = decode_footer(bytes(footer))

    page = encode_footer(replace(good, leaves=leaf_hashes(memoryview(body))))
    forged = SealedPack(pack_id(page), kind, body + page, ())
    verify_pack(forged.stored, forged.id)  # Who holds no key cannot know better: the key holder must.
    with pytest.raises(DataError):
        _ = reader(forged).index


def test_no_key_and_nonce_is_used_twice() -> None:
    """Two clones of one server seal the same chunks: fresh keys, so nothing repeats."""
    first = pack([[b"same"]], key=PackKey(os.urandom(32)), salt=os.urandom(32))
    second = pack([[b"same"]], key=PackKey(os.urandom(32)), salt=os.urandom(32))
    assert first.chunks == second.chunks
    assert decode_header(first.stored[:4096]).commitment != decode_header(second.stored[:4096]).commitment
    assert first.id != second.id


def test_the_pack_aims_at_its_size_and_an_empty_one_takes_anything() -> None:
    writer = WholeWriter(ChunkType.DATA, PackFor(OWNER.registration, OWNER.restore_public, 64 * 1024), KEY, SALT)
    big, small = segment([os.urandom(200_000)]), segment([os.urandom(20_000)])
    assert writer.has_room(big)
    writer.add(small)
    assert writer.has_room(small)
    assert not writer.has_room(big)
    writer.add(small)
    assert not writer.has_room(small)
    assert len(writer.finish(NAMER).stored) <= 64 * 1024


def test_bad_memory_between_compressing_and_writing_is_caught() -> None:
    """A bit of the compressed segment flips before it is sealed: the pack must not come out."""
    good = segment([b"the only copy " * 500])
    body = bytearray(good.body)
    body[len(body) // 2] ^= 4
    writer = WholeWriter(ChunkType.DATA, OWNER, KEY, SALT)
    writer.add(segments.Segment(good.codec, bytes(body), good.plain, good.chunks))
    with pytest.raises(DataError):
        writer.finish(NAMER)


def test_bad_memory_before_compressing_is_caught() -> None:
    good = segment([os.urandom(4000)])
    body = bytearray(good.body)
    body[7] ^= 1
    assert good.codec is Codec.RAW
    writer = WholeWriter(ChunkType.DATA, OWNER, KEY, SALT)
    writer.add(segments.Segment(good.codec, bytes(body), good.plain, good.chunks))
    with pytest.raises(Corrupt, match="do not give its name"):
        writer.finish(NAMER)


def test_the_index_says_only_what_fits() -> None:
    one = pack([[b"x" * 10, b"y" * 20]])
    cipher = PackCipher(KEY, SALT, OWNER.registration, ChunkType.DATA)
    footer = decode_footer(one.stored[-FOOTER_BYTES:])
    plain = cipher.open_index(one.stored[footer.index_offset : footer.index_offset + footer.index_bytes])
    assert decode_index(plain, footer.index_offset).chunks == one.chunks
    for at in range(len(plain)):
        changed = bytearray(plain)
        changed[at] ^= 0x80
        try:
            again = decode_index(bytes(changed), footer.index_offset)
        except DataError:
            continue
        assert at >= len(plain) - 72, f"byte {at} of the index moved and nobody noticed"
        assert again.chunks != one.chunks
    with pytest.raises(Malformed):
        decode_index(plain + b"\0", footer.index_offset)


def test_a_pack_name_is_the_hash_of_its_footer() -> None:
    one = pack([[b"x"]])
    assert one.id == pack_id(one.stored[-FOOTER_BYTES:])
    with pytest.raises(Corrupt, match="footer page"):
        verify_pack(one.stored, PackId(bytes(32)))


class TestExpanding:
    """Decompression bombs: what the frame says is judged before anything is allocated."""

    def expand_size(self, frame: bytes, plain: int) -> int:
        tracemalloc.start()
        try:
            with pytest.raises(DataError):
                segments.expand(frame, Codec.ZSTD, plain)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_a_frame_that_states_more_than_was_authenticated(self) -> None:
        bomb = zstandard.ZstdCompressor().compress(bytes(256 * MIB))
        assert self.expand_size(bomb, 1024) < MIB

    def test_a_frame_that_states_no_size(self) -> None:
        frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1024)
        assert self.expand_size(frame, 1024) < MIB

    def test_a_second_frame_behind_the_first(self) -> None:
        frame = zstandard.ZstdCompressor().compress(b"x" * 1024)
        assert self.expand_size(frame + frame, 1024) < MIB

    def test_garbage(self) -> None:
        assert self.expand_size(b"garbage, not zstd at all", 1024) < MIB

    def test_a_length_over_the_cap(self) -> None:
        with pytest.raises(TooLarge):
            segments.expand(b"", Codec.RAW, 17 * MIB)

    def test_a_raw_segment_of_another_length(self) -> None:
        with pytest.raises(Corrupt):
            segments.expand(b"abc", Codec.RAW, 4)
