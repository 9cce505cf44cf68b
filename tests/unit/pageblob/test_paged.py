import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Corrupt, DataError, TooLarge, Truncated
from wain.pageblob.paged import HEADER_BYTES, decode_paged, encode_paged, paged_bytes


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_a_body_comes_back_and_fills_whole_pages(body):
    stored = encode_paged(body)
    assert len(stored) % 512 == 0
    assert len(stored) - HEADER_BYTES - len(body) < 512
    assert paged_bytes(stored[:512], "it") == len(stored)
    assert decode_paged(stored) == body
    assert decode_paged(memoryview(stored)) == body


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_flipped_bit_is_found(data):
    stored = bytearray(encode_paged(b"some body " * 30))
    bit = data.draw(st.integers(0, len(stored) * 8 - 1))
    stored[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DataError):
        decode_paged(bytes(stored))


@pytest.mark.parametrize("cut", [0, 1, 9, 49, 50, 511, 512, 600])
def test_every_cut_is_found(cut):
    with pytest.raises(Truncated):
        decode_paged(encode_paged(b"x" * 700)[:cut])


def test_a_page_too_many_is_refused():
    with pytest.raises(DataError):
        decode_paged(encode_paged(b"x") + bytes(512))


def test_a_length_over_the_cap_is_refused_before_it_is_read():
    stored = encode_paged(b"x" * 100)
    assert decode_paged(stored, cap=100) == b"x" * 100
    with pytest.raises(TooLarge):
        decode_paged(stored, cap=99)
    with pytest.raises(TooLarge):
        paged_bytes(stored[:512], "it", cap=99)


def test_a_changed_body_is_corrupt():
    stored = bytearray(encode_paged(b"abc"))
    stored[HEADER_BYTES] ^= 1
    with pytest.raises(Corrupt):
        decode_paged(bytes(stored))
