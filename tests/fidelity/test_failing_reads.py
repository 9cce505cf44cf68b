"""A disk that fails here and there: each file that suffers is named with its reason, and all others come back."""

import os
from pathlib import Path

import pytest

from fidelity.failing import FAULTS, NODES, SAYS, served
from journeys.mounting import why_not
from journeys.story import Story

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

ONLY_A_PART = {"readdir": "it could not be listed in full", "listxattr": "its extended attributes were not kept"}
"""Faults that do not cost the file itself."""
LOST = {
    path
    for path in NODES
    if any(
        path == fault or path.startswith(fault + "/") for call, fault in FAULTS if call not in (*ONLY_A_PART, "opendir")
    )
}
UNSEEN = {"/half-listed/third", "/not-listed/unseen", "/not-opened", "/not-opened/unseen"}
"""What nobody could see, below a directory that is named."""


def test_each_fault_is_named_and_all_else_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    story = Story(tmp_path / "story", source)
    story.run(*story.command("register").args)
    story.run("policy", "set", "--include", str(source), "--initial", "online")
    with served(source):
        job = story.run("backup", "--json", codes=(3,)).json()
        said = {os.path.relpath(one["path"], source): one["reason"] for one in job["problems"]}
        assert said == {
            path[1:]: ": ".join(filter(None, (ONLY_A_PART.get(call), SAYS[number])))
            for (call, path), number in FAULTS.items()
        }
        assert job["skipped"] == len(FAULTS)
        again = story.run("backup", "--json", codes=(3,)).json()
        assert len(again["problems"]) == len(FAULTS), "a fault is named every time"
    story.restore(story.restored)
    copy = story.copy_of(source)
    there = {"/" + os.path.relpath(path, copy) for path in copy.rglob("*")}
    assert there == set(NODES) - {"/"} - LOST - UNSEEN
    for path in there:
        node, mine = NODES[path], copy / path[1:]
        if mine.is_symlink():
            assert os.readlink(mine) == node.content.decode()
        elif mine.is_file():
            assert mine.read_bytes() == node.content
