from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Corrupt, DataError, Malformed
from wain.base.ids import DeviceId
from wain.keys.secret import Secret
from wain.keys.signing import public_key
from wain.order.custody import (
    NO_RECORD,
    RECORD_BYTES,
    CustodyRecord,
    Event,
    Handling,
    append,
    check_chain,
    decode_record,
    encode_record,
    record_hash,
)

AGENT, SERVICE = Secret(b"a" * 32), Secret(b"s" * 32)
DEVICE = DeviceId(b"device-id-16byte")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def step(event: Event = Event.PREPARED, **changes) -> Handling:
    return replace(Handling(event, "seed-1", DEVICE, START, "databox"), **changes)


@pytest.fixture
def chain() -> list[CustodyRecord]:
    records: list[CustodyRecord] = []
    for at, event in enumerate(Event):
        signer = AGENT if event in {Event.WRITTEN, Event.READ_BACK, Event.SEALED} else SERVICE
        records.append(append(records[-1] if records else None, step(event, at=START + timedelta(hours=at)), signer))
    return records


def test_a_chain_holds_together(chain):
    check_chain(chain)
    check_chain(chain, frozenset({public_key(AGENT), public_key(SERVICE)}))
    check_chain([])
    assert [record.seq for record in chain] == list(range(1, 12))
    assert chain[0].previous_hash == NO_RECORD
    assert chain[5].previous_hash == record_hash(chain[4]) == blake3(encode_record(chain[4])).digest()


def test_event_words():
    assert [event.words for event in Event] == [
        *("prepared", "handed over", "written", "read back", "sealed", "picked up"),
        *("received", "copied", "imported", "confirmed", "erased"),
    ]


@settings(max_examples=100, deadline=None)
@given(
    event=st.sampled_from(Event),
    order=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{1,22}[A-Za-z0-9]", fullmatch=True),
    device=st.binary(min_size=16, max_size=16),
    at=st.datetimes(START.replace(1678, tzinfo=None), START.replace(2261, tzinfo=None), timezones=st.just(UTC)),
    party=st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=16),
    detail=st.binary(min_size=32, max_size=32),
)
def test_records_come_back(event, order, device, at, party, detail):
    record = append(None, Handling(event, order, DeviceId(device), at, party, detail), AGENT)
    body = encode_record(record)
    assert len(body) == RECORD_BYTES
    assert decode_record(body) == record
    check_chain([record], frozenset({public_key(AGENT)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"order": "ab"},
        {"order": "a" * 25},
        {"order": "seed\ud800"},
        {"party": ""},
        {"party": "p" * 65},
        {"party": "a\nb"},
        {"party": "a\0b"},
        {"party": "\ud800"},
        {"party": "\x9bx"},
        {"at": datetime(2300, 1, 1, tzinfo=UTC)},
        {"at": datetime(1600, 1, 1, tzinfo=UTC)},
    ],
)
def test_steps_that_no_record_can_hold(changes):
    with pytest.raises(Malformed):
        append(None, step(**changes), AGENT)


@pytest.mark.parametrize("changes", [{"order": "seed-2"}, {"device": DeviceId(bytes(16))}])
def test_a_chain_is_about_one_device_and_order(chain, changes):
    with pytest.raises(Malformed, match="another order or device"):
        append(chain[0], step(**changes), AGENT)
    moved = append(None, step(**changes), AGENT)
    with pytest.raises(Corrupt, match=r"record 2 .*"):
        check_chain([chain[0], moved])


def test_every_damage_is_named(chain):
    for at in range(len(chain)):
        number = at + 1
        with pytest.raises(Corrupt, match=rf"record {number} \({chain[at].event.words}\): its signature"):
            check_chain([*chain[:at], replace(chain[at], party="somebody else"), *chain[at + 1 :]])
        if at < len(chain) - 1:
            with pytest.raises(Corrupt, match=rf"record {number} .*it says it is number {number + 1}"):
                check_chain(chain[:at] + chain[at + 1 :])


def test_a_resigned_record_breaks_the_next(chain):
    forged = append(chain[2], step(Event.READ_BACK, party="thief"), AGENT)
    check_chain([*chain[:3], forged])
    with pytest.raises(Corrupt, match=r"record 5 .*does not follow"):
        check_chain([*chain[:3], forged, *chain[4:]])


def test_an_unknown_signer_counts_only_where_anybody_does(chain):
    stranger = append(chain[-1], step(Event.ERASED), Secret(b"x" * 32))
    check_chain([*chain, stranger])
    with pytest.raises(Corrupt, match=r"record 12 .*nobody vouches for"):
        check_chain([*chain, stranger], frozenset({public_key(AGENT), public_key(SERVICE)}))


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, RECORD_BYTES - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(at, bit):
    body = bytearray(encode_record(append(None, step(detail_hash=b"d" * 32), AGENT)))
    body[at] ^= 1 << bit
    with pytest.raises(DataError):
        check_chain([decode_record(bytes(body))])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(noise):
    for body in (noise, b"WAINCUST\x01\x00" + noise):
        with pytest.raises(DataError):
            decode_record(body)
