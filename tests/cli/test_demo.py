"""The demo, as a user runs it, on a small tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wain.base.errors import OutOfSpace, Refused
from wain.cli.demo_ground import find_place, need_bytes
from wain.cli.measure import Extent, measure


def demo(source: Path, tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "ground").mkdir()
    environ = {**os.environ, "TMPDIR": str(tmp_path / "ground")}
    command = [sys.executable, "-m", "wain.cli.main", "demo", str(source), *args]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_whole_story_ends_without_a_difference(source: Path, tmp_path: Path) -> None:
    before = {path: path.lstat() for path in source.rglob("*")}
    done = demo(source, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("safe to ship", "Waiting for Azure Data Box job to be completed", "Job Completed", "No difference."):
        assert words in done.stdout
    assert list((tmp_path / "ground").iterdir()) == []
    after = {path: path.lstat() for path in source.rglob("*")}
    assert {p: (s.st_mtime_ns, s.st_ctime_ns, s.st_size) for p, s in before.items()} == {
        p: (s.st_mtime_ns, s.st_ctime_ns, s.st_size) for p, s in after.items()
    }


def test_a_kept_demo_can_be_gone_on_with(source: Path, tmp_path: Path) -> None:
    done = demo(source, tmp_path, "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"export WAIN_HOME={tmp_path}/kept/home" in done.stdout
    environ = {**os.environ, "WAIN_HOME": f"{tmp_path}/kept/home"}
    again = subprocess.run([sys.executable, "-m", "wain.cli.main", "backup"], env=environ, check=False)
    assert again.returncode == 0


def test_the_room_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(OutOfSpace, match="is full"):
        find_place("/usr", 2**60, "")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_never_plays_inside_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(Refused, match="would lie inside"):
        find_place(str(tmp_path), 1, "")
    with pytest.raises(Refused, match="would lie inside"):
        find_place(str(tmp_path), 1, str(tmp_path / "kept"))


def test_a_linked_file_is_measured_once(source: Path) -> None:
    os.link(source / "large", source / "again")
    found = measure(str(source), lambda *_: None)
    assert found.content_bytes < 3 * 2**20
    assert found.entries == 25
    assert need_bytes(Extent(0, 10**9)) > 3 * 10**9
