"""Commands beside a backup: what they are told, how they fail, and that none of them outlives its limit."""

import signal
import time
from pathlib import Path

import pytest

from wain.agent import commands
from wain.agent.commands import CommandFailed, run_command


def gone(pid: int) -> bool:
    """Return True once a process has ended; whoever adopted it takes a moment to bury it."""
    for _ in range(50):
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                if b") Z" in stat.read():
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_a_command_is_told_facts_and_reads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_command("it", f'cat; printf %s "$WAIN_JOB" > {out}', {"WAIN_JOB": b"\xff7"}, 10)
    assert out.read_bytes() == b"\xff7"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("echo one; echo two >&2; exit 3", "it ended with status 3; its last words: one / two"),
        ("kill -9 $$", "it was killed by SIGKILL"),
        ("no-such-program-here", "it ended with status 127"),
    ],
)
def test_a_failure_is_named_with_the_last_words(command: str, how: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        run_command("it", command, {}, 10)
    assert str(failed.value).startswith(how)


def test_only_the_end_of_much_output_is_shown() -> None:
    with pytest.raises(CommandFailed) as failed:
        run_command("it", "seq 1 200000; exit 1", {}, 30)
    assert failed.value.tail.endswith("199999 / 200000")
    assert failed.value.tail.count("/") == commands.TAIL_LINES - 1


def test_a_command_and_its_children_end_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "GRACE_SECONDS", 0.5)
    pid = tmp_path / "pid"
    deaf = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {pid}; sleep 60; sleep 60' & wait; sleep 60"
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="ran longer than its 1 seconds"):
        run_command("it", deaf, {}, 1)
    assert time.monotonic() - begun < 20
    assert gone(int(pid.read_text()))


def test_a_child_that_stays_behind_holds_nobody_up() -> None:
    begun = time.monotonic()
    run_command("it", "sleep 30 & exit 0", {}, 20)
    assert time.monotonic() - begun < 10


def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            run_command("it", f"echo $$ > {pid}; exec sleep 60", {}, 100)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(int(pid.read_text()))
