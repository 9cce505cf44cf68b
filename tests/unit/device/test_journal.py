from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Malformed
from wain.base.ids import DeviceId, PackId, RegistrationId, SeedId
from wain.chunk.names import ChunkType
from wain.device.journal import (
    MAX_STORED_PACK,
    RECORD_BYTES,
    Chain,
    End,
    JournalPack,
    Start,
    check_placement,
    order_hash,
    replay,
)
from wain.pageblob.layout import Placement

START = Start(DeviceId(b"D" * 16), SeedId(b"S" * 16), RegistrationId(b"R" * 16), order_hash("branch-7"))
END = End(b"M" * 32, 1234)
BLOCK = 4096


def packs(count, size=2 * BLOCK, per_blob=3):
    return [
        JournalPack(
            PackId(bytes([number]) * 32),
            ChunkType(number % 3 + 1),
            Placement(number // per_blob, number % per_blob * size, size),
        )
        for number in range(count)
    ]


def journal(*wanted, end=None):
    chain = Chain()
    body = chain.start(START) + b"".join(chain.pack(pack) for pack in wanted)
    return body + (chain.end(end) if end else b"")


def test_a_journal_replays():
    wanted = packs(7)
    body = journal(*wanted, end=END)
    assert len(body) == 9 * RECORD_BYTES
    found = replay(body)
    assert found.start == START
    assert found.packs == tuple(wanted)
    assert found.end == END
    assert found.records == 9


def test_writing_goes_on_where_a_replay_ended():
    wanted = packs(6)
    found = replay(journal(*wanted[:4]))
    chain = Chain(found.records, found.head)
    body = journal(*wanted[:4]) + chain.pack(wanted[4]) + chain.pack(wanted[5])
    assert body == journal(*wanted)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5 * RECORD_BYTES), st.binary(max_size=700))
def test_any_cut_and_any_torn_tail_leave_the_prefix(cut, tail):
    wanted = packs(4)
    whole = journal(*wanted)
    body = whole[:cut]
    found = replay(body + bytes(-len(body) % RECORD_BYTES) + tail)
    kept = cut // RECORD_BYTES
    assert found.records == kept
    assert found.packs == tuple(wanted[: max(0, kept - 1)])
    assert (found.start is None) == (kept == 0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5 * RECORD_BYTES * 8 - 1))
def test_a_flipped_bit_ends_the_journal_before_its_record(bit):
    wanted = packs(4)
    body = bytearray(journal(*wanted))
    body[bit // 8] ^= 1 << bit % 8
    assert replay(bytes(body)).records == bit // 8 // RECORD_BYTES


def test_records_of_another_journal_do_not_chain():
    wanted = packs(4)
    other = Chain()
    other.start(replace(START, seed=SeedId(b"T" * 16)))
    strangers = b"".join(other.pack(pack) for pack in wanted)
    mine = journal(wanted[0])
    assert replay(mine + strangers[RECORD_BYTES:]).packs == (wanted[0],)


def test_reserved_zeros_are_no_records():
    assert replay(journal(*packs(2)) + bytes(64 * 1024)).records == 3
    assert replay(bytes(4096)).start is None
    assert replay(b"").records == 0


def _with(make):
    chain = Chain()
    return chain.start(START) + make(chain)


PACK = packs(1)[0]


@pytest.mark.parametrize(
    "body",
    [
        Chain().pack(PACK),
        Chain().end(END),
        _with(lambda chain: chain.start(START)),
        _with(lambda chain: chain.end(END) + chain.pack(PACK)),
        _with(lambda chain: chain.end(END) + chain.end(END)),
        _with(lambda chain: chain.pack(PACK) + chain.pack(replace(PACK, placement=Placement(0, 2 * BLOCK, 2 * BLOCK)))),
        _with(lambda chain: chain.pack(replace(PACK, placement=Placement(0, BLOCK, 2 * BLOCK)))),
        _with(lambda chain: chain._record(9, b"")),
        _with(lambda chain: chain._record(3, b"M" * 40 + b"x")),
        _with(lambda chain: chain._record(2, PACK.id + b"\x04" + bytes(12) + b"\0\x20\0\0")),
    ],
    ids=[
        "pack first",
        "end first",
        "two starts",
        "pack behind end",
        "two ends",
        "same pack",
        "gap",
        "kind",
        "tail",
        "type",
    ],
)
def test_chained_records_that_make_no_sense_are_refused(body):
    with pytest.raises(Malformed):
        replay(body)


@pytest.mark.parametrize(
    ("previous", "here"),
    [
        (None, Placement(0, BLOCK, 2 * BLOCK)),
        (None, Placement(0, 0, BLOCK)),
        (None, Placement(0, 0, 0)),
        (None, Placement(0, 0, 2 * BLOCK + 512)),
        (None, Placement(0, 0, MAX_STORED_PACK + BLOCK)),
        (None, Placement(100_000, 0, 2 * BLOCK)),
        (Placement(0, 0, 2 * BLOCK), Placement(0, 0, 2 * BLOCK)),
        (Placement(0, 0, 2 * BLOCK), Placement(0, 3 * BLOCK, 2 * BLOCK)),
        (Placement(0, 0, 2 * BLOCK), Placement(1, BLOCK, 2 * BLOCK)),
        (Placement(1, 0, 2 * BLOCK), Placement(0, 0, 2 * BLOCK)),
        (Placement(0, (4 << 40) - 2 * BLOCK, 2 * BLOCK), Placement(0, 4 << 40, 2 * BLOCK)),
    ],
)
def test_places_that_cannot_be(previous, here):
    with pytest.raises(Malformed):
        check_placement(previous, here, "it")


def test_places_that_can_be():
    check_placement(None, Placement(0, 0, 2 * BLOCK), "it")
    check_placement(None, Placement(5, 0, MAX_STORED_PACK), "it")
    check_placement(Placement(0, 0, 2 * BLOCK), Placement(0, 2 * BLOCK, 2 * BLOCK), "it")
    check_placement(Placement(0, 0, 2 * BLOCK), Placement(3, 0, 2 * BLOCK), "it")
