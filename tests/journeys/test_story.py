"""The story on a torture tree, judged by strangers; a second backup; a third; single paths."""

import os
from pathlib import Path

import pytest

from journeys.judges import assert_equal, stored_bytes
from journeys.sources import change_a_little, small_tree
from journeys.story import Story
from oracle import mounts, torture

WAITING = "Waiting for Azure Data Box job to be completed"
FULL = os.environ.get("WAIN_TORTURE") == "full"


def torture_story(work: Path) -> Story:
    source = work / "source"
    torture.build(os.fsencode(source), full=FULL)
    changed = source / "content" / "text"

    def change() -> None:
        changed.write_bytes(b"rewritten\n" * 1000)
        (source / "content" / "new").write_bytes(b"new")
        (source / "links" / "many-5").unlink()

    return Story(work / "story", source, changes=change)


def tell_on(work: Path) -> None:
    story = torture_story(work)
    story.tell_all(until="wait")
    assert WAITING in story.history[-1].out
    story.tell_all_after("wait", until="import")
    assert story.points()
    first = work / "first"
    story.restore(first)
    assert_equal(story.source, story.copy_of(story.source, first))
    story.tell_all_after("import")
    assert_equal(story.source, story.copy_of(story.source))
    assert len(story.points()) >= 2


def test_torture_tree_comes_back(tmp_path: Path) -> None:
    tell_on(tmp_path)


@pytest.mark.parametrize("kind", mounts.MAKE)
def test_torture_tree_on(kind: str, tmp_path: Path) -> None:
    if reason := mounts.why_not(kind):
        pytest.skip(reason)
    with mounts.mounted(kind, str(tmp_path), (8 if FULL else 2) << 30) as point:
        tell_on(Path(point) / "work")


def test_what_a_second_and_third_backup_store(tmp_path: Path) -> None:
    source = tmp_path / "source"
    small_tree(source, megabytes=24)
    story = Story(tmp_path / "story", source)
    story.tell_all(until="import")
    after_seed = stored_bytes(story.vault)
    story.backup()
    unchanged = stored_bytes(story.vault) - after_seed
    assert unchanged < 300_000, f"an unchanged backup stored {unchanged} bytes"
    change_a_little(source)
    job = story.backup()
    changed = stored_bytes(story.vault) - after_seed - unchanged
    assert 100_000 < changed < 700_000, f"107 KB of changes stored {changed} bytes"
    assert job["storedBytes"] <= changed
    assert job["newBytes"] >= 100_000
    assert job["newBytes"] < 1_000_000
    story.restore(story.restored)
    assert_equal(source, story.copy_of(source))


def test_each_point_keeps_its_own_time(tmp_path: Path) -> None:
    source = tmp_path / "source"
    small_tree(source, megabytes=2)
    story = Story(tmp_path / "story", source)
    story.tell_all(until="import")
    before = {each["id"] for each in story.points()}
    kept = tmp_path / "kept"
    story.restore(kept)
    change_a_little(source)
    story.backup()
    points = story.points()
    assert points[-1]["id"] not in before
    old = next(each["id"] for each in points if each["id"] in before)
    story.restore(tmp_path / "old", point=old)
    assert_equal(story.copy_of(source, kept), story.copy_of(source, tmp_path / "old"))
    story.restore(story.restored)
    assert_equal(source, story.copy_of(source))


def test_single_paths(tmp_path: Path) -> None:
    source = tmp_path / "source"
    small_tree(source, megabytes=2)
    story = Story(tmp_path / "story", source)
    story.tell_all(until="import")
    wanted = [source / "folder-1", source / "sparse", source / "linked"]
    story.restore(story.restored, *wanted)
    for path in wanted:
        copy = story.copy_of(path)
        if path.is_dir():
            assert_equal(path, copy)
        else:
            assert copy.read_bytes() == path.read_bytes()
            assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns
            assert copy.stat().st_blocks == path.stat().st_blocks
    assert sorted(each.name for each in story.copy_of(source).iterdir()) == ["folder-1", "linked", "sparse"]
    listed = story.run("ls", "latest", str(source), "--json", "--passphrase-file", str(story.passphrase)).out
    assert "large-0" in listed
    assert "small-1" not in listed
    missing = story.attempt("restore", "latest", str(source / "nowhere"), "--to", str(tmp_path / "x"),
                            "--passphrase-file", str(story.passphrase))  # fmt: skip
    assert missing.code == 1
    assert "nowhere" in missing.err + missing.out


def test_wrong_passphrase_restores_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    small_tree(source, megabytes=1)
    story = Story(tmp_path / "story", source)
    story.tell_all(until="import")
    story.passphrase.write_text("incorrect horse battery staple\n", encoding="ascii")
    refused = story.attempt(
        "restore", "latest", "--to", str(story.restored), "--passphrase-file", str(story.passphrase)
    )
    assert refused.code == 1
    assert not story.copy_of(source).exists()


def test_nothing_on_device_or_vault_names_the_source(tmp_path: Path) -> None:
    """Canaries: no path, host name, content or passphrase lies in the clear outside of the agent's home."""
    source = tmp_path / "source"
    small_tree(source, megabytes=1)
    (source / "canary-file-name").write_bytes(b"canary-content " * 5000)
    story = Story(tmp_path / "story", source)
    story.tell_all(until="import")
    canaries = [b"canary-file-name", b"canary-content", b"battery staple", os.fsencode(source), b"folder-3"]
    for place in (story.device, story.vault, *story.accounts()):
        for path in place.rglob("*"):
            if path.is_file():
                body = path.read_bytes()
                assert not [each for each in canaries if each in body], path
