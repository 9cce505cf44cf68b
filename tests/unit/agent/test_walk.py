"""The walk: path order, nothing followed, nothing lost without a word."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unit.agent.engine import Problems
from unit.agent.mounting import mounted
from wain.agent import listing
from wain.agent import walk as walks
from wain.agent.cache_tag import CACHE_SIGNATURE
from wain.agent.history import walk_key
from wain.agent.view import Place, View
from wain.agent.walk import Entered, Left, Walk, WalkPlan
from wain.policy.exclusion import Exclusions

AS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not AS_ROOT, reason="mounting needs root")
not_root = pytest.mark.skipif(AS_ROOT, reason="root may read everything")


def walk(*includes: Path, excludes: tuple[str, ...] = (), **over: object) -> tuple[list[str], Problems]:
    """Return what was kept, as paths below the first include's parent ('dir/' for a directory), and the problems."""
    problems = Problems()
    plan = WalkPlan(tuple(os.fsencode(one) for one in includes), Exclusions(excludes), **over)
    kept = []
    for event in Walk(plan, problems.append):
        if isinstance(event, Entered):
            kept.append(os.fsdecode(event.path) + "/")
            kept += [os.fsdecode(walks.join(event.path, one.name)) for one in event.leaves]
    return kept, problems


def below(root: Path, kept: list[str]) -> set[str]:
    start = f"{root}/"
    return {one[len(start) :] for one in kept if one.startswith(start)} - {""}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "t"
    for name in (
        "a/b/c/deep.txt",
        "a/b/file.txt",
        "a/top.iso",
        "cache/CACHEDIR.TAG",
        "cache/blob",
        "cache/in/kept.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "cache/CACHEDIR.TAG").write_bytes(CACHE_SIGNATURE + b"\n")
    return root


def test_directories_come_in_the_order_of_their_path_components(tmp_path: Path) -> None:
    for name in ("a b/x", "a/x", "a-b/x", "b/a/x", "a/b/x"):
        (tmp_path / name).mkdir(parents=True)
    problems = Problems()
    plan = WalkPlan((os.fsencode(tmp_path),), Exclusions(()))
    events = list(Walk(plan, problems.append))
    entered = [event.path for event in events if isinstance(event, Entered)]
    assert entered == sorted(entered, key=walk_key)
    assert sorted(entered) == sorted(event.path for event in events if isinstance(event, Left))
    assert not problems


def test_what_is_picked_does_not_include_siblings(tree: Path) -> None:
    kept, problems = walk(tree / "a/b")
    assert below(tree, kept) == {"a/", "a/b/", "a/b/file.txt", "a/b/c/", "a/b/c/deep.txt"}
    assert not problems


@pytest.mark.parametrize("include", ["a/top.iso", "a/b/c"])
def test_an_include_may_be_a_file_or_deep(tree: Path, include: str) -> None:
    kept, problems = walk(tree / include)
    assert any(one.startswith(include) for one in below(tree, kept))
    assert not problems


def test_a_missing_include_is_a_problem_and_the_others_are_kept(tree: Path) -> None:
    kept, problems = walk(tree / "a/b/c", tree / "gone/away", tree / "a")
    assert "a/b/c/deep.txt" in below(tree, kept)
    assert problems.paths == [os.fsencode(tree / "gone")]


def test_a_missing_include_within_another_include_is_a_problem_too(tree: Path) -> None:
    _, problems = walk(tree, tree / "a/gone")
    assert problems.paths == [os.fsencode(tree / "a/gone")]


def test_an_include_behind_a_symbolic_link_is_never_silently_nothing(tree: Path) -> None:
    (tree / "link").symlink_to("a")
    kept, problems = walk(tree / "link/b")
    assert below(tree, kept) == set()
    assert "symbolic link" in problems[0].reason


def test_an_include_that_is_a_symbolic_link_is_kept_and_said_to_be_only_a_link(tree: Path) -> None:
    (tree / "link").symlink_to("a")
    kept, problems = walk(tree / "link")
    assert below(tree, kept) == {"link"}
    assert "only the link was kept" in problems[0].reason
    _, problems = walk(tree / "link", tree / "a")
    assert not problems, "what it points to is protected: nothing to say"


def test_an_include_below_a_file_is_a_problem(tree: Path) -> None:
    _, problems = walk(tree / "a/top.iso/x")
    assert "no directory" in problems[0].reason


def test_an_include_within_what_an_exclusion_leaves_out_is_kept(tree: Path) -> None:
    kept, problems = walk(tree, tree / "a/b/c", excludes=("b/",))
    assert below(tree, kept) >= {"a/b/c/", "a/b/c/deep.txt", "a/top.iso"}
    assert "a/b/file.txt" not in below(tree, kept)
    assert not problems


def test_exclusions_leave_out_names_and_trees(tree: Path) -> None:
    kept, _ = walk(tree, excludes=("*.iso", "b/"))
    assert not {"a/top.iso", "a/b/", "a/b/file.txt"} & below(tree, kept)


def test_a_cache_keeps_its_tag_and_what_is_included_by_name(tree: Path) -> None:
    kept, _ = walk(tree, exclude_caches=True)
    assert {one for one in below(tree, kept) if one.startswith("cache")} == {"cache/", "cache/CACHEDIR.TAG"}
    kept, _ = walk(tree, tree / "cache/in/kept.txt", exclude_caches=True)
    assert "cache/in/kept.txt" in below(tree, kept)
    assert "cache/blob" not in below(tree, kept)


def test_a_false_tag_makes_no_cache(tree: Path) -> None:
    (tree / "cache/CACHEDIR.TAG").write_bytes(b"Signature: none")
    assert "cache/blob" in below(tree, walk(tree, exclude_caches=True)[0])


def test_large_files_are_left_out_by_policy(tree: Path) -> None:
    (tree / "a/large").write_bytes(bytes(1001))
    kept, problems = walk(tree, max_file_bytes=1000)
    assert "a/large" not in below(tree, kept)
    assert not problems


def test_wains_own_directories_are_never_entered(tree: Path) -> None:
    own = os.stat(tree / "a")
    skip = frozenset({(own.st_dev, own.st_ino)})
    kept, problems = walk(tree, skip=skip)
    assert not any(one.startswith("a/") for one in below(tree, kept))
    assert not problems
    for include in (tree / "a", tree / "a/b/c"):
        kept, problems = walk(include, skip=skip)
        assert not any(one.startswith("a/") for one in below(tree, kept)), "not even when they are included by name"
        assert "Wain's own" in problems[0].reason


def test_a_tree_deeper_than_open_files_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "OPEN_LEVELS", 5)
    depth = 60
    here = tmp_path / "t"
    for level in range(depth):
        here = here / f"d{level}"
    here.mkdir(parents=True)
    (here / "bottom").write_text("x")
    (tmp_path / "t/d0/side").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    most = 0
    plan = WalkPlan((os.fsencode(tmp_path / "t"),), Exclusions(()))
    problems = Problems()
    names = []
    for event in Walk(plan, problems.append):
        most = max(most, len(os.listdir("/proc/self/fd")))
        assert os.fstat(event.fd).st_ino == event.stat.st_ino
        if isinstance(event, Entered):
            names += [one.name for one in event.leaves] + [os.path.basename(event.path)]
    assert b"bottom" in names
    assert b"side" in names, "what comes after the deep branch is still found"
    assert not problems
    assert most - before <= 9
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_moved_away_while_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "OPEN_LEVELS", 2)
    deep = tmp_path / "t/1/2/3/4/5"
    deep.mkdir(parents=True)
    (tmp_path / "t/1/z").mkdir()
    (tmp_path / "t/z").mkdir()
    (tmp_path / "away").mkdir()
    problems = Problems()
    entered = []
    for event in Walk(WalkPlan((os.fsencode(tmp_path / "t"),), Exclusions(())), problems.append):
        if isinstance(event, Entered):
            entered.append(event.path)
            if event.path.endswith(b"/4"):
                os.rename(tmp_path / "t/1/2/3", tmp_path / "away/3")
    assert os.fsencode(tmp_path / "t/z") in entered
    assert os.fsencode(tmp_path / "t/1/z") in entered


