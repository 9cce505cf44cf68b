"""The injector is judged first, on a program small enough to know every call of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults import injection
from faults.injection import Fault, Spot

pytestmark = pytest.mark.skipif(bool(injection.why_not()), reason=injection.why_not())

PROGRAM = """
import os, sys
for number in range(4):
    fd = os.open(f"{sys.argv[1]}/{number}.tmp", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x")
    os.fsync(fd)
    os.rename(f"{sys.argv[1]}/{number}.tmp", f"{sys.argv[1]}/{number}")
"""


def run(wrapper: tuple[str, ...], folder: Path) -> int:
    command = [*wrapper, os.path.realpath(sys.executable), "-c", PROGRAM, str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.parametrize("family", ["fsync", "write", "rename"])
def test_every_spot_can_be_hit(family: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "calm").mkdir()
    assert run(injection.recording(log, family), tmp_path / "calm") == 0
    spots = injection.spots(log, [tmp_path / "calm"])
    assert len(spots) == 4
    for number, spot in enumerate(spots):
        folder = tmp_path / f"hit-{number}"
        folder.mkdir()
        assert run(injection.injecting(log, Fault(spot, "EIO")), folder) == 1
        assert len(injection.hit(log)) == 1
        assert str(folder) in injection.hit(log)[0]
        assert len([each for each in folder.iterdir() if each.suffix != ".tmp"]) == number


def test_the_process_is_killed_at_the_call(tmp_path: Path) -> None:
    code = run(injection.injecting(tmp_path / "log", Fault(Spot("rename", 3, ""), "KILL")), tmp_path)
    assert code == -9
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "log") == ["0", "1", "2.tmp"]


def test_repeat_hits_all_that_follow(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spot = Spot("fsync", 2, str(tmp_path))
    code = run(injection.injecting(log, Fault(spot, "ENOSPC", repeat=True)), tmp_path)
    assert code == 1
    assert "ENOSPC" in injection.hit(log)[0]


def test_other_places_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run(injection.recording(log, "fsync"), tmp_path) == 0
    assert injection.spots(log, [tmp_path / "elsewhere"]) == []
