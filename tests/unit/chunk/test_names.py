import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.chunk.names import ChunkType, Namer
from wain.keys.secret import CHUNK_TYPES, Secret, write_keys

KEYS = (bytes(32), b"\1" * 32, b"\2" * 32)
FROZEN = {
    ChunkType.DATA: "f76855b070a01f104ffe7461f0783e134cf67999c0d51b88ae34538704ff6b02",
    ChunkType.TREE: "e6d2a0fe85d7033179ff4ca5c5dbf5df62779bbaa1e509057f58c16d42e88db4",
    ChunkType.INDEX: "fbc0772526dd4c8076113e7e7bb8451a64392439cfc8c25c68ef754a6a397bd4",
}


@pytest.mark.parametrize("kind", ChunkType)
def test_names_are_frozen(kind):
    assert Namer(KEYS).name(kind, b"chunk").hex() == FROZEN[kind]


def test_types_stand_in_the_order_of_their_keys():
    assert [kind.name.lower() for kind in ChunkType] == list(CHUNK_TYPES)
    assert [int(kind) for kind in ChunkType] == [1, 2, 3]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=5000))
def test_a_view_has_the_name_of_its_bytes(body):
    namer = Namer(KEYS)
    assert namer.name(ChunkType.DATA, memoryview(b"x" + body)[1:]) == namer.name(ChunkType.DATA, body)


def test_other_type_other_name_other_registration_other_name():
    namers = [Namer(write_keys(Secret(bytes([number]) * 32)).chunk_keys) for number in range(2)]
    names = [namer.name(kind, b"a known file") for namer, kind in itertools.product(namers, ChunkType)]
    assert len(set(names)) == 6


def test_a_namer_shows_no_key():
    assert repr(Namer(KEYS)) == "Namer(...)"
