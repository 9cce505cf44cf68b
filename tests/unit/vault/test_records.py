"""Round trips of the vault's records."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import DataError
from wain.keys.secret import Secret
from wain.vault.records import Deficits, Expired, KeptPoint, Loss, LossReason, Registered, Signer, decode, encode
from wain.wire.vault import Deficit

SIGNER = Signer(Secret(b"v" * 32))
uuids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
moments = st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
hash_lists = st.sets(hashes, min_size=1, max_size=5).map(lambda found: tuple(sorted(found)))
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)
deficits = st.tuples(hash_lists, texts).map(lambda pair: tuple(Deficit(h, pair[1]) for h in pair[0]))
records = st.one_of(
    st.builds(Registered, uuids, texts, hashes, st.binary(min_size=1216, max_size=1216), moments),
    st.builds(KeptPoint, moments, st.binary(max_size=300)),
    st.builds(Expired, uuids, st.integers(1, (1 << 32) - 1), hashes, moments, moments),
    st.builds(Loss, uuids, moments, st.sampled_from(LossReason), hash_lists),
    st.builds(Deficits, uuids, uuids, moments, deficits),
)


@settings(max_examples=100, deadline=None)
@given(records)
def test_a_record_comes_back(record):
    assert decode(type(record), encode(record, SIGNER)) == record


@settings(max_examples=100, deadline=None)
@given(records, st.data())
def test_no_changed_byte_passes(record, data):
    body = bytearray(encode(record, SIGNER))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataError):
        decode(type(record), bytes(body))


def test_the_signer_shows_no_secret():
    assert (b"v" * 32).hex() not in repr(SIGNER)
