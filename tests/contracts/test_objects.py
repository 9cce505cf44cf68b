"""The contract of `wain.storage.api.Objects`, on every implementation."""

import pytest

from wain.base.errors import Missing, Refused, Truncated
from wain.storage.directory import DirectoryObjects
from wain.storage.memory import MemoryObjects


@pytest.fixture(params=["memory", "directory"])
def objects(request, tmp_path):
    return MemoryObjects() if request.param == "memory" else DirectoryObjects(tmp_path / "objects")


def test_an_object_reads_back_whole_and_in_parts(objects):
    assert objects.create("packs/aa/one", b"0123456789")
    assert objects.read("packs/aa/one") == b"0123456789"
    assert objects.read("packs/aa/one", 3) == b"3456789"
    assert objects.read("packs/aa/one", 3, 4) == b"3456"
    assert objects.read("packs/aa/one", 10, 0) == b""
    assert objects.size("packs/aa/one") == 10


def test_an_empty_object_is_an_object(objects):
    assert objects.create("nothing", b"")
    assert not objects.create("nothing", b"")
    assert objects.read("nothing") == b""
    assert objects.size("nothing") == 0


def test_create_never_replaces(objects):
    assert objects.create("a", b"first")
    assert not objects.create("a", b"second")
    assert not objects.create("a", b"first")
    assert objects.read("a") == b"first"


def test_a_draft_becomes_an_object_only_when_it_is_published(objects):
    draft = objects.draft()
    for piece in (b"first ", memoryview(b"second "), b"x" * 100_000):
        draft.write(piece)
    assert list(objects.names("")) == []
    assert draft.publish("a/whole")
    draft.close()
    assert objects.read("a/whole") == b"first second " + b"x" * 100_000
    again = objects.draft()
    again.write(b"other")
    assert not again.publish("a/whole")
    again.close()
    again.close()
    dropped = objects.draft()
    dropped.write(b"never")
    dropped.close()
    assert list(objects.names("")) == ["a/whole"]
    assert objects.read("a/whole", 0, 5) == b"first"


def test_what_is_absent_is_missing(objects):
    assert objects.size("a/b") is None
    for call in (objects.read, objects.set_aside, objects.uncached):
        with pytest.raises(Missing):
            call("a/b")


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (3, 1), (4, None), (1, 3)])
def test_reading_past_the_end_is_truncated(objects, offset, length):
    objects.create("a", b"abc")
    with pytest.raises(Truncated):
        objects.read("a", offset, length)


def test_names_are_sorted_as_strings_and_by_prefix(objects):
    names = ["a-b/x", "a.b", "a/x", "a/y/z", "a0", "b", "a/y-z"]
    for name in names:
        objects.create(name, b"")
    assert list(objects.names("")) == sorted(names)
    assert list(objects.names("a/")) == ["a/x", "a/y-z", "a/y/z"]
    assert list(objects.names("a/y/")) == ["a/y/z"]
    assert list(objects.names("none/")) == []


def test_a_prefix_is_whole_segments(objects):
    with pytest.raises(Refused):
        list(objects.names("a"))


def test_delete_is_final_and_repeatable(objects):
    objects.create("a/b", b"1")
    objects.delete("a/b")
    objects.delete("a/b")
    objects.delete("never/there")
    assert list(objects.names("")) == []
    assert objects.create("a/b", b"2")
    assert objects.read("a/b") == b"2"


def test_set_aside_makes_room_and_keeps_the_damaged_out_of_sight(objects):
    for number in range(3):
        assert objects.create("packs/x", b"bad%d" % number)
        objects.set_aside("packs/x")
        assert objects.size("packs/x") is None
    assert objects.create("packs/x", b"good")
    assert list(objects.names("")) == ["packs/x"]


def test_what_lies_beneath_the_caches_is_what_was_stored(objects):
    body = bytes(range(256)) * 70_000
    objects.create("a", body)
    with objects.uncached("a") as stored:
        assert stored.size == len(body)
        assert b"".join(bytes(piece) for piece in stored.pieces(0, len(body))) == body
        assert b"".join(bytes(piece) for piece in stored.pieces(5_000, 9_000_000)) == body[5_000:9_005_000]
        with pytest.raises(Truncated):
            list(stored.pieces(1, len(body)))


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "../a", "a/..", ".", "a/.hidden", "A", "a b", "a\0b", "ä", "a\\b", "x" * 201, "a\n",
     "set-aside/a", "/".join(["a" * 100] * 11)],
)  # fmt: skip
def test_odd_names_are_refused_everywhere(objects, name):
    with pytest.raises(Refused):
        objects.create(name, b"")
    for call in (objects.read, objects.size, objects.delete, objects.set_aside, objects.uncached):
        with pytest.raises(Refused):
            call(name)
