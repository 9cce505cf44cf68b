"""Corpora are the same bytes at every run, and have the shape that their scenario is about."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import corpora, edits


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def digest(root: Path) -> str:
    whole = hashlib.blake2b()
    for name, body in sorted(contents(root).items()):
        whole.update(f"{name} {len(body)} ".encode() + body)
    return whole.hexdigest()


@pytest.mark.parametrize(
    ("make", "scale"),
    [(corpora.large_file, 0.0005), (corpora.media, 0.001), (corpora.million, 0.001), (edits.source_tree, 0.01)],
)
def test_a_corpus_is_the_same_every_time(tmp_path: Path, make: Callable[[str, float], None], scale: float) -> None:
    make(str(tmp_path / "one"), scale)
    make(str(tmp_path / "two"), scale)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_directories_of_the_million_have_100_to_1000_entries(tmp_path: Path) -> None:
    corpora.million(str(tmp_path / "corpus"), 0.01)
    entries = sorted(len(folders) + len(files) for _, folders, files in os.walk(tmp_path / "corpus"))
    # The last one gets what is left over.
    assert entries[1] >= 100
    assert entries[-1] <= 1000
    files = contents(tmp_path / "corpus")
    assert len(files) == 10_000
    assert max(map(len, files.values())) == 2048
    assert min(map(len, files.values())) == 0


def test_ten_files_change_and_no_more(tmp_path: Path) -> None:
    corpora.million(str(tmp_path / "corpus"), 0.0005)
    before = contents(tmp_path)
    corpora.change_ten(str(tmp_path / "corpus"), 1)
    after = contents(tmp_path)
    assert before.keys() == after.keys()
    assert sum(before[name] != after[name] for name in before) == 10


def test_media_has_a_copy_and_an_insertion(tmp_path: Path) -> None:
    corpora.media(str(tmp_path / "corpus"), 0.001)
    files = contents(tmp_path / "corpus")
    assert len(files) == 32
    assert files["copied"] == files["media-00"]
    plain, edited = files["media-01"], files["edited"]
    half = len(plain) // 2
    assert len(edited) == len(plain) + (64 << 10)
    assert (edited[:half], edited[-(len(plain) - half) :]) == (plain[:half], plain[half:])


def test_a_version_changes_adds_renames_and_removes_a_little(tmp_path: Path) -> None:
    edits.source_tree(str(tmp_path), 0.1)
    before = contents(tmp_path)
    kept_times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    edits.edit(str(tmp_path), 2)
    after = contents(tmp_path)
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    renamed = {name for name in gone if name.removesuffix(".py") + "_2.py" in new}
    assert {after[name.removesuffix(".py") + "_2.py"] for name in renamed} == {before[name] for name in renamed}
    assert renamed
    assert gone - renamed
    assert any(name.endswith("_added_2.py") for name in new)
    assert after[edits.LOG].startswith(before[edits.LOG])
    assert len(after[edits.LOG]) > len(before[edits.LOG])
    same = [name for name in before.keys() & after.keys() if before[name] == after[name]]
    assert 0.8 * len(before) < len(same) < len(before) - 3
    assert all((tmp_path / name).stat().st_mtime_ns == kept_times[tmp_path / name] for name in same)


def test_versions_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        edits.source_tree(str(tmp_path / name), 0.02)
        for version in range(2, edits.VERSIONS + 1):
            edits.edit(str(tmp_path / name), version)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
