"""What is seen of long work, on a clock that the test holds."""

import io

import pytest

from wain.cli.progress import CalmProgress, LiveProgress, format_seconds


class Clock:
    """A steady clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (48, "48 s"),
        (725, "12 min 5 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_have_words(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words


def test_a_log_gets_one_line_every_ten_seconds_with_rate_and_time_left() -> None:
    clock, out = Clock(), io.StringIO()
    with CalmProgress(out, clock) as progress:
        progress.phase("writing", 100_000_000)
        for second in range(1, 26):
            clock.now = second
            progress.advance(2_000_000, 10)
    lines = out.getvalue().splitlines()
    assert lines == [
        "writing: 20.0 MB of 100.0 MB (20%), 100 items, 2.0 MB/s, 40 s left",
        "writing: 40.0 MB of 100.0 MB (40%), 200 items, 2.0 MB/s, 30 s left",
    ]


def test_short_work_says_nothing_in_a_log() -> None:
    clock, out = Clock(), io.StringIO()
    with CalmProgress(out, clock) as progress:
        progress.phase("writing", 10)
        clock.now = 9.0
        progress.advance(10)
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar_after_two_seconds_only() -> None:
    clock, out = Clock(), Terminal()
    with LiveProgress(out, clock) as progress:
        progress.phase("reading back", 1000)
        clock.now = 1.9
        progress.advance(400)
        assert out.getvalue() == ""
        clock.now = 2.1
        progress.advance(100, 3)
        progress.note("a calm remark")
    assert "reading back" in out.getvalue()
    assert "a calm remark" in out.getvalue()


def test_an_unknown_total_has_no_time_left() -> None:
    clock, out = Clock(), io.StringIO()
    with CalmProgress(out, clock) as progress:
        progress.phase("walking")
        clock.now = 10.0
        progress.advance(5_000_000, 7)
    assert out.getvalue() == "walking: 5.0 MB, 7 items, 500.0 kB/s\n"
