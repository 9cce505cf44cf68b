"""Pieces, chunk lists, manifests, details, receipts, chunk indexes: frozen bytes, and the error each must cause.

The bytes were laid out by hand from tree/FORMAT.md and pack/FORMAT-index.md, not by the encoders under test.
"""

from collections.abc import Callable

import pytest
from vectors.frozen import Vector, error_name, vectors

from wain.pack.index import IndexTable, IndexWriter
from wain.tree.format import decode_piece, encode_entry, encode_piece
from wain.tree.lists import decode_list, encode_list
from wain.tree.manifest import check_signature, decode_details, encode_details, encode_manifest
from wain.tree.receipt import decode_receipt, encode_receipt


def index_again(body: bytes) -> bytes:
    table = IndexTable(body)
    table.verify()
    writer = IndexWriter(len(table), table.packs)
    return b"".join([*writer.feed(table.items()), writer.finish()])


READ_AND_WRITE: dict[str, Callable[[Vector], bytes]] = {
    "tree": lambda vector: encode_piece([encode_entry(entry) for entry in decode_piece(vector.body)]),
    "list": lambda vector: encode_list(decode_list(vector.body)),
    "manifest": lambda vector: encode_manifest(check_signature(vector.body, bytes.fromhex(vector.facts["key"]))),
    "details": lambda vector: encode_details(decode_details(vector.body)),
    "receipt": lambda vector: encode_receipt(decode_receipt(vector.body)),
    "index": lambda vector: index_again(vector.body),
}
CASES = [(folder, vector) for folder in READ_AND_WRITE for vector in vectors(folder)]


@pytest.mark.parametrize(("folder", "vector"), CASES, ids=[f"{folder}-{vector.name}" for folder, vector in CASES])
def test_frozen_bytes_end_as_they_must(folder: str, vector: Vector) -> None:
    again = READ_AND_WRITE[folder]
    assert error_name(lambda: again(vector)) == vector.expect
    if vector.expect == "ok":
        assert again(vector) == vector.body


@pytest.mark.parametrize("folder", READ_AND_WRITE)
def test_every_format_has_good_and_bad_vectors(folder: str) -> None:
    ends = {vector.expect for vector in vectors(folder)}
    assert {"ok", "Truncated", "WrongMagic", "UnknownVersion", "Malformed"} <= ends
