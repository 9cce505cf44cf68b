"""Recovery points as folders: a real mount, compared with the source by those who compare restores."""

import errno
import os
import random
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from journeys.mounting import Mount, mounted, why_not
from journeys.story import Story
from oracle import rsync, torture
from oracle.walker import compare

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "mounts work here")


def backed_up(work: Path, source: Path) -> Story:
    """A server whose first backup went over the wire."""
    story = Story(work / "story", source)
    story.run(*story.command("register").args)
    story.run("policy", "set", "--include", str(source), "--initial", "online")
    story.run("backup")
    return story


def failure(call: Callable[[], object]) -> str:
    """Return the name of the error that a call of the system ends with."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "none"


@pytest.fixture(scope="module")
def tortured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, Mount]]:
    work = tmp_path_factory.mktemp("mount")
    torture.build(os.fsencode(work / "source"))
    story = backed_up(work, work / "source")
    with mounted(story, "latest", work / "mnt") as mount:
        yield story, mount


def test_the_walker_finds_no_difference(tortured: tuple[Story, Mount]) -> None:
    story, mount = tortured
    found = [
        str(each) for each in compare(os.fsencode(story.source), os.fsencode(story.copy_of(story.source, mount.point)))
    ]
    assert not found, "\n".join(found[:40])


def test_rsync_prints_nothing(tortured: tuple[Story, Mount]) -> None:
    if not rsync.available():
        pytest.skip("rsync is not installed")
    story, mount = tortured
    copy = story.copy_of(story.source, mount.point)
    assert rsync.differences(os.fsencode(story.source), os.fsencode(copy)) == []


def test_links_and_blocks_are_counted_as_on_the_source(tortured: tuple[Story, Mount]) -> None:
    story, mount = tortured
    linked = sparse = 0
    for path in [*(story.source / "links").rglob("*"), *(story.source / "holes").rglob("*")]:
        ours, theirs = path.lstat(), story.copy_of(path, mount.point).lstat()
        if not stat.S_ISDIR(ours.st_mode):
            assert theirs.st_nlink == ours.st_nlink, path
            linked += ours.st_nlink > 1
        if stat.S_ISREG(ours.st_mode) and ours.st_blocks * 512 < ours.st_size:
            assert theirs.st_blocks * 512 < theirs.st_size, path
            sparse += 1
    assert linked > 2
    assert sparse > 2


WRITES: dict[str, Callable[[Path], object]] = {
    "create": lambda path: (path / "new").touch(),
    "mkdir": lambda path: (path / "new").mkdir(),
    "rename": lambda path: (path / "sizes").rename(path / "other"),
    "rmdir": lambda path: (path / "sizes").rmdir(),
    "chmod": lambda path: (path / "sizes").chmod(0o700),
    "chown": lambda path: os.chown(path / "sizes", 1, 1),
    "utime": lambda path: os.utime(path / "sizes"),
    "setxattr": lambda path: os.setxattr(path / "sizes", "user.x", b"1"),
    "symlink": lambda path: os.symlink("x", path / "new"),
    "mkfifo": lambda path: os.mkfifo(path / "new"),
    "write": lambda path: next((path / "sizes").iterdir()).write_bytes(b""),
    "unlink": lambda path: next((path / "sizes").iterdir()).unlink(),
}


@pytest.mark.parametrize("attempt", WRITES.values(), ids=WRITES)
def test_nothing_can_be_written(tortured: tuple[Story, Mount], attempt: Callable[[Path], object]) -> None:
    story, mount = tortured
    assert failure(lambda: attempt(story.copy_of(story.source, mount.point))) == "EROFS"


def test_what_is_not_there_is_not_there(tortured: tuple[Story, Mount]) -> None:
    _, mount = tortured
    assert not os.path.lexists(mount.point / "absent")
    assert failure(lambda: os.getxattr(mount.point, "user.absent")) == "ENODATA"


# A small server


@pytest.fixture
def story(tmp_path: Path) -> Story:
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(random.Random(1).randbytes(20 << 20))
    (source / "small").write_bytes(b"small\n")
    return backed_up(tmp_path, source)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, None], ids=str)
def test_every_end_is_clean(story: Story, tmp_path: Path, number: int | None) -> None:
    with mounted(story, "latest", tmp_path / "mnt") as mount:
        assert (story.copy_of(story.source, mount.point) / "small").read_bytes() == b"small\n"
        assert mount.end(number) == 0, mount.said
    assert not os.path.ismount(mount.point)
    assert list(mount.point.iterdir()) == []
    assert mount.said.startswith("Mounted point ")
    assert mount.said.count("\n") == 1


def test_a_file_that_is_open_does_not_keep_the_mount(story: Story, tmp_path: Path) -> None:
    with mounted(story, "latest", tmp_path / "mnt") as mount:
        fd = os.open(story.copy_of(story.source, mount.point) / "large", os.O_RDONLY)
        try:
            assert mount.end(signal.SIGTERM) == 0, mount.said
            assert not os.path.ismount(mount.point)
        finally:
            with suppress(OSError):  # Nobody is left to hear of the end of the file.
                os.close(fd)


def test_random_and_straight_reads_of_a_large_file(story: Story, tmp_path: Path) -> None:
    body = (story.source / "large").read_bytes()
    dice = random.Random(3)
    with mounted(story, "latest", tmp_path / "mnt") as mount:
        copy = story.copy_of(story.source, mount.point) / "large"
        with open(copy, "rb", buffering=0) as file:
            for _ in range(50):
                at = dice.randrange(len(body))
                assert os.pread(file.fileno(), 70_000, at) == body[at : at + 70_000]
        assert copy.read_bytes() == body


def test_all_points_are_folders(story: Story, tmp_path: Path) -> None:
    time.sleep(1.1)  # Folders are named by the second; two in one second have the point's id as well.
    (story.source / "small").write_bytes(b"changed\n")
    story.run("backup")
    first, second = (
        each["receivedAt"][:19].replace(":", "-") + "Z" for each in story.points()
    )  # fmt: skip
    with mounted(story, "all", tmp_path / "mnt") as mount:
        assert sorted(os.listdir(mount.point)) == sorted([first, second, "latest"])
        assert os.readlink(mount.point / "latest") == second
        old, new = (story.copy_of(story.source, mount.point / name) / "small" for name in (first, "latest"))
        assert (old.read_bytes(), new.read_bytes()) == (b"small\n", b"changed\n")
        assert old.stat().st_ino != new.stat().st_ino
        assert mount.end() == 0


def test_damage_is_an_input_output_error_that_is_said_once(story: Story, tmp_path: Path) -> None:
    packs = sorted(
        (story.vault / "objects" / "packs").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    packs[-1].chmod(0o600)
    with open(packs[-1], "r+b") as file:
        file.seek(3 << 20)
        file.write(bytes(64))
    with mounted(story, "latest", tmp_path / "mnt") as mount:
        copy = story.copy_of(story.source, mount.point)
        for _ in range(3):
            assert failure((copy / "large").read_bytes) == "EIO"
        assert (copy / "small").read_bytes() == b"small\n"
        assert mount.end() == 0
    (said,) = [line for line in mount.said.splitlines() if line.startswith("wain: ")]
    assert packs[-1].name in said
    assert "large" in said


def test_what_is_still_travelling_is_an_input_output_error_with_the_reason(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").write_bytes(random.Random(1).randbytes(3 << 20))
    story = Story(tmp_path / "story", source)
    story.tell_all(until="picked up")
    (source / "new").write_bytes(b"written while the device travels\n")
    story.tell(story.command("wait"))
    assert [point["state"] for point in story.points()] == ["provisional"]
    with mounted(story, "latest", tmp_path / "mnt") as mount:
        copy = story.copy_of(source, mount.point)
        assert (copy / "new").read_bytes() == b"written while the device travels\n"
        assert failure((copy / "old").read_bytes) == "EIO"
        assert mount.end() == 0
    assert "still travelling" in mount.said


def test_a_busy_directory_is_refused_before_anything_is_asked(story: Story, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    for place, words in (
        (tmp_path / "full", "is not empty"),
        (tmp_path / "file", "is not a directory"),
        (tmp_path / "absent", "there is no directory"),
        (story.vault / "objects" / "new", "lies inside the vault"),
        (story.home / "new", "lies inside Wain's home"),
    ):
        if place.name == "new":
            place.mkdir()
        said = story.run("mount", "latest", str(place), codes=(1,))
        assert words in said.err
        assert "hint: " in said.err
        if place.name == "new":
            place.rmdir()


def test_a_missing_libfuse_is_named_with_its_package(story: Story, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    story.wrapper = ("env", f"FUSE_LIBRARY_PATH={tmp_path}/libfuse-that-is-not-there.so")
    said = story.run("mount", "latest", str(tmp_path / "mnt"), codes=(1,))
    assert "libfuse 3, which is not installed" in said.err
    assert "fuse3" in said.err


def test_a_mount_that_died_is_told_apart_and_cured(story: Story, tmp_path: Path) -> None:
    with mounted(story, "latest", tmp_path / "mnt") as mount:
        mount.process.kill()
        mount.finish()
        said = story.run("mount", "latest", str(mount.point), codes=(1,))
        assert f"fusermount3 -u {mount.point}" in said.err
    subprocess.run(["fusermount3", "-u", str(mount.point)], check=True)
    with mounted(story, "latest", tmp_path / "mnt"):
        pass
