"""Files with several names: read once while that is known, and what is known of them stays small."""

import os
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from unit.agent.engine import Server
from wain.agent import file_content, tree_backup
from wain.agent.file_content import FileContent, Stored, _Linked
from wain.agent.listing import STILL_NS
from wain.agent.reading import FileReader
from wain.base.ids import ChunkId
from wain.tree.entry import Content


class Watched(FileContent):
    """Remembers itself, the most links it ever knew, and which files it really read."""

    made: list["Watched"]

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)
        self.read: list[int] = []
        self.most = 0
        self.made.append(self)

    def _store(self, reader: FileReader) -> Stored:
        self.read.append(reader.before.st_ino)
        self.most = max(self.most, len(self._links))
        return super()._store(reader)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    Watched.made = []
    monkeypatch.setattr(tree_backup, "FileContent", Watched)
    return Watched.made


def linked(folder: Path, files: int) -> None:
    """Make files with two names each, the second ones in another directory."""
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    for number in range(files):
        (folder / f"a/{number:03}").write_text(f"{number}")
        os.link(folder / f"a/{number:03}", folder / f"b/{number:03}")


def test_a_file_is_forgotten_with_its_last_name(tmp_path: Path, watched: list[Watched]) -> None:
    server = Server(tmp_path)
    linked(server.source, 50)
    time.sleep(2 * STILL_NS / 1e9)
    server.backup()
    (content,) = watched
    assert len(content.read) == len(set(content.read)) == 50
    assert content.most == 49
    assert not content._links
    assert not content._link_ids


def test_the_oldest_are_forgotten_first_and_read_again(
    tmp_path: Path, watched: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_content, "MAX_LINK_IDS", 20)
    server = Server(tmp_path)
    linked(server.source, 50)
    time.sleep(2 * STILL_NS / 1e9)
    assert server.backup().new_bytes < 50 * 100 * 3
    (content,) = watched
    assert content.most <= 10
    assert 50 < len(content.read) <= 100
    entries = server.entries()
    for number in range(50):
        assert entries[f"source/a/{number:03}"].content == entries[f"source/b/{number:03}"].content


def test_a_file_changed_a_moment_ago_is_read_by_each_name(
    tmp_path: Path, watched: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its times do not prove yet that it is the same: its inode number may have been given out again."""
    server = Server(tmp_path)
    linked(server.source, 1)
    young = os.stat(server.source / "a/000").st_ctime_ns + STILL_NS - 1
    monkeypatch.setattr(file_content, "time", SimpleNamespace(time_ns=lambda: young))
    server.backup()
    (content,) = watched
    assert len(content.read) == 2


def test_what_is_known_of_linked_files_fits_in_60_mb(tmp_path: Path) -> None:
    content = FileContent(None, None, None, lambda _: None)
    tracemalloc.start()
    try:
        for number in range(file_content.MAX_LINK_IDS):
            stored = Stored(Content((ChunkId(b"%032d" % number),)), 10**6 + number)
            looks = (10**6 + number, 10**18 + number, 10**18 - number)
            content._remember((0, 10**9 + number), _Linked(looks, stored, 1))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(content._links) == file_content.MAX_LINK_IDS / 2
    assert used < 60e6
