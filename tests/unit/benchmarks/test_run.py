"""One command measures real programs and writes the page."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.run import main

TINY = ("--scale", "0.0005", "--rounds", "1")


def test_wain_is_measured_beside_the_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ("--work", str(tmp_path), "--markdown", str(tmp_path / "page"), "--json", str(tmp_path / "figures"))
    assert main(["small", *TINY, "--no-seed", "--tools", "wain", *places]) == 0
    page, table = (tmp_path / "page").read_text(), capsys.readouterr().out
    for step in ("first backup", "unchanged backup", "restore"):
        assert f"| {step} | wain |" in page
        assert f"small files, {step}\n" in table
    assert "Wain beside the limits: " in page
    assert "python -m benchmarks small --rounds 1 --scale 0.0005 --tools wain --no-seed --markdown" in page
    assert str(tmp_path) not in page
    medians = json.loads((tmp_path / "figures").read_text())["medians"]
    assert all(each["stored_bytes"] and each["peak_bytes"] for each in medians if each["tool"] == "wain")
    assert sorted(os.listdir(tmp_path)) == ["figures", "page"]


def test_a_peer_that_fails_is_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = tmp_path / "kopia"
    peer.write_text("#!/bin/sh\necho no mood today >&2\nexit 7\n")
    peer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert main(["media", *TINY, "--tools", "kopia", "--work", str(tmp_path)]) == 0
    seen = capsys.readouterr()
    assert "left out: kopia: failed at media" in seen.out
    assert "no mood today" in seen.err
    assert "dd write, fsync" in seen.out


def test_measurements_of_wain_alone_stand_in_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page"
    also = ["--also", "index --chunks 2000", "--also", "memory 20"]
    assert main(["media", *TINY, "--tools", "wain", *also, "--work", str(tmp_path), "--markdown", str(page)]) == 0
    text = page.read_text()
    assert "## `python -m benchmarks.index --chunks 2000`\n\n```\n2,000 chunks\nbuilt and saved" in text
    assert "bytes a chunk" in text
    assert "first backup" in text.partition("benchmarks.memory 20")[2]
    assert "--also 'index --chunks 2000' --also 'memory 20'" in text
    assert str(tmp_path) not in text
    with pytest.raises(SystemExit):
        main(["--also", "weather"])


@pytest.mark.parametrize(("words", "known"), [(["medium"], "small, large"), (["--tools", "tape"], "wain, restic")])
def test_unknown_names_are_refused_with_the_known_ones(words: list[str], known: str) -> None:
    with pytest.raises(SystemExit, match=f"unknown .*; known are {known}"):
        main(words)