def test_a_directory_replaced_by_a_link_is_not_followed(tree: Path) -> None:
    problems = Problems()
    for event in Walk(WalkPlan((os.fsencode(tree),), Exclusions(())), problems.append):
        if isinstance(event, Entered) and event.path == os.fsencode(tree):
            os.rename(tree / "a", tree / "elsewhere")
            os.symlink("/etc", tree / "a")
        assert not (isinstance(event, Entered) and event.path.endswith(b"/a"))
    assert problems.paths == [os.fsencode(tree / "a")]


@not_root
def test_an_unreadable_directory_is_a_problem_and_the_rest_is_kept(tree: Path) -> None:
    (tree / "a/b").chmod(0)
    try:
        kept, problems = walk(tree)
    finally:
        (tree / "a/b").chmod(0o700)
    assert "a/top.iso" in below(tree, kept)
    assert problems.paths == [os.fsencode(tree / "a/b")]


def as_listed(monkeypatch: pytest.MonkeyPatch, act: Callable[[int, list[os.DirEntry[str]]], None]) -> list[int]:
    """Call `act` with 1, 2, ... and what a listing found, which it may change. The clock is long past all changes."""
    real, times = os.scandir, []

    @contextmanager
    def scandir(fd: int) -> Iterator[list[os.DirEntry[str]]]:
        with real(fd) as listing:
            found = list(listing)
        times.append(len(times) + 1)
        act(times[-1], found)
        yield found

    monkeypatch.setattr(walks.os, "scandir", scandir)
    monkeypatch.setattr(listing.time, "time_ns", lambda: 1 << 62)
    return times


