"""Damage on the road, repaired from parity: the story goes on as if nothing had happened, and nothing is sent again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from device.disks import KINDS, SIZES, Disk
from journeys.judges import assert_equal
from journeys.sources import small_tree
from journeys.story import ORDER, Story

MIB = 1 << 20
BLOCK = 4096


def packs_blob(root: Path) -> Path:
    return max(root.rglob("packs-*"), key=lambda path: path.stat().st_size)


def spoil(path: Path, offset: int, length: int) -> None:
    with open(path, "r+b") as file:
        os.pwrite(file.fileno(), bytes(length), offset)


def one_byte(blob: Path) -> None:
    body = blob.read_bytes()
    blob.write_bytes(body[:100_000] + bytes([body[100_000] ^ 1]) + body[100_001:])


def two_leaves(blob: Path) -> None:
    spoil(blob, MIB, 2 * MIB)


def end_of_the_blob(blob: Path) -> None:
    """The last pack's footer page, and what is before it."""
    spoil(blob, blob.stat().st_size - 20_000, 20_000)


DAMAGE = (one_byte, two_leaves, end_of_the_blob)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    source = tmp_path / "source"
    small_tree(source, megabytes=10)
    return Story(tmp_path / "story", source)


def seed_state(story: Story) -> str:
    return str(json.loads((story.home / "agent" / "seed.json").read_text())["state"])


def arrives_without_the_source(story: Story) -> str:
    """Import; what is restored equals the source, and no byte of it went over the wire. Return the job's words."""
    job = story.backup()
    assert "over the wire" not in job["message"]
    assert job["message"].startswith("Job Completed")
    assert job["newBytes"] == 0
    assert seed_state(story) == "in vault"
    assert story.attempt("vault", "verify").code == 0
    story.restore(story.restored)
    assert_equal(story.source, story.copy_of(story.source))
    shutil.rmtree(story.restored)
    return str(job["message"])


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__)
def test_damage_to_the_device_is_repaired_by_the_data_copy(story: Story, damage: Callable[[Path], None]) -> None:
    story.tell_all(until="arrived")
    damage(packs_blob(story.device))
    verified = story.attempt("device", "verify", str(story.device))
    assert verified.code == 4
    copied = story.run("order", "copy", ORDER, str(story.device))
    assert "CompletedWithWarnings" in copied.out
    assert "repaired from parity" in copied.out
    assert arrives_without_the_source(story) == "Job Completed"
    story.run("device", "erase", ORDER, str(story.device))


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__)
def test_damage_in_the_account_is_repaired_by_the_import(story: Story, damage: Callable[[Path], None]) -> None:
    story.tell_all(until="order verify")
    (account,) = story.accounts()
    damage(packs_blob(account))
    assert story.attempt("order", "verify", ORDER).code == 4
    assert "repaired from parity" in arrives_without_the_source(story)


def test_without_parity_the_same_damage_goes_over_the_wire(story: Story) -> None:
    story.tell_all(until="policy")
    said = story.run("policy", "set", "--parity", "off", "--json").json()
    assert said["parityPercent"] == 0
    story.tell_all_after("policy", until="arrived")
    assert not list(story.device.rglob("parity-*"))
    one_byte(packs_blob(story.device))
    assert story.attempt("order", "copy", ORDER, str(story.device)).code == 4
    job = story.backup()
    assert "over the wire" in job["message"]
    story.restore(story.restored)
    assert_equal(story.source, story.copy_of(story.source))


def test_parity_is_explained_and_verified(story: Story) -> None:
    story.tell_all(until="device verify")
    (blob,) = story.device.rglob("parity-*")
    said = story.run("inspect", str(blob), "--json").json()
    assert said["what"] == "a page blob of parity"
    assert said["rows"]
    assert all(row[-1] == "whole" for row in said["rows"])
    spoil(blob, 3 * BLOCK, 10)
    assert any("cell 0" in row[-1] for row in story.run("inspect", str(blob), "--json").json()["rows"])
    verified = story.attempt("device", "verify", str(story.device))
    assert verified.code == 4
    assert "cell 0" in verified.out


@pytest.mark.parametrize("kind", KINDS)
def test_decayed_sectors_of_a_disk(kind: str, tmp_path: Path) -> None:
    """A real file system in an image: sectors under the packs are overwritten while the disk is on the road."""
    source = tmp_path / "source"
    small_tree(source, megabytes=10)
    (tmp_path / "story").mkdir()
    disk = Disk(kind, tmp_path / "story", "device", SIZES[kind] + (64 << 20))
    disk.mount()
    try:
        story = Story(tmp_path / "story", source)
        story.tell_all(until="arrived")
        blob = packs_blob(story.device)
        with open(blob, "rb") as file:
            lost = [os.pread(file.fileno(), BLOCK, at) for at in range(MIB + 8 * BLOCK, 2 * MIB, 16 * BLOCK)]
        disk.unmount()
        with open(disk.image, "r+b") as image:
            body = image.read()
            for sector in lost:
                at = body.find(sector)
                assert at >= 0
                os.pwrite(image.fileno(), b"decayed!" * (BLOCK // 8), at)
        disk.mount()
        report = story.attempt("order", "copy", ORDER, str(story.device), "--json")
        # btrfs has checksums of its own, so that what decayed cannot be read at all; elsewhere it reads as junk.
        assert report.code == 0, report
        assert report.json()["stage"] == "CompletedWithWarnings", report
        assert {each["category"] for each in report.json()["findings"]} == {"RepairedFromParity"}
        arrives_without_the_source(story)
    finally:
        disk.drop()
