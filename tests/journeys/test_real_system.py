"""The whole story on a real system's files: `WAIN_REAL=/usr` (or several, with ':' between) names the directories.

They are protected where they lie, nothing is copied; the restored tree needs as much room as they do. With
`WAIN_REAL_ENTRIES` the test insists on a number of entries.
"""

import os
from pathlib import Path

import pytest

from journeys.story import Story
from oracle import rsync
from oracle.walker import Tree, compare_trees

REAL = [Path(each) for each in os.environ.get("WAIN_REAL", "").split(":") if each]


@pytest.mark.skipif(not REAL, reason="WAIN_REAL names no directory (it takes minutes and as much room as its files)")
def test_real_system_comes_back(tmp_path: Path) -> None:
    story = Story(tmp_path / "story", REAL[0], codes=(0, 3), more=tuple(REAL[1:]))
    story.tell_all()
    entries = 0
    problems: list[str] = []
    for source in REAL:
        left, right = (Tree(os.fsencode(each)) for each in (source, story.copy_of(source)))
        problems += [f"walker: {each}" for each in compare_trees(left, right)]
        entries += left.entries
        if rsync.available():
            lines = rsync.differences(os.fsencode(source), os.fsencode(story.copy_of(source)))
            problems += [f"rsync: {line}" for line in lines]
    for result in story.history:
        print(f"{result.seconds:8.1f} s  exit {result.code}  wain {' '.join(result.args)[:100]}")
    print(f"{entries} entries, {len(problems)} differences")
    assert not problems, "\n".join(problems[:40])
    assert entries >= int(os.environ.get("WAIN_REAL_ENTRIES", "1"))
