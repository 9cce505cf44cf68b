"""A really full file system: the command stops, names the shortfall, and succeeds when there is room again."""

import contextlib
import os
from pathlib import Path

import pytest

from journeys.judges import assert_equal
from journeys.sources import change_a_little, small_tree
from journeys.story import Story
from oracle import mounts

MIB = 1 << 20
PLACES = {"device": "write device", "vault": "import", "home": "copy"}
"""What lies on the small file system, and the command that fills it first. The account is in the home."""


@pytest.mark.parametrize("kind", mounts.MAKE)
@pytest.mark.parametrize("place", PLACES)
def test_full(place: str, kind: str, tmp_path: Path) -> None:
    if reason := mounts.why_not(kind):
        pytest.skip(reason)
    source = tmp_path / "source"
    small_tree(source, megabytes=40)
    story = Story(tmp_path / "story", source, changes=lambda: change_a_little(source))
    point = story.work / place
    with mounts.mounted(kind, str(tmp_path), 512 * MIB, str(point)):
        commands = story.commands()
        names = [each.name for each in commands]
        at = names.index(PLACES[place])
        for command in commands[:at]:
            story.tell(command)
        filler = fill(point, leave_bytes=12 * MIB)
        full = story.attempt(*commands[at].args)
        assert full.code == 1, full
        assert "full" in full.err + full.out, full
        filler.unlink()
        for command in commands[at:]:
            story.tell(command)
        assert_equal(source, story.copy_of(source))


def fill(point: Path, leave_bytes: int) -> Path:
    """Take all room on a file system but `leave_bytes`; return the file that holds it. Its name is hidden."""
    filler = point / ".filler"
    room = os.statvfs(point)
    with open(filler, "wb") as file:
        # Root may take the blocks that ext4 reserves, so they are taken here too; btrfs does not give all it counts.
        for free in (room.f_bfree, room.f_bavail):
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, free * room.f_frsize - leave_bytes)
                return filler
    raise AssertionError(f"{point} could not be filled")
