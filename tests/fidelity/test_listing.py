"""No name that is there all the time is missing without a word, on file systems where listings and renames race."""

import os
import time

import pytest

from device.disks import KINDS, Disk
from fidelity.writers import NAMES, writing
from unit.agent.engine import Problems
from wain.agent.walk import Entered, Walk, WalkPlan
from wain.policy.exclusion import Exclusions

SECONDS = float(os.environ.get("WAIN_LISTING_SECONDS", "2"))


@pytest.mark.parametrize("disk", KINDS, indirect=True)
def test_files_saved_by_renaming_over_are_all_found(disk: Disk) -> None:
    folder = disk.point / "saved"
    folder.mkdir()
    wanted = {b"name%d" % number for number in range(NAMES)}
    for name in wanted:
        (folder / os.fsdecode(name)).write_text("0")
    plan = WalkPlan((os.fsencode(folder),), Exclusions(()))
    listings, warned, until = 0, 0, time.monotonic() + SECONDS
    with writing("rename-over", str(folder), seed=1):
        while time.monotonic() < until:
            problems = Problems()
            for event in Walk(plan, problems.append):
                if isinstance(event, Entered) and event.path == plan.includes[0]:
                    missing = wanted - {one.name for one in event.leaves}
                    assert not missing or problems.paths == [event.path], f"listing {listings} lacks {missing}"
            listings += 1
            warned += bool(problems)
    print(f"{disk.kind}: {listings} listings, {warned} named as changing")
    assert warned < listings / 2
