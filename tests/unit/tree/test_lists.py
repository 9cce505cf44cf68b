"""Chunk lists: round trip, caps, cuts."""

import pytest

from unit.tree.samples import chunk
from wain.base.errors import DataError, Malformed, TooLarge, Truncated
from wain.base.ids import HASH_BYTES
from wain.tree.lists import LIST_CHUNKS, LIST_HEADER_BYTES, decode_list, encode_list


@pytest.mark.parametrize("count", [1, 2, LIST_CHUNKS])
def test_lists_survive_the_round_trip(count: int) -> None:
    chunks = tuple(chunk(number) for number in range(count))
    body = encode_list(chunks)
    assert decode_list(body) == chunks
    assert len(body) == LIST_HEADER_BYTES + count * HASH_BYTES


@pytest.mark.parametrize("count", [0, LIST_CHUNKS + 1])
def test_empty_and_overlong_lists_are_not_written(count: int) -> None:
    with pytest.raises(Malformed):
        encode_list([chunk(1)] * count)


def test_forged_counts_are_refused() -> None:
    body = encode_list([chunk(1)])
    for count, error in ((0, Malformed), (2, Truncated), (LIST_CHUNKS + 1, TooLarge)):
        with pytest.raises(error):
            decode_list(body[:10] + count.to_bytes(4, "little") + body[14:])


def test_cut_lengthened_or_changed_lists_are_refused_or_canonical() -> None:
    body = encode_list([chunk(1), chunk(2)])
    for length in range(len(body)):
        with pytest.raises(Truncated):
            decode_list(body[:length])
    with pytest.raises(Malformed):
        decode_list(body + b"\0")
    for at in range(len(body)):
        changed = bytes(byte ^ (at == here) for here, byte in enumerate(body))
        try:
            assert encode_list(decode_list(changed)) == changed
        except DataError:
            assert at < LIST_HEADER_BYTES
