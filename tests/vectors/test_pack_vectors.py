"""Packs: frozen bytes, and how each must end, without keys (`keyless`) and for who holds the restore key (`expect`).

The bytes were laid out from pack/FORMAT.md, not by the code under test. A vector that is `like` another one is that
one's bytes, changed: cut or padded with zeros to `length`, then overwritten. Its own bytes are the changes: offset (4),
length (4), bytes, and so on.
"""

from itertools import pairwise

import pytest

from vectors.frozen import Vector, error_name, vectors
from wain.base.ids import PackId
from wain.chunk.names import Namer
from wain.keys.secret import Secret, restore_key, write_keys
from wain.pack.cipher import PackCipher, unwrap
from wain.pack.format import FOOTER_BYTES, HEADER_BYTES, decode_footer, decode_header, encode_footer, encode_header
from wain.pack.format import encode_index as encode_pack_index
from wain.pack.reader import PackReader
from wain.pack.segment import check_chunks
from wain.pack.verify import LeafVerifier, verify_pack

PACKS = vectors("pack")
BY_NAME = {vector.name: vector for vector in PACKS}


def stored(vector: Vector) -> bytes:
    if "like" not in vector.facts:
        return vector.body
    base = BY_NAME[vector.facts["like"]].body
    size = int(vector.facts.get("length", len(base)))
    body = bytearray(base[:size].ljust(size, b"\0"))
    at = 0
    while at < len(vector.body):
        offset, length = (int.from_bytes(vector.body[one : one + 4], "little") for one in (at, at + 4))
        body[offset : offset + length] = vector.body[at + 8 : at + 8 + length]
        at += 8 + length
    assert len(body) == size
    return bytes(body)


def name_of(vector: Vector) -> PackId:
    return PackId(bytes.fromhex(vector.facts["pack"]))


def open_all(vector: Vector) -> dict[str, bytes]:
    """Read everything that a restore could, and name every chunk again."""
    secret = Secret(bytes.fromhex(vector.facts["secret"]))
    body = stored(vector)
    reader = PackReader(lambda at, size: body[at : at + size], len(body), name_of(vector), restore_key(secret))
    namer = Namer(write_keys(secret).chunk_keys)
    for number in range(len(reader.index.segments)):
        chunks = [(one.chunk, one.length) for one in reader.index.chunks if one.segment == number]
        check_chunks(reader.segment(number), reader.kind, chunks, namer)
    return {one.chunk.hex(): reader.chunk(one) for one in reader.index.chunks}


def stream(vector: Vector) -> None:
    body = stored(vector)
    verifier = LeafVerifier(name_of(vector), len(body))
    for at, end in pairwise([*range(0, len(body), 1000), len(body)]):
        verifier.feed(body[at:end])
    verifier.finish()


@pytest.mark.parametrize("vector", PACKS, ids=lambda vector: vector.name)
def test_opened_with_the_key(vector: Vector) -> None:
    assert error_name(lambda: open_all(vector)) == vector.expect


@pytest.mark.parametrize("vector", PACKS, ids=lambda vector: vector.name)
def test_verified_without_keys(vector: Vector) -> None:
    assert error_name(lambda: verify_pack(stored(vector), name_of(vector))) == vector.facts["keyless"]
    assert error_name(lambda: stream(vector)) == vector.facts["keyless"]


@pytest.mark.parametrize("vector", [one for one in PACKS if one.expect == "ok"], ids=lambda vector: vector.name)
def test_good_packs_are_what_we_would_write(vector: Vector) -> None:
    body = stored(vector)
    found = open_all(vector)
    assert sorted(found.values()) == sorted(bytes.fromhex(one) for one in vector.facts["chunks"].split())
    header, footer = decode_header(body[:HEADER_BYTES]), decode_footer(body[-FOOTER_BYTES:])
    assert encode_header(header) == body[:HEADER_BYTES]
    assert encode_footer(footer) == body[-FOOTER_BYTES:]
    key = restore_key(Secret(bytes.fromhex(vector.facts["secret"])))
    reader = PackReader(lambda at, size: body[at : at + size], len(body), name_of(vector), key)
    cipher = PackCipher(unwrap(header, key), header.salt, header.registration, header.kind)
    end = footer.index_offset + footer.index_bytes
    assert cipher.seal_index(encode_pack_index(reader.index)) == body[footer.index_offset : end]
    for number, row in enumerate(reader.index.segments):
        sealed = body[row.offset : row.offset + row.stored]
        packed = cipher.open_segment(number, row.plain, row.codec, sealed)
        again = cipher.seal_segment(number, row.plain, row.codec, packed)
        assert again == sealed


def test_there_are_good_and_bad_vectors() -> None:
    ends = {vector.expect for vector in PACKS}
    assert ends == {
        "ok",
        "Truncated",
        "WrongMagic",
        "UnknownVersion",
        "Malformed",
        "TooLarge",
        "Corrupt",
        "CommitmentMismatch",
    }
    assert len(PACKS) >= 35
