"""Limits do their work on real files, whatever these are called."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.limits import FIND, READ, TAR, WRITE, ZSTD, Ground, Limit, copy_files, read_files
from benchmarks.measure import Failed, Place, apart, measure


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    source = tmp_path / "a source; with 'marks'"
    source.mkdir()
    for name in ("plain", "-dashed", "with space"):
        (source / name).write_bytes(b"x" * 5000)
    return Ground(str(source), str(tmp_path / "scratch"), 10_001)


@pytest.mark.parametrize("limit", [ZSTD, TAR, FIND, WRITE], ids=lambda limit: limit.name)
def test_it_ends_well_and_leaves_the_source_alone(tmp_path: Path, ground: Ground, limit: Limit) -> None:
    if limit.missing():
        pytest.skip(limit.missing())
    measured = measure(limit.command(ground), Place(str(tmp_path), {}))
    assert measured.seconds > 0
    assert sorted(path.name for path in Path(ground.source).iterdir()) == ["-dashed", "plain", "with space"]


def test_as_many_bytes_are_written_as_the_repository_holds(tmp_path: Path, ground: Ground) -> None:
    measure(WRITE.command(ground), Place(str(tmp_path), {}))
    assert Path(ground.scratch).stat().st_size == ground.stored
    try:
        measure(READ.command(ground), Place(str(tmp_path), {}))
    except Failed as failed:
        pytest.skip(f"no O_DIRECT here: {str(failed).splitlines()[-1]}")


def test_files_are_read_and_copied_whole(tmp_path: Path, ground: Ground) -> None:
    place, copied = Place(str(tmp_path), {}), tmp_path / "copied"
    try:
        measure(read_files(ground.source), place)
    except Failed as failed:
        pytest.skip(f"no O_DIRECT here: {str(failed).splitlines()[-1]}")
    measure(copy_files(ground.source, str(copied)), place)
    assert copied.read_bytes() == b"x" * 15_000
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(Failed):
        measure(read_files(str(tmp_path)), place)


def test_a_missing_program_is_named() -> None:
    assert replace(FIND, programs=("find", "no-such-program")).missing() == "no-such-program not installed"
    assert not replace(FIND, programs=("sh",)).missing()


def test_processor_time_of_children_counts(tmp_path: Path) -> None:
    busy = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; true"
    assert measure(["sh", "-c", busy], Place(str(tmp_path), {})).cpu_seconds > 0.02


def test_what_fails_apart_is_not_lost() -> None:
    with pytest.raises(RuntimeError, match="makedirs ended with 1"):
        apart(os.makedirs, "/")
