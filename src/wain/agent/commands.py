"""Runs a user's shell commands beside a backup. None of them outlives its limit, or Ctrl-C.

A command is a line for `/bin/sh -c`, as people know it from cron. It reads nothing, and what it prints goes into a
nameless file, so that a child which it leaves behind holds nobody up. No secret is ever in its surroundings: Wain keeps
none there.
"""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Final

from wain.base.errors import UserError

SHELL: Final = "/bin/sh"
TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 10
GRACE_SECONDS: Final = 10
"""What a command that is told to end has for it before it is killed."""


@dataclass(eq=False)
class CommandFailed(UserError):
    """A user's command did not do what it should. `which` names it; `tail` is the end of what it printed."""

    which: str
    how: str
    tail: str = ""
    hint = "Run the command by hand to see what is wrong with it."

    def __str__(self) -> str:
        said = f"; its last words: {self.tail}" if self.tail else ""
        return f"{self.which} {self.how}{said}"


def run_command(which: str, command: str, facts: Mapping[str, bytes], limit_seconds: int) -> None:
    """Run a command to its end. `facts` are set in its environment, beside what this process has.

    Raises:
        CommandFailed: it cannot be started, ended with another status than 0, or ran longer than its limit.
    """
    with TemporaryFile() as said:
        process = start(which, command, facts, output=said.fileno(), errors=said.fileno())
        try:
            wait(which, process, limit_seconds, said)
        finally:
            end(process)


def start(
    which: str, command: str, facts: Mapping[str, bytes], output: int = subprocess.PIPE, errors: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, so that `end` reaches all of it.

    Raises:
        CommandFailed: there is no shell, or no room for another process.
    """
    surroundings = {**os.environb, **{os.fsencode(name): value for name, value in facts.items()}}
    try:
        return subprocess.Popen(
            [SHELL, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=surroundings,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(which, f"could not be started: {error}") from None


def wait(which: str, process: subprocess.Popen[bytes], limit_seconds: int, said: IO[bytes]) -> None:
    """Return when the command has ended well.

    Raises:
        CommandFailed: it did not end well, or not in time.
    """
    try:
        status = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        end(process)
        raise CommandFailed(which, f"ran longer than its {limit_seconds:,} seconds and was ended", tail(said)) from None
    if status < 0:
        raise CommandFailed(which, f"was killed by {_signal_name(-status)}", tail(said))
    if status:
        raise CommandFailed(which, f"ended with status {status}", tail(said))


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs: politely, then not. One that has ended is left as it is."""
    if process.poll() is not None:
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
            return


def tail(said: IO[bytes]) -> str:
    """Return the last lines that were printed, as one line."""
    said.seek(max(os.fstat(said.fileno()).st_size - TAIL_BYTES, 0))
    lines = [line.strip() for line in said.read(TAIL_BYTES).decode(errors="backslashreplace").splitlines()]
    return " / ".join([line for line in lines if line][-TAIL_LINES:])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
