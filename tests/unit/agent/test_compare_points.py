"""Comparing two recovery points."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.agent.points import KEY, NAMER, RID, PointBuilder
from wain.agent.browse import PointView
from wain.agent.compare_points import Side, compare
from wain.base.errors import DataError, Missing, Refused, WainError
from wain.base.ids import ChunkId, PointId
from wain.chunk.names import ChunkType
from wain.pack.index import Location
from wain.tree.entry import Entry, Kind


class Watched(PointView):
    """A point that counts the tree pieces it was asked for."""

    def __init__(self, make: PointBuilder, point: PointId) -> None:
        self.asked: list[ChunkId] = []
        super().__init__(make.vault, RID, point, KEY, NAMER)

    def read_chunk(self, kind: ChunkType, chunk: ChunkId) -> bytes:
        self.asked.append(chunk)
        return super().read_chunk(kind, chunk)


@pytest.fixture
def make() -> PointBuilder:
    return PointBuilder()


def two(make: PointBuilder, old: list[Entry], new: list[Entry]) -> tuple[Watched, Watched]:
    first = make.finish(old)
    return Watched(make, first), Watched(make, make.finish(new))


def lines(old: PointView, new: PointView, path: bytes = b"/") -> list[str]:
    return [f"{change.what.value} {change.path.decode()}" for change in compare(Side(old), Side(new), path)]


def test_each_kind_of_change_has_its_letter(make: PointBuilder) -> None:
    same = make.file(b"same", b"same", inode=1)
    file, mode = make.file(b"b", b"before", inode=2), make.file(b"mode", b"x", inode=3)
    old = [same, file, mode, make.file(b"gone", b"gone"), make.symlink(b"link", b"here"), make.file(b"turns", b"t")]
    new = [
        replace(same, stat=replace(same.stat, ctime_ns=5, inode=99)),  # Touched, and nobody can see a difference.
        make.file(b"b", b"after!", inode=2),
        replace(mode, stat=replace(mode.stat, mode=0o600)),
        make.symlink(b"link", b"there"),
        make.directory(b"turns", [make.file(b"inner", b"i")]),
        make.file(b"x-new", b"new"),
    ]
    assert lines(*two(make, old, new)) == [
        "M /b", "- /gone", "M /link", "U /mode", "T /turns", "+ /turns/inner", "+ /x-new",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "over", [{"uid": 5}, {"gid": 5}, {"mtime_ns": 5}, {"mode": 0o4755}], ids=["uid", "gid", "mtime", "mode"]
)
def test_metadata_counts(make: PointBuilder, over: dict[str, int]) -> None:
    one = make.file(b"f", b"f")
    assert lines(*two(make, [one], [replace(one, stat=replace(one.stat, **over))])) == ["U /f"]


def test_attributes_holes_and_device_numbers_count(make: PointBuilder) -> None:
    plain, holes = make.file(b"a", b"a"), make.sparse(b"h", 9000, {5: b"data"})
    old = [plain, holes, make.node(b"n", Kind.CHAR_DEVICE, (1, 3))]
    new = [
        replace(plain, xattrs=((b"user.x", b"1"),)),
        replace(holes, content=replace(holes.content, extents=((7, 4),))),
        make.node(b"n", Kind.CHAR_DEVICE, (1, 5)),
    ]
    assert lines(*two(make, old, new)) == ["U /a", "M /h", "M /n"]


def test_whole_directories_come_and_go_entry_by_entry(make: PointBuilder) -> None:
    old = [make.directory(b"a", [make.file(b"1", b"1"), make.directory(b"2", [make.file(b"3", b"3")])])]
    new = [make.directory(b"b", [make.file(b"1", b"1")])]
    assert lines(*two(make, old, new)) == ["- /a", "- /a/1", "- /a/2", "- /a/2/3", "+ /b", "+ /b/1"]


def test_a_shared_directory_is_not_read(make: PointBuilder) -> None:
    deep = make.directory(b"deep", [make.file(b"f%d" % n, b"%d" % n) for n in range(50)])
    shared = make.directory(b"shared", [deep, *(make.file(b"g%d" % n, b"%d" % n) for n in range(50))])
    touched = make.directory(b"touched", [make.file(b"x", b"1")])
    other = make.directory(b"touched", [make.file(b"x", b"2")])
    old, new = two(make, [shared, touched], [replace(shared, stat=replace(shared.stat, mtime_ns=9)), other])
    assert lines(old, new) == ["U /shared", "M /touched/x"]
    below = {*shared.content.chunks, *deep.content.chunks}
    assert not below & {*old.asked, *new.asked}
    assert (len(set(old.asked)), len(set(new.asked))) == (2, 2)  # The pieces of `/` and of `touched`.


def test_of_a_large_directory_only_the_pieces_that_differ_are_read(make: PointBuilder) -> None:
    entries = [make.file(b"%05d" % n, b"%d" % n) for n in range(400)]
    changed = [make.file(b"00203", b"other") if entry.name == b"00203" else entry for entry in entries]
    old, new = two(make, [make.small_pieces(b"wide", entries, 10)], [make.small_pieces(b"wide", changed, 10)])
    assert lines(old, new) == ["M /wide/00203"]
    assert (len(set(old.asked)), len(set(new.asked))) == (2, 2)


def test_the_same_point_reads_nothing(make: PointBuilder) -> None:
    point = make.finish([make.directory(b"d", [make.file(b"f", b"f")])])
    old, new = Watched(make, point), Watched(make, point)
    assert lines(old, new) == []
    assert old.asked == new.asked == []


def test_a_path_narrows_it(make: PointBuilder) -> None:
    old = [make.directory(b"a", [make.file(b"f", b"1")]), make.directory(b"b", [make.file(b"f", b"1")], inode=7)]
    new = [make.directory(b"a", [make.file(b"f", b"2")]), make.directory(b"b", [make.file(b"f", b"2")], inode=7)]
    views = two(make, old, new)
    assert lines(*views, b"/b") == ["M /b/f"]
    assert lines(*views, b"/b/f/") == ["M /b/f"]
    with pytest.raises(Refused, match="in neither"):
        lines(*views, b"/c")
    with pytest.raises(Refused, match="climbs"):
        lines(*views, b"/a/../b")


def test_a_path_that_only_one_point_has(make: PointBuilder) -> None:
    views = two(make, [], [make.directory(b"a", [make.file(b"f", b"1")])])
    assert lines(*views, b"/a") == ["+ /a", "+ /a/f"]


def test_damage_is_reported_by_side_and_the_rest_goes_on(make: PointBuilder) -> None:
    broken = make.directory(b"broken", [make.file(b"f", b"1")])
    old = make.finish([broken, make.file(b"z", b"1")])
    point = make.finish([make.file(b"z", b"2")])
    seen: list[tuple[bytes, WainError]] = []
    view = PointView(make.vault, RID, old, KEY, NAMER)
    view.locate = losing(view, broken.content.chunks[0])
    side = Side(view, lambda path, error: seen.append((path, error)))
    other = PointView(make.vault, RID, point, KEY, NAMER)
    assert [change.path for change in compare(side, Side(other))] == [b"/broken", b"/z"]
    assert [path for path, _ in seen] == [b"/broken"]
    with pytest.raises(DataError):
        list(compare(Side(view), Side(other)))


def losing(view: PointView, lost: ChunkId) -> Callable[[ChunkId], Location]:
    """The view's index, without one chunk."""
    real = view.locate

    def locate(chunk: ChunkId) -> Location:
        if chunk == lost:
            raise Missing("the chunk")
        return real(chunk)

    return locate