def test_a_name_that_a_listing_missed_while_the_directory_changed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "t"
    root.mkdir()
    for name in "abc":
        (root / name).touch()

    def miss(time: int, found: list[os.DirEntry[str]]) -> None:
        if time < 3:
            # A different one is missing each time, as when two files are saved in turn.
            found[:] = [one for one in found if one.name != "ab"[time - 1]]
            os.rename(root / "c", root / "c2") if time == 1 else (root / "new").touch()

    times = as_listed(monkeypatch, miss)
    kept, problems = walk(root)
    assert below(root, kept) == {"a", "b", "c2", "new"}
    assert problems == []
    assert times == [1, 2, 3]


def test_a_directory_that_never_stands_still_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").mkdir()
    times = as_listed(monkeypatch, lambda time, _: (tmp_path / f"t/{time}").touch())
    kept, problems = walk(tmp_path / "t")
    assert below(tmp_path / "t", kept) == {"1", "2"}
    assert problems.paths == [os.fsencode(tmp_path / "t")]
    assert "a name may be missing" in problems[0].reason
    assert times == [1, 2, 3]


def test_a_directory_that_changed_a_moment_ago_is_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes within one tick of the kernel's clock leave the same time."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").touch()
    times = as_listed(monkeypatch, lambda time, found: found.clear() if time == 1 else None)
    monkeypatch.setattr(listing.time, "time_ns", lambda: os.stat(tmp_path / "t").st_ctime_ns + 10**7)
    kept, problems = walk(tmp_path / "t")
    assert (below(tmp_path / "t", kept), problems, times) == ({"f"}, [], [1, 2, 3])


def test_a_directory_at_rest_is_listed_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = as_listed(monkeypatch, lambda *_: None)
    walk(tree)
    assert len(times) == 6


class BrokenListing:
    """A directory that fails in the middle of being listed, as a dying disk does."""

    def __init__(self, real: object, after: int) -> None:
        self.real, self.left = real, after

    def __enter__(self) -> "BrokenListing":
        return self

    def __exit__(self, *_: object) -> None:
        self.real.close()

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        for item in self.real:
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "Input/output error")
            yield item


def test_a_listing_that_breaks_off_keeps_what_it_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "t"
    root.mkdir()
    for name in "abcdef":
        (root / name).write_text(name)
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda fd: BrokenListing(real(fd), 3))
    kept, problems = walk(root)
    assert len(below(root, kept)) == 3
    assert problems.paths == [os.fsencode(root)]
    assert "in full" in problems[0].reason


