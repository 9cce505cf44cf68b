"""Trees that are large in one way: depth, holes, hard links. Work and memory follow what is there, not how it looks."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.disks import KINDS, Disk
from fidelity.bench import Bench
from fidelity.conftest import FULL
from fidelity.peak import measured
from oracle.walker import compare, data_extents
from wain.job.job import JobState

DEPTH = 2_000
MIB, TIB = 1 << 20, 1 << 40
LINKS = int(os.environ.get("WAIN_LINKS", "2000"))
"""Names. 100,000 is what counts; it takes a minute."""
GROWTH_KIB = 6 * 1024
"""What listings and queues may differ by. The links themselves take nothing."""
ENTRIES = 200_000 if FULL else 40_000
"""Of one directory. Held in memory they would take 1,150 bytes each."""
HELD = 2_000
"""So many of them may be in memory."""
CROWD_KIB = 40 * 1024
"""What a backup, and everything else that meets all of them, may take beside the program,"""
CROWD_GROWTH_KIB = 8 * 1024
"""and what twice as many may add: queues that are full now. In memory, the others would take 22 MB."""


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path], check=True)  # pytest's own cleaning up recurses and would give up.


def test_a_tree_of_depth_2000(deep: Path) -> None:
    source = deep / "source"
    source.mkdir()
    here = os.open(source, os.O_RDONLY)
    for level in range(DEPTH):
        os.mkdir("level", dir_fd=here)
        below = os.open("level", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        if level % 50 == 0:
            with open(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w", encoding="ascii") as file:
                file.write(f"level {level}")
    os.close(here)
    bench = Bench(deep / "server", source)
    job = bench.backup()
    assert (job.state, job.files) == (JobState.COMPLETED, DEPTH // 50)
    assert job.directories > DEPTH
    assert bench.restore(deep / "restored").exit_code == 0
    assert bench.differences(deep / "restored") == []


def bytes_read() -> int:
    with open("/proc/self/io", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith("rchar")).split()[1])


@pytest.mark.parametrize("disk", KINDS, indirect=True)
def test_a_sparse_file_of_8_tib(disk: Disk, tmp_path: Path) -> None:
    source = disk.point / "source"
    source.mkdir()
    dice = random.Random(8)
    with open(source / "sparse", "wb") as file:
        file.truncate(8 * TIB)
        for number in range(64):
            file.seek((8 * TIB // 64) * number + MIB * dice.randrange(1000))
            file.write(dice.randbytes(MIB))
    bench = Bench(tmp_path / "server", source)
    before = bytes_read()
    job = bench.backup()
    read = bytes_read() - before
    assert (job.state, job.source_bytes) == (JobState.COMPLETED, 8 * TIB)
    assert 64 * MIB <= job.new_bytes < 65 * MIB
    assert read < 80 * MIB, "it reads the data, a little more, and no hole"
    assert bench.restore(disk.point / "restored").exit_code == 0
    assert bench.differences(disk.point / "restored") == []
    with open(bench.copy_in(disk.point / "restored") / "sparse", "rb") as file:
        assert len(data_extents(file.fileno(), 8 * TIB)) == 64


def test_hard_links_take_no_memory(tmp_path: Path) -> None:
    peaks = {}
    for count in (LINKS // 2, LINKS):
        source = tmp_path / f"source-{count}"
        first = [source / f"file-{number}" for number in range(3)]  # ext4 takes 65,000 names of one file.
        source.mkdir()
        for path in first:
            path.write_text(path.name)
        for number in range(count):
            (source / f"{number // 1000:03}").mkdir(exist_ok=True)
            os.link(first[number % 3], source / f"{number // 1000:03}/link-{number:06}")
        restored = tmp_path / f"restored-{count}"
        said = measured(tmp_path / f"server-{count}", source, restored)
        assert (said["state"], said["files"], said["exit"]) == ("completed", count + 3, 0)
        copy = restored / source.relative_to("/")
        assert [(copy / path.name).stat().st_nlink for path in first] == [path.stat().st_nlink for path in first]
        peaks[count] = said
    print(f"{LINKS} links: {peaks}")
    for what in ("backup", "restore"):
        assert peaks[LINKS][what] - peaks[LINKS // 2][what] < GROWTH_KIB, what


def make_crowd(source: Path, entries: int) -> None:
    """Make so many entries in one directory: mostly files of the same content, some links, some directories."""
    source.mkdir()
    here = os.open(source, os.O_RDONLY)
    for number in range(entries):
        name = b"%08d" % (number * 7919 % entries)
        if number % 50 == 0:
            os.mkdir(name, dir_fd=here)
        elif number % 50 == 1:
            os.symlink(b"to " + name, name, dir_fd=here)
        else:
            file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=here)
            os.write(file, b"the same")
            os.close(file)
    os.close(here)


def test_a_directory_of_very_many_entries_takes_no_memory(tmp_path: Path) -> None:
    peaks = {}
    for count in (ENTRIES // 2, ENTRIES):
        source, restored = tmp_path / f"source-{count}", tmp_path / f"restored-{count}"
        make_crowd(source, count)
        peaks[count] = said = measured(tmp_path / f"server-{count}", source, restored, HELD)
        assert (said["state"], said["files"], said["exit"]) == ("completed", count * 48 // 50, 0)
        assert (said["listed"], said["others"]) == (count, count // 50)
        assert said["new_bytes_again"] < 4 * MIB, "the listings above, and of this one what must be"
    print(f"{ENTRIES} entries: {peaks}")
    for what in ("backup", "unchanged", "list", "restore"):
        assert peaks[ENTRIES][what] - peaks[ENTRIES // 2][what] < CROWD_GROWTH_KIB, what
        assert peaks[ENTRIES][what] < CROWD_KIB, what
    assert [str(one) for one in compare(os.fsencode(source), os.fsencode(restored / source.relative_to("/")))] == []
