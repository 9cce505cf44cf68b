"""Listing a directory that changes meanwhile: what is there all the time is found, or the directory is named."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wain.agent import listing
from wain.agent.listing import LISTINGS, Fault, Found, Listing, list_still

LONG_AGO = 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    for name in "abc":
        (tmp_path / name).write_text(name)
    time.sleep(0.05)
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


class Scans:
    """Lists a real directory; `act(1)`, `act(2)`, ... may tamper with each listing's result."""

    def __init__(self, act: Callable[[int, dict[bytes, Found], list[Fault]], None] = lambda *_: None) -> None:
        self.act, self.times = act, 0

    def __call__(self, fd: int, faults: list[Fault]) -> list[Found]:
        self.times += 1
        names = [os.fsencode(name) for name in os.listdir(fd)]
        found = {name: Found(name, os.lstat(name, dir_fd=fd)) for name in names}
        self.act(self.times, found, faults)
        return list(found.values())


def run(fd: int, scans: Scans) -> Listing:
    return list_still(fd, os.fstat(fd), scans)


def names(done: Listing) -> list[bytes]:
    return sorted(one.name for one in done.found)


def touch(fd: int) -> None:
    os.utime(fd)


def test_a_directory_at_rest_is_listed_once_and_at_once(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    scans = Scans()
    done = run(folder, scans)
    assert (names(done), done.faults, done.still, scans.times) == ([b"a", b"b", b"c"], [], True, 1)


def test_a_name_that_one_listing_lacks_is_found_by_the_next(folder: int) -> None:
    def lack(times: int, found: dict[bytes, Found], _: list[Fault]) -> None:
        if times == 1:
            del found[b"b"]
            touch(folder)

    scans = Scans(lack)
    done = run(folder, scans)
    assert (names(done), done.still, scans.times) == ([b"a", b"b", b"c"], True, 2)
    assert done.stat.st_mtime_ns == os.fstat(folder).st_mtime_ns


def test_a_directory_touched_a_moment_ago_may_have_changed_within_one_tick(folder: int) -> None:
    """Its ctime is the same before and after: only that it is young tells."""
    touch(folder)

    def lack(times: int, found: dict[bytes, Found], _: list[Fault]) -> None:
        if times == 1:
            del found[b"b"]

    scans = Scans(lack)
    done = run(folder, scans)
    assert (names(done), done.still, scans.times) == ([b"a", b"b", b"c"], True, 2)


def test_what_a_later_listing_lacks_is_kept_when_it_is_there(folder: int, tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("x")

    def lack(times: int, found: dict[bytes, Found], _: list[Fault]) -> None:
        if times == 1:
            (tmp_path / "gone").unlink()
            (tmp_path / "b").write_text("longer than before")
        else:
            del found[b"b"]

    done = run(folder, Scans(lack))
    assert names(done) == [b"a", b"b", b"c"]
    assert next(one.stat.st_size for one in done.found if one.name == b"b") == len("longer than before")


def test_one_that_never_stands_still_is_named(folder: int) -> None:
    scans = Scans(lambda *_: touch(folder))
    done = run(folder, scans)
    assert (names(done), done.still, scans.times) == ([b"a", b"b", b"c"], False, LISTINGS)


def test_faults_are_those_of_the_last_listing(folder: int) -> None:
    def fail(times: int, found: dict[bytes, Found], faults: list[Fault]) -> None:
        if times == 1:
            touch(folder)
            del found[b"a"]
            faults.append(Fault(b"a", OSError(errno.EIO, "input/output error")))
        else:
            del found[b"c"]
            faults.append(Fault(b"c", OSError(errno.EACCES, "permission denied")))

    done = run(folder, Scans(fail))
    assert names(done) == [b"a", b"b"]
    assert [fault.name for fault in done.faults] == [b"c"]


def test_what_cannot_be_looked_at_again_is_a_fault(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(times: int, found: dict[bytes, Found], _: list[Fault]) -> None:
        if times == 1:
            touch(folder)
        else:
            del found[b"b"]
            monkeypatch.setattr(listing.os, "stat", refuse)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    done = run(folder, Scans(lack))
    assert [fault.name for fault in done.faults] == [b"b"]


def test_a_clock_that_is_ahead_is_no_reason_to_wait(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - LONG_AGO)
    assert run(folder, Scans()).still