# Any two trees: the changes, applied to the old one, give the new one.

Tree = dict[str, "str | Tree"]
NAMES = st.text("abc", min_size=1, max_size=2)
TREES = st.recursive(
    st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.sampled_from(["1", "2"]), inner), max_size=4),
    max_leaves=20,
)


def entries(make: PointBuilder, tree: Tree) -> list[Entry]:
    return [
        make.file(name.encode(), content.encode(), inode=1)
        if isinstance(content, str)
        else make.directory(name.encode(), entries(make, content), inode=1)
        for name, content in tree.items()
    ]


def flat(tree: Tree, above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, content in tree.items():
        found[f"{above}/{name}"] = content if isinstance(content, str) else ""
        if not isinstance(content, str):
            found |= flat(content, f"{above}/{name}")
    return found


@settings(max_examples=60, deadline=None)
@given(TREES, TREES)
def test_changes_lead_from_one_tree_to_the_other(before: Tree, after: Tree) -> None:
    make = PointBuilder()
    old, new = two(make, entries(make, before), entries(make, after))
    have, want = flat(before), flat(after)
    expected = {
        path: "+" if path not in have else "-" if path not in want else "T" if not (have[path] and want[path]) else "M"
        for path in {*have, *want}
        if have.get(path) != want.get(path)
    }
    changes = list(compare(Side(old), Side(new)))
    assert {change.path.decode(): change.what.value for change in changes} == expected
    paths = [change.path.split(b"/") for change in changes]
    assert paths == sorted(paths)
