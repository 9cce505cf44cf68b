"""Finding entries of recovery points."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from unit.agent.points import KEY, NAMER, RID, PointBuilder, stat
from wain.agent.browse import PointView
from wain.agent.search import Query, Trouble, Version, search, search_all
from wain.base.errors import Missing, WainError
from wain.base.ids import PointId
from wain.chunk.names import ChunkType
from wain.policy.exclusion import Exclusions
from wain.tree.entry import Entry, Kind


@pytest.fixture
def make() -> PointBuilder:
    return PointBuilder()


def query(*patterns: str, **over: object) -> Query:
    return Query(Exclusions(patterns, "pattern"), **over)


def names(view: PointView, wanted: Query) -> list[str]:
    return [path.decode() for path, _ in search(view, wanted)]


@pytest.fixture
def view(make: PointBuilder) -> PointView:
    logs = make.directory(b"log", [make.file(b"a.log", b"x" * 1000), make.file(b"b.txt", b"y")])
    var = make.directory(b"var", [logs, make.symlink(b"now.log", b"log/a.log")])
    return make.view([var, make.directory(b"build", [make.node(b"pipe", Kind.FIFO)]), make.file(b"build.log", b"")])


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("*.log",), ["/build.log", "/var/log/a.log", "/var/now.log"]),
        (("/var/log",), ["/var/log"]),
        (("/var/log/**",), ["/var/log/a.log", "/var/log/b.txt"]),
        (("log/*.txt",), ["/var/log/b.txt"]),
        (("build*/",), ["/build"]),
        (("*.txt", "pipe"), ["/build/pipe", "/var/log/b.txt"]),
        (("nothing",), []),
    ],
)
def test_globs_are_those_of_exclusions(view: PointView, patterns: tuple[str, ...], found: list[str]) -> None:
    assert names(view, query(*patterns)) == found


def test_kinds_sizes_and_times_narrow_it(view: PointView) -> None:
    assert names(view, query(kinds=frozenset({Kind.SYMLINK, Kind.FIFO}))) == ["/build/pipe", "/var/now.log"]
    assert names(view, query(min_size=1)) == ["/var/log/a.log", "/var/log/b.txt"]
    assert names(view, query(max_size=1)) == ["/build.log", "/var/log/b.txt"]
    assert names(view, query("*.log", min_size=1, max_size=1000)) == ["/var/log/a.log"]
    at = stat().mtime_ns
    assert names(view, query(newer_ns=at)) == names(view, query(older_ns=at)) == []
    assert len(names(view, query(newer_ns=at - 1, older_ns=at + 1))) == 8


def test_a_pattern_that_is_none_is_refused_as_a_pattern() -> None:
    with pytest.raises(WainError, match="the pattern '!x' begins with"):
        query("!x")


# Every point


class Points:
    """Several points of one vault, and what went wrong in searching them."""

    def __init__(self, make: PointBuilder) -> None:
        self.make = make
        self.opened: list[PointId] = []
        self.pieces = 0
        self.troubles: list[str] = []
        self.fails: Callable[[PointId], WainError | None] = lambda point: None

    def add(self, *entries: Entry) -> None:
        self.make.finish(list(entries))

    def open(self, point: PointId) -> PointView:
        error = self.fails(point)
        if error is not None:
            raise error
        self.opened.append(point)
        view = PointView(self.make.vault, RID, point, KEY, NAMER)
        real = view.read_chunk

        def counted(kind: ChunkType, chunk: object) -> bytes:
            self.pieces += 1
            return real(kind, chunk)

        view.read_chunk = counted
        return view

    def search(self, wanted: Query) -> list[str]:
        """Each version as `path content points`, points by their number."""
        trouble = Trouble(
            lambda point, error: self.troubles.append(f"{point.seq}: {error}"),
            lambda point, path, error: self.troubles.append(f"{point.seq} {path.decode()}: {error}"),
        )
        found = search_all(self.make.vault.listing, self.open, wanted, trouble)
        return [f"{one.path.decode()} {one.entry.stat.size} {numbers(one)}" for one in found]


def numbers(version: Version) -> list[int]:
    return [point.seq for point in version.points]


@pytest.fixture
def points(make: PointBuilder) -> Points:
    return Points(make)


def test_every_version_names_the_points_that_have_it_newest_first(make: PointBuilder, points: Points) -> None:
    good, bad = make.file(b"report", b"good"), make.file(b"report", b"scrambled")
    other = make.file(b"other", b"1")
    points.add(other)
    points.add(good, other)
    points.add(good)
    points.add(bad, other)
    points.add(good, other)  # Put back.
    points.add(bad)
    assert points.search(query("report")) == ["/report 9 [6, 4]", "/report 4 [5, 3, 2]"]
    assert points.search(query("other")) == ["/other 1 [5, 4, 2, 1]"]
    assert points.search(query("absent")) == []
    assert points.troubles == []


def test_other_metadata_is_the_same_version_unless_it_is_asked_for(make: PointBuilder, points: Points) -> None:
    one = make.file(b"f", b"same")
    late = replace(one, stat=replace(one.stat, mtime_ns=one.stat.mtime_ns + 5))
    points.add(one)
    points.add(late)
    assert points.search(query("f")) == ["/f 4 [2, 1]"]
    assert points.search(query("f", newer_ns=one.stat.mtime_ns)) == ["/f 4 [2]"]
    assert points.search(query("f", older_ns=late.stat.mtime_ns)) == ["/f 4 [1]"]


def test_what_points_share_is_read_once(make: PointBuilder, points: Points) -> None:
    big = make.directory(b"big", [make.directory(b"d%d" % n, [make.file(b"f", b"%d" % n)]) for n in range(40)])
    for number in range(5):
        points.add(big, make.file(b"changing", b"%d" % number))
    found = points.search(query("f"))
    assert len(found) == 40
    assert all(line.endswith("[5, 4, 3, 2, 1]") for line in found)
    # 42 for the newest; then, to compare, two roots for each older one.
    assert points.pieces <= 42 + 4 * 2


def test_a_point_that_does_not_open_is_said_and_the_others_are_searched(make: PointBuilder, points: Points) -> None:
    for _ in range(3):
        points.add(make.file(b"f", b"same"))
    second = make.vault.listing[1].id
    points.fails = lambda point: Missing("its index") if point == second else None
    assert points.search(query("f")) == ["/f 4 [3, 1]"]
    assert points.troubles == ["2: its index is missing"]


def test_versions_come_in_path_order(make: PointBuilder, points: Points) -> None:
    points.add(make.directory(b"a", [make.file(b"x", b"1")]), make.file(b"a-b", b"1"), make.file(b"a.x", b"1"))
    assert [line.split()[0] for line in points.search(query())] == ["/a", "/a/x", "/a-b", "/a.x"]
