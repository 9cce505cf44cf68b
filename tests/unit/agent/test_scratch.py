"""Scratch files: nameless, honest about damage, one sentence when there is no room."""

import os
from pathlib import Path

import pytest

from wain.agent import scratch
from wain.agent.scratch import PREFIX, Blocks, sweep
from wain.base.errors import Corrupt, OutOfSpace, WainError

BLOCKS = [b"first", b"", b"\0" * 100_000, bytes(range(256))]


def filled(where: Path) -> Blocks:
    blocks = Blocks(where)
    for block in BLOCKS:
        blocks.add(block)
    return blocks


def test_blocks_come_back_in_any_order(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "made")
    assert list(blocks) == BLOCKS == [blocks.read(number) for number in range(len(blocks))]
    assert blocks.read(3) == BLOCKS[3]
    assert blocks.read(0) == BLOCKS[0]


def test_the_file_has_no_name_and_gives_its_room_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    blocks = filled(tmp_path)
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before + 1
    blocks.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_does_not_read_back_is_not_believed(tmp_path: Path, damage: str) -> None:
    blocks = filled(tmp_path)
    fd = blocks._file.fileno()
    if damage == "cut":
        os.ftruncate(fd, os.fstat(fd).st_size - 1)
    else:
        os.pwrite(fd, b"X", os.fstat(fd).st_size - 1)
    with pytest.raises(Corrupt, match="does not read back"):
        blocks.read(3)
    assert blocks.read(0) == BLOCKS[0]


def test_no_room_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w+b", buffering=0)  # noqa: SIM115 (closed by the blocks)
    monkeypatch.setattr(scratch, "TemporaryFile", lambda **_: full)
    blocks = Blocks(tmp_path)
    with pytest.raises(OutOfSpace) as caught:
        blocks.add(b"x" * 1000)
    assert str(caught.value).startswith(f"the scratch file in {tmp_path} is full: 1000 bytes are needed")
    blocks.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WainError, match="file"):
        Blocks(tmp_path / "file/below")


def test_what_a_power_cut_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / (PREFIX + "abc")).write_text("left")
    (tmp_path / "another's").touch()
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["another's"]
    sweep(tmp_path / "missing")
