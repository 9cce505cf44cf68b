"""The pending log and pack lists: any prefix replays, nothing damaged is believed."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.agent.pending import (
    RECORD_FIXED_BYTES,
    RECORD_FRAME_BYTES,
    PendingLog,
    decode_record,
    decode_refs,
    encode_record,
    encode_refs,
)
from wain.base.errors import DataError, OutOfSpace, WriteFailed
from wain.base.ids import ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.format import PackedChunk
from wain.tree.manifest import PackRef

U32 = st.integers(0, 2**32 - 1)
REFS = st.builds(
    PackRef,
    st.binary(min_size=32, max_size=32).map(PackId),
    st.sampled_from(ChunkType),
    st.integers(1, 80 << 20),
)
CHUNKS = st.lists(st.builds(PackedChunk, st.binary(min_size=32, max_size=32).map(ChunkId), U32, U32, U32), max_size=5)


def ref(number: int) -> PackRef:
    return PackRef(PackId(bytes([number]) * 32), ChunkType.DATA, 4096 * number)


def chunk(number: int) -> PackedChunk:
    return PackedChunk(ChunkId(bytes([number]) * 32), number, 0, 1)


def filled(path: Path, count: int = 3) -> list[tuple[PackRef, tuple[PackedChunk, ...]]]:
    log = PendingLog(path)
    rows = [(ref(number), (chunk(number), chunk(number + 100))) for number in range(1, count + 1)]
    for one, chunks in rows:
        log.append(one, chunks)
    log.close()
    return rows


@settings(max_examples=60, deadline=None)
@given(REFS, CHUNKS)
def test_records_round_trip(one: PackRef, chunks: list[PackedChunk]) -> None:
    body = encode_record(one, chunks)
    assert decode_record(body) == (one, tuple(chunks))
    assert len(body) == RECORD_FIXED_BYTES - RECORD_FRAME_BYTES + 44 * len(chunks)
    for wrong in (body[:-1], body + b"\0", body[:32] + b"\x09" + body[33:], body[:33] + bytes(4) + body[37:]):
        with pytest.raises(DataError):
            decode_record(wrong)


@settings(max_examples=60, deadline=None)
@given(st.lists(REFS, max_size=5))
def test_pack_lists_round_trip(refs: list[PackRef]) -> None:
    body = encode_refs(refs)
    assert decode_refs(body) == refs
    for wrong in (body[:-1], body + b"\0", b"x" + body[1:], body[:12] + b"\xff" + body[13:], b""):
        with pytest.raises(DataError):
            decode_refs(wrong)


def test_what_was_appended_replays(tmp_path: Path) -> None:
    rows = filled(tmp_path / "log")
    log = PendingLog(tmp_path / "log")
    assert list(log.replay()) == rows
    assert log.packs == [one for one, _ in rows]
    log.append(ref(9), [])
    log.close()
    assert len(list(PendingLog(tmp_path / "log").replay())) == 4
    log.clear()
    assert list(log.replay()) == []
    assert not log.packs


def test_any_prefix_replays_and_can_be_gone_on_with(tmp_path: Path) -> None:
    rows = filled(tmp_path / "log")
    good = (tmp_path / "log").read_bytes()
    each = len(good) // len(rows)
    assert each == RECORD_FIXED_BYTES + 88
    for keep in range(len(good) + 1):
        (tmp_path / "log").write_bytes(good[:keep])
        log = PendingLog(tmp_path / "log")
        assert list(log.replay()) == rows[: keep // each]
        log.append(ref(7), [chunk(7)])
        log.close()
        assert [one for one, _ in PendingLog(tmp_path / "log").replay()] == [*log.packs]


def test_a_flipped_bit_ends_the_replay_before_it(tmp_path: Path) -> None:
    rows = filled(tmp_path / "log")
    good = (tmp_path / "log").read_bytes()
    each = len(good) // len(rows)
    for at in range(0, len(good), 3):
        body = bytearray(good)
        body[at] ^= 1
        (tmp_path / "log").write_bytes(body)
        assert list(PendingLog(tmp_path / "log").replay()) == rows[: at // each]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_an_error_of_the_target(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises((OutOfSpace, WriteFailed)):
        PendingLog(tmp_path / "log").append(ref(1), [])
