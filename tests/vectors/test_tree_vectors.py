"""Pieces, chunk lists, manifests, details, receipts, chunk indexes: frozen bytes, and the error each must cause.

The bytes were laid out by hand from tree/FORMAT.md and pack/FORMAT-index.md, not by the encoders under test.
"""

from collections.abc import Callable
from typing import Any

import pytest

from vectors.frozen import Vector, error_name, vectors
from wain.pack.index import IndexTable, IndexWriter
from wain.tree.format import decode_piece, encode_entry, encode_piece
from wain.tree.lists import decode_list, encode_list
from wain.tree.manifest import check_signature, decode_details, encode_details, encode_manifest
from wain.tree.receipt import decode_receipt, encode_receipt


def open_index(vector: Vector) -> IndexTable:
    table = IndexTable(vector.body)
    table.verify()
    return table


def write_index(table: IndexTable) -> bytes:
    writer = IndexWriter(len(table), table.packs)
    return b"".join([*writer.feed(table.items()), writer.finish()])


READ: dict[str, Callable[[Vector], Any]] = {
    "tree": lambda vector: decode_piece(vector.body),
    "list": lambda vector: decode_list(vector.body),
    "manifest": lambda vector: check_signature(vector.body, bytes.fromhex(vector.facts["key"])),
    "details": lambda vector: decode_details(vector.body),
    "receipt": lambda vector: decode_receipt(vector.body),
    "index": open_index,
}
WRITE: dict[str, Callable[[Any], bytes]] = {
    "tree": lambda entries: encode_piece([encode_entry(entry) for entry in entries]),
    "list": encode_list,
    "manifest": encode_manifest,
    "details": encode_details,
    "receipt": encode_receipt,
    "index": write_index,
}
CASES = [(folder, vector) for folder in READ for vector in vectors(folder)]


@pytest.mark.parametrize(("folder", "vector"), CASES, ids=[f"{folder}-{vector.name}" for folder, vector in CASES])
def test_frozen_bytes_end_as_they_must(folder: str, vector: Vector) -> None:
    assert error_name(lambda: READ[folder](vector)) == vector.expect
    if vector.expect == "ok":
        assert WRITE[folder](READ[folder](vector)) == vector.body


@pytest.mark.parametrize("folder", READ)
def test_every_format_has_good_and_bad_vectors(folder: str) -> None:
    ends = {vector.expect for vector in vectors(folder)}
    assert {"ok", "Truncated", "WrongMagic", "UnknownVersion", "Malformed"} <= ends
