"""The offline road as its user sees it: what is asked, saved, written and said. Numbers are those of the checklist."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ORDER, Wain

ROOM_BYTES = 3_000_000


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for records, and for nothing else."""
    point = tmp_path / "cramped"
    point.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", point], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")
    yield point
    subprocess.run(["umount", point], check=True)


def road(tmp_path: Path, source: Path, *more: str) -> tuple[str | Path, ...]:
    return ("policy", "set", "--include", source, "--initial", "offline", "--device", tmp_path / "device", *more)


def test_s3_s4_nothing_is_staged_beside_the_device(
    cramped: Path, wain: Wain, tmp_path: Path, source: Path, passphrase: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "noise").write_bytes(os.urandom(4 * ROOM_BYTES))
    monkeypatch.setenv("WAIN_HOME", str(cramped / "home"))
    monkeypatch.setenv("TMPDIR", str(cramped))
    where = ("--vault", f"file://{tmp_path}/vault", "--recovery-key-file", tmp_path / "recovery")
    wain("register", *where, "--passphrase-file", passphrase)
    wain("account", "create", "seedaccount", "--databox", f"file://{tmp_path}/databox")
    databox = ("--databox", f"file://{tmp_path}/databox")
    wain("order", "create", ORDER, "--account", "seedaccount", *databox)
    (tmp_path / "device").mkdir()
    wain("device", "prepare", ORDER, tmp_path / "device", *databox)
    for stage in ("Dispatched", "Delivered"):
        wain("order", "advance", ORDER, stage, *databox)
    wain(*road(tmp_path, source, "--order", ORDER), *databox)
    assert "safe to ship" in wain("backup", *databox).out
    written = sum(path.stat().st_size for path in (tmp_path / "device" / "PageBlob").rglob("*") if path.is_file())
    assert written > 4 * ROOM_BYTES


def test_s61_s62_s75_s76_the_policy_is_saved_and_shown(delivered: Wain, tmp_path: Path, source: Path) -> None:
    more = ("--order", ORDER, "--schedule", "daily 12:30,21:00", "--retention", "30d 12w 24m 10y")
    said = delivered(*road(tmp_path, source, *more)).out
    shown = delivered("policy", "show").out
    assert said == shown
    for words in (str(source), "offline", ORDER, str(tmp_path / "device"), "daily 12:30,21:00", "30d 12w 24m 10y"):
        assert words in shown, words
    kept = delivered("policy", "show", "--json").json()
    assert (kept["initial"], kept["order"]) == ("offline", ORDER)


@pytest.mark.parametrize("wrong", ["no order", "no device", "no include", "another road"])
def test_d1_what_is_wrong_is_said_before_the_policy_is_saved(
    delivered: Wain, tmp_path: Path, source: Path, wrong: str
) -> None:
    words = {
        "no order": (*road(tmp_path, source), "--order", "unknown"),
        "no device": (
            "policy",
            "set",
            "--include",
            source,
            "--order",
            ORDER,
            "--initial",
            "offline",
            "--device",
            source,
        ),
        "no include": ("policy", "set", "--initial", "offline", "--order", ORDER, "--device", tmp_path / "device"),
        "another road": ("policy", "set", "--include", source, "--initial", "by mail"),
    }[wrong]
    assert delivered(*words, code=None).code in (1, 4)
    assert "there is no policy yet" in delivered("policy", "show", code=1).err


def test_s78_s79_the_job_shows_what_it_wrote_and_where(delivered: Wain, tmp_path: Path, source: Path) -> None:
    delivered(*road(tmp_path, source, "--order", ORDER))
    job = delivered("backup", "--json").json()
    assert (job["state"], job["message"]) == (
        "completed",
        "The device is written, read back and sealed: safe to ship",
    )
    assert (job["files"], job["directories"] > 1, job["skipped"]) == (21, True, 0)
    assert job["sourceBytes"] > 2_000_000
    [listed] = delivered("jobs", "--json").json()
    assert listed == job


def test_d6_a_waiting_job_is_neither_failed_nor_completed(delivered: Wain, tmp_path: Path, source: Path) -> None:
    delivered(*road(tmp_path, source, "--order", ORDER))
    delivered("backup")
    delivered("order", "advance", ORDER, "PickedUp")
    for _ in range(2):
        assert delivered("backup", "--json", code=0).json()["state"] == "waiting"
    assert [job["state"] for job in delivered("jobs", "--json").json()] == ["completed", "waiting", "waiting"]
    # What changed meanwhile is covered over the wire; nothing of it counts as the first backup.
    assert {point["state"] for point in delivered("points", "--json").json()} <= {"provisional"}