@root_only
def test_one_file_system_keeps_empty_mount_points_and_includes_on_other_mounts(tree: Path) -> None:
    (tree / "mnt").mkdir()
    with mounted("-t", "tmpfs", "none", on=tree / "mnt"):
        (tree / "mnt/in").mkdir()
        (tree / "mnt/in/file").write_text("x")
        (tree / "mnt/other").write_text("y")
        kept, _ = walk(tree, one_file_system=True)
        assert {one for one in below(tree, kept) if one.startswith("mnt")} == {"mnt/"}
        for includes in ([tree / "mnt/in"], [tree, tree / "mnt/in"]):
            kept, problems = walk(*includes, one_file_system=True)
            assert {"mnt/in/", "mnt/in/file"} <= below(tree, kept)
            assert "mnt/other" not in below(tree, kept)
            assert not problems
        kept, _ = walk(tree, tree / "mnt", one_file_system=True)
        assert {"mnt/other", "mnt/in/file"} <= below(tree, kept)


@root_only
def test_a_bind_mount_of_a_directory_below_itself_ends(tree: Path) -> None:
    (tree / "a/loop").mkdir()
    with mounted("--bind", str(tree / "a"), on=tree / "a/loop"):
        kept, problems = walk(tree)
        assert {"a/loop/b/file.txt", "a/loop/loop/"} <= below(tree, kept)
        assert not problems


# Other directories that stand for some


def test_a_place_stands_for_a_directory_and_all_below_it(tmp_path: Path) -> None:
    for name in ("t/a/live", "t/a/b/live", "t/c/live", "copy/b/frozen", "copy/b/in/frozen", "copy/m/empty"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "t/a/m").mkdir()
    (tmp_path / "t/a/m/live").write_text("live")
    root = tmp_path / "t"
    copy, mount = os.fsencode(tmp_path / "copy"), os.fsencode(root / "a/m")
    view = View({os.fsencode(root / "a"): Place.at(copy), mount: Place.at(mount)})
    kept, problems = walk(root, view=view)
    assert below(root, kept) == {
        "a/",
        "a/b/",
        "a/b/frozen",
        "a/b/in/",
        "a/b/in/frozen",
        "a/m/",
        "a/m/live",
        "c/",
        "c/live",
    }
    assert not problems
    kept, problems = walk(root / "a/b/frozen", view=view)
    assert below(root, kept) == {"a/", "a/b/", "a/b/frozen"}
    assert not problems
    kept, _ = walk(root, view=view, excludes=("in", "/**/c"))
    assert below(root, kept) == {"a/", "a/b/", "a/b/frozen", "a/m/", "a/m/live"}


def test_a_place_for_the_root_itself(tmp_path: Path) -> None:
    (tmp_path / "copy/only").mkdir(parents=True)
    (tmp_path / "copy/only/f").write_text("f")
    problems = Problems()
    plan = WalkPlan((b"/",), Exclusions(()), view=View({b"/": Place.at(os.fsencode(tmp_path / "copy"))}))
    assert [one.path for one in Walk(plan, problems.append) if isinstance(one, Entered)] == [b"/", b"/only"]


def test_a_place_that_has_gone_is_a_problem_of_its_path(tmp_path: Path) -> None:
    (tmp_path / "t/a").mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    view = View({os.fsencode(tmp_path / "t/a"): Place.at(os.fsencode(tmp_path / "copy"))})
    (tmp_path / "copy").rename(tmp_path / "away")
    (tmp_path / "copy").mkdir()
    _, problems = walk(tmp_path / "t", view=view)
    assert [(one.path, one.reason) for one in problems] == [
        (os.fsencode(tmp_path / "t/a"), "what it was to be read from has gone")
    ]


def test_a_deep_tree_is_found_again_below_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "OPEN_LEVELS", 2)
    deep = tmp_path / "copy/1/2/3/4/5/6"
    deep.mkdir(parents=True)
    for part in ("copy/1/z", "copy/1/2/z", "copy/1/2/3/z", "t/a"):
        (tmp_path / part).mkdir(parents=True)
    view = View({os.fsencode(tmp_path / "t/a"): Place.at(os.fsencode(tmp_path / "copy"))})
    kept, problems = walk(tmp_path / "t", view=view)
    assert {"a/1/z/", "a/1/2/z/", "a/1/2/3/z/", "a/1/2/3/4/5/6/"} <= below(tmp_path / "t", kept)
    assert not problems
