"""Which names count as names of one file."""

from dataclasses import replace

import pytest

from unit.agent.points import stat
from wain.base.ids import ChunkId
from wain.tree.entry import Content, Entry, Kind
from wain.tree.links import LINK_KEY_BYTES, link_key

FILE = Entry(b"name", Kind.FILE, stat(5, links=2, inode=9), Content((ChunkId(b"c" * 32),)))


def test_names_of_one_file_have_one_key() -> None:
    key = link_key(FILE)
    assert key is not None
    assert len(key) == LINK_KEY_BYTES
    assert link_key(replace(FILE, name=b"other")) == key
    linked_meanwhile = replace(FILE.stat, links=3, ctime_ns=FILE.stat.ctime_ns + 1)
    assert link_key(replace(FILE, stat=linked_meanwhile)) == key


def test_what_has_one_name_has_no_key() -> None:
    assert link_key(replace(FILE, stat=replace(FILE.stat, links=1))) is None
    assert link_key(replace(FILE, kind=Kind.DIRECTORY)) is None


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime_ns", "inode", "device"])
def test_another_stat_is_another_file(field: str) -> None:
    other = replace(FILE.stat, **{field: getattr(FILE.stat, field) + 1})
    assert link_key(replace(FILE, stat=other)) != link_key(FILE)


@pytest.mark.parametrize(
    "change",
    [
        {"content": Content((ChunkId(b"d" * 32),))},
        {"content": replace(FILE.content, extents=((0, 3),))},
        {"content": replace(FILE.content, listed=True)},
        {"kind": Kind.FIFO},
        {"target": b"t"},
        {"rdev": (1, 3)},
        {"xattrs": ((b"user.a", b"b"),)},
    ],
)
def test_another_content_is_another_file(change: dict[str, object]) -> None:
    assert link_key(replace(FILE, **change)) != link_key(FILE)
