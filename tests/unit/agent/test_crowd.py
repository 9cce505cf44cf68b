"""Directories of more names than are held, with a limit of three: walked, backed up, taken over, given back."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unit.agent.engine import Problems, Server
from wain.agent import crowd, level, listing, names, parts, scratch, tree_backup, unchanged
from wain.agent import walk as walks
from wain.agent.listing import Found
from wain.agent.walk import Entered, Left, Walk, WalkPlan
from wain.base.errors import OutOfSpace
from wain.job.job import JobState
from wain.policy.exclusion import Exclusions
from wain.tree.entry import Kind

EVERY_BYTE = [bytes([byte]) for byte in range(1, 256) if byte not in b"./"]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "HELD_NAMES", 3)
    monkeypatch.setattr(names, "SORTED_NAMES", 3)
    monkeypatch.setattr(names, "BLOCK_NAMES", 2)
    monkeypatch.setattr(parts, "PART_NAMES", 2)
    monkeypatch.setattr(parts, "MOST_NAMES", 8)
    monkeypatch.setattr(level, "HELD_ENTRIES", 3)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A directory with names of every byte, subdirectories among them."""
    root = tmp_path / "many"
    root.mkdir()
    for number, name in enumerate(EVERY_BYTE):
        path = os.path.join(os.fsencode(root), name)
        if number % 4:
            with open(path, "wb") as file:
                file.write(name * number)
        else:
            os.mkdir(path)
            os.mkdir(path + b"/inner")
    return root


def plan(root: Path, **over: object) -> WalkPlan:
    return WalkPlan(
        (os.fsencode(root),), over.pop("exclusions", Exclusions(())), scratch=root.parent / "scratch", **over
    )


def walked(plan: WalkPlan) -> tuple[list[bytes], list[bytes], Problems]:
    """Return the leaves in the include and the directories, in the order of the walk."""
    problems, leaves, directories = Problems(), [], []
    for event in Walk(plan, problems.append):
        if isinstance(event, Entered):
            directories.append(event.path)
            leaves += [walks.join(event.path, one.name) for one in event.leaves if event.selected]
    return leaves, directories, problems


