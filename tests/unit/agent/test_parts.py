"""A directory beside its histories, part by part: every leaf once, and each with all that is remembered of it."""

import os
from pathlib import Path

import pytest

from wain.agent import parts as module
from wain.agent.history import HistoryReader, HistoryWriter, Remembered
from wain.agent.listing import Found
from wain.agent.parts import in_parts
from wain.tree.entry import Entry, Kind, Stat
from wain.tree.format import encode_entry

RID = b"registration 16b"
HERE = b"/here"
STAT = os.stat(".")


def entry(name: bytes) -> bytes:
    return encode_entry(Entry(name, Kind.FIFO, Stat(0o600, 0, 0, 0, 1, 2, 3, 0, 1)))


def history(path: Path, *frames: str) -> HistoryReader:
    """Write a history with one frame of `HERE` for each word, whose letters are the names."""
    with HistoryWriter(path, RID) as record:
        record.add(b"/before", Remembered([entry(b"x")], {}, None))
        for frame in frames:
            record.add(HERE, Remembered([entry(letter.encode()) for letter in frame], {}, None))
        record.add(b"/herf", Remembered([entry(b"x")], {}, None))
    return HistoryReader(path, RID)


def parts(leaves: str, histories: list[HistoryReader], *, crowd: bool = True) -> list[tuple[str, list[str]]]:
    found = [Found(letter.encode(), STAT) for letter in leaves]
    return [
        (
            b"".join(one.name for one in part.leaves).decode(),
            [b"".join(seen.entries).decode() for seen in part.histories],
        )
        for part in in_parts(HERE, iter(found) if crowd else found, histories)
    ]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_NAMES", 2)
    monkeypatch.setattr(module, "MOST_NAMES", 4)


@pytest.mark.parametrize(
    ("leaves", "frames", "wanted"),
    [
        ("abcde", (), [("ab", []), ("cd", []), ("e", [])]),
        ("abcdef", ("abc", "def"), [("abc", ["abc"]), ("def", ["def"])]),
        ("abcdefgh", ("abc", "def"), [("abc", ["abc"]), ("def", ["def"]), ("gh", [])]),
        ("adf", ("abc", "def"), [("a", ["abc"]), ("df", ["def"])]),
        ("f", ("abc", "def"), [("f", ["def"])]),
        ("acz", ("ab", "cd", "ef"), [("a", ["ab"]), ("c", ["cd"]), ("z", [])]),
        ("abcdef", ("af", "g"), [("abcd", ["af"]), ("ef", ["af"])]),
        ("", ("ab", "cd"), []),
    ],
)
def test_a_part_ends_where_a_part_of_the_history_does(
    tmp_path: Path, leaves: str, frames: tuple[str, ...], wanted: list[tuple[str, list[str]]]
) -> None:
    reader = history(tmp_path / "h", *frames)
    assert parts(leaves, [reader]) == wanted
    assert list(reader.seen(b"/herf").entries) == [b"x"], "the next directory is found, whatever was left of this one"


def test_two_histories_end_parts_both(tmp_path: Path) -> None:
    newer, older = history(tmp_path / "new", "ad", "e"), history(tmp_path / "old", "abc", "def")
    assert parts("abcdef", [newer, older]) == [
        ("abc", ["ad", "abc"]),
        ("d", ["ad", "def"]),
        ("e", ["e", "def"]),
        ("f", ["def"]),
    ]


@pytest.mark.parametrize(("frames", "wanted"), [((), [("abcde", [])]), (("abc",), [("abcde", ["abc"])])])
def test_a_list_is_one_part(tmp_path: Path, frames: tuple[str, ...], wanted: list[tuple[str, list[str]]]) -> None:
    assert parts("abcde", [history(tmp_path / "h", *frames)], crowd=False) == wanted


def test_a_list_that_was_a_crowd_comes_in_its_parts(tmp_path: Path) -> None:
    assert parts("abd", [history(tmp_path / "h", "abc", "def")], crowd=False) == [("ab", ["abc"]), ("d", ["def"])]
