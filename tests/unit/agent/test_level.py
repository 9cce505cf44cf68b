"""Entries that wait for their directory: the same order in memory and on disk."""

from pathlib import Path

import pytest

from wain.agent import level as module
from wain.agent.level import Level
from wain.tree.entry import Entry, Kind, Stat
from wain.tree.format import encode_entry

LEAVES = [b"b", b"d", b"f", b"h", b"j"]
DIRECTORIES = [b"a", b"c", b"e", b"k", b"l"]


def encoded(name: bytes) -> bytes:
    return encode_entry(Entry(name, Kind.FIFO, Stat(0o600, 0, 0, 0, 1, 2, 3, 0, 1)))


@pytest.mark.parametrize("held", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("held_bytes", [1, 250, 1 << 20])
@pytest.mark.parametrize(("leaves", "directories"), [(LEAVES, DIRECTORIES), ([], DIRECTORIES), (LEAVES, []), ([], [])])
def test_entries_come_in_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    held_bytes: int,
    leaves: list[bytes],
    directories: list[bytes],
) -> None:
    monkeypatch.setattr(module, "HELD_ENTRIES", held)
    monkeypatch.setattr(module, "HELD_BYTES", held_bytes)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 200)
    level = Level(b"/here", tmp_path)
    for name in leaves:
        level.entries.append((name, encoded(name)))
        level.relieve()
        assert len(level.entries) < held
    level.descend()
    for name in directories:
        level.add(name, encoded(name))
        assert len(level.entries) < held
    wanted = sorted(leaves + directories)
    assert level.spilled or held > len(wanted) or held_bytes == 1 or not directories
    assert list(level.in_order()) == [(name, encoded(name)) for name in wanted]
    level.close()
    assert not level.spilled
    assert not level.entries
