"""What people and scripts read."""

import io
import json
from collections.abc import Iterator

import pytest

from wain.base.errors import Corrupt, DeviceLost, IllegalMove, Missing, OutOfSpace, Refused, Truncated, WriteFailed
from wain.cli import render


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), 1),
        (OutOfSpace("disk", 2, 1), 1),
        (WriteFailed("disk", "gone"), 1),
        (DeviceLost("/mnt"), 1),
        (IllegalMove("order", "a", "b"), 1),
        (Corrupt("pack", "leaf 3"), 4),
        (Missing("pack"), 4),
        (Truncated("seal", 2, 1), 4),
    ],
)
def test_each_family_has_its_exit_code(error: Exception, code: int) -> None:
    assert render.exit_code(error) == code


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain.txt", "plain.txt"),
        ("gr\u00fc\u00df".encode(), "gr\u00fc\u00df"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"two\nlines", "two\\x0alines"),
        (b"\xff\xfe", "\\xff\\xfe"),
    ],
)
def test_no_file_name_drives_the_terminal(name: bytes, shown: str) -> None:
    assert render.printable(name) == shown


def test_a_table_off_the_terminal_is_aligned_text() -> None:
    out = io.StringIO()
    render.table(("name", "size>"), [("a", "1"), ("long", "1000")], out)
    assert out.getvalue() == "name  size\na        1\nlong  1000\n"


def test_an_error_is_a_sentence_and_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.show_error(Refused("the vault is locked", "Wait."), as_json=False) == 1
    assert capsys.readouterr().err == "wain: the vault is locked\nhint: Wait.\n"


def test_an_error_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.show_error(Corrupt("pack 12", "leaf 3"), as_json=True) == 4
    said = json.loads(capsys.readouterr().err)
    assert said == {"error": "Corrupt", "message": "pack 12 is damaged: leaf 3", "hint": "", "exitCode": 4}


def test_a_share_is_told_only_when_it_tells_something() -> None:
    assert render.sizes(400, 1000) == "400 B (40% of 1.0 kB)"
    assert render.sizes(24_600, 1_400) == "24.6 kB"
    assert render.sizes(10, 0) == "10 B"


def test_a_table_of_very_many_rows_is_printed_as_it_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "TABLE_ROWS", 2)
    printed: list[str] = []

    def rows() -> Iterator[tuple[str, str]]:
        for number in range(5):
            printed.append(capsys.readouterr().out)
            yield "wider than the rest" if number == 4 else "a", str(number)

    render.table(("name", "size>"), rows())
    printed.append(capsys.readouterr().out)
    assert printed[:3] == ["", "", "name  size\na        0\na        1\n"]
    assert "".join(printed).splitlines()[3:] == ["a        2", "a        3", "wider than the rest     4"]