def test_a_crowd_is_walked_as_any_other_directory(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = walked(plan(many))
    assert not found[2]
    assert len(found[0]) + len([path for path in found[1] if path.count(b"/") == str(many).count("/") + 1]) == 253
    monkeypatch.setattr(crowd, "HELD_NAMES", 1000)
    assert walked(plan(many))[:2] == found[:2]
    assert os.listdir(many.parent / "scratch") == []


@pytest.mark.parametrize(
    "over",
    [
        {"exclusions": Exclusions(("[a-z]",))},
        {"max_file_bytes": 100},
        {"exclude_caches": True},
        {"exclusions": Exclusions(("[!a]",)), "max_file_bytes": 300},
    ],
    ids=["excludes", "size", "caches", "both"],
)
def test_the_plan_leaves_out_the_same(many: Path, monkeypatch: pytest.MonkeyPatch, over: dict[str, object]) -> None:
    (many / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    found = walked(plan(many, **over))
    monkeypatch.setattr(crowd, "HELD_NAMES", 1000)
    assert walked(plan(many, **over))[:2] == found[:2]


def test_what_is_included_by_name_in_a_crowd_is_looked_for(many: Path) -> None:
    (many / "link").symlink_to("/etc")
    includes = tuple(os.fsencode(path) for path in (many, many / "missing", many / "link/inner"))
    problems = walked(WalkPlan(includes, Exclusions(()), scratch=many.parent))[2]
    assert problems.paths == [os.fsencode(many / "link"), os.fsencode(many / "missing")]


def test_a_reader_that_does_not_look_at_the_leaves_meets_all_directories(many: Path) -> None:
    problems = Problems()
    events = [type(event) for event in Walk(plan(many), problems.append)]
    assert events.count(Entered) == events.count(Left) > 100
    assert not problems


def on_first_listing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> list[int]:
    """Call `act` when the crowd was listed by name for the first time."""
    real, times = os.scandir, []

    @contextmanager
    def scandir(fd: int) -> Iterator[list[os.DirEntry[str]]]:
        with real(fd) as entries:
            found = list(entries)
        if len(found) > 100:
            times.append(len(times) + 1)
            if len(times) == 2:  # The very first one found that there are too many.
                act()
        yield found

    monkeypatch.setattr(os, "scandir", scandir)
    return times


def test_a_name_that_moves_while_the_crowd_is_listed_is_found(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing.time, "time_ns", lambda: 1 << 62)
    times = on_first_listing(monkeypatch, lambda: os.rename(many / "b", many / "0 moved"))
    leaves, _, problems = walked(plan(many))
    assert os.fsencode(many / "0 moved") in leaves
    assert os.fsencode(many / "b") not in leaves
    assert not problems, "it went between two listings: the second one has its new name"
    assert times == [1, 2, 3]


def test_a_name_that_only_an_earlier_listing_has_counts_when_it_is_there(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What btrfs does to a file that is saved by renaming (decision 0019)."""
    monkeypatch.setattr(listing.time, "time_ns", lambda: 1 << 62)
    real, times = os.scandir, []

    @contextmanager
    def scandir(fd: int) -> Iterator[list[os.DirEntry[str]]]:
        with real(fd) as entries:
            found = list(entries)
        if len(found) > 100:
            times.append(1)
            if len(times) in (2, 3):
                os.utime(many)
                found = [one for one in found if one.name != "bd"[len(times) - 2]]
        yield found

    monkeypatch.setattr(os, "scandir", scandir)
    leaves, _, problems = walked(plan(many))
    assert {os.fsencode(many / "b"), os.fsencode(many / "d")} <= set(leaves)
    assert not problems


def test_a_crowd_that_never_stands_still_is_named(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing.time, "time_ns", lambda: 1 << 62)
    real = crowd._scan

    def scan(*given: object) -> list[object]:
        os.utime(many)
        return real(*given)

    monkeypatch.setattr(crowd, "_scan", scan)
    leaves, _, problems = walked(plan(many))
    assert len(leaves) > 100
    assert [one.reason for one in problems] == ["it changed all the time while it was listed: a name may be missing"]


def test_names_that_go_after_the_listing_make_the_directory_suspect(many: Path) -> None:
    problems, leaves = Problems(), []
    for event in Walk(plan(many), problems.append):
        if isinstance(event, Entered) and event.path == os.fsencode(many):
            for one in event.leaves:
                if not leaves:
                    os.rename(many / "b", many / "0 moved")
                    os.unlink(many / "d")
                leaves.append(one.name)
    assert not {b"b", b"d", b"0 moved"} & set(leaves)
    assert [(one.path, one.reason) for one in problems] == [
        (
            os.fsencode(many),
            "2 of its names went while it was read: if they were renamed, the new ones may be missing",
        )
    ]


def test_a_name_that_cannot_be_looked_at_is_a_problem_of_its_own(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def broken(path: object, **how: object) -> os.stat_result:
        if path == b"b":
            raise OSError(5, "Input/output error")
        return real(path, **how)

    monkeypatch.setattr(os, "stat", broken)
    leaves, _, problems = walked(plan(many))
    assert len(leaves) > 100
    assert [(one.path, one.reason) for one in problems] == [(os.fsencode(many / "b"), "input/output error")]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(tree_backup, "SETTLE_NS", -(10**12))
    made = Server(tmp_path)
    for number in range(40):
        if number % 5:
            (made.source / f"{number:02}").write_text(f"content {number}")
        else:
            (made.source / f"{number:02}/inner").mkdir(parents=True)
            (made.source / f"{number:02}/file").write_text("below")
    return made


def contents(server: Server) -> dict[str, bytes]:
    return {
        str(path.relative_to(server.root)): path.read_bytes() for path in server.source.rglob("*") if path.is_file()
    }


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of the files whose content is read."""
    found: list[bytes] = []
    real = tree_backup.read_small

    def read_small(fd: int, one: Found) -> bytes | None:
        found.append(one.name)
        return real(fd, one)

    monkeypatch.setattr(tree_backup, "read_small", read_small)
    return found


class TestBackup:
    def test_all_of_it_is_kept_and_then_taken_over(
        self, server: Server, read: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert server.backup().state is JobState.COMPLETED
        here = contents(server)
        assert {path: server.content(path) for path in here} == here
        taken: list[int] = []
        real = unchanged.Unchanged._take_whole

        def take_whole(self: unchanged.Unchanged, seen: object) -> bool:
            taken.append(real(self, seen))
            return taken[-1]

        monkeypatch.setattr(unchanged.Unchanged, "_take_whole", take_whole)
        assert len(read) == len(here)
        read.clear()
        job = server.backup()
        assert (job.state, job.new_bytes, read) == (JobState.COMPLETED, 0, [])
        assert all(taken), "every part needs what it needed"
        assert len(taken) == 32 // 2 + 8
        assert {path: server.content(path) for path in here} == here

    @pytest.mark.parametrize("change", ["new first", "new last", "new between", "gone", "changed", "few are left"])
    def test_changes_among_the_many(self, server: Server, read: list[bytes], change: str) -> None:
        server.backup()
        source = server.source
        steps: dict[str, Callable[[], object]] = {
            "new first": lambda: (source / "!").write_text("new"),
            "new last": lambda: (source / "zz").write_text("new"),
            "new between": lambda: [(source / f"07-{number}").write_text(f"{number}") for number in range(20)],
            "gone": lambda: [(source / f"{number:02}").unlink() for number in (1, 7, 8, 39)],
            "changed": lambda: (source / "08").write_text("another content"),
            "few are left": lambda: [(source / f"{number:02}").unlink() for number in range(40) if number % 5 > 1],
        }
        steps[change]()
        new = {"new between": 20, "gone": 0, "few are left": 0}.get(change, 1)
        for reads in (new, 0):
            read.clear()
            job = server.backup()
            assert job.state is JobState.COMPLETED
            here = contents(server)
            assert {path: server.content(path) for path in here} == here
            files = {
                path for path, one in server.entries().items() if one.kind is Kind.FILE and path.startswith("source")
            }
            assert files == set(here)
            assert len(read) == reads

    def test_no_room_for_scratch_files_fails_the_job(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scratch, "TemporaryFile", lambda **_: open("/dev/full", "w+b", buffering=0))  # noqa: SIM115
        with pytest.raises(OutOfSpace, match=r"the scratch file in .* is full"):
            server.backup()
        assert not server.vault.points(server.rid)

    def test_no_descriptor_and_no_file_stays(self, server: Server) -> None:
        server.backup()
        before = len(os.listdir("/proc/self/fd"))
        left = server.home.agent / "scratch" / (scratch.PREFIX + "left")
        left.touch()
        server.backup()
        assert len(os.listdir("/proc/self/fd")) == before
        assert os.listdir(left.parent) == []
