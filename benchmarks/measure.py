"""One command, measured: wall time, processor time, peak memory, exit code."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


class Failed(Exception):
    """A command that is measured ended badly. The text holds its last words."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one command took.

    `cpu_seconds` is user and system time, of it and of all processes it waited for. `peak_bytes` is the largest
    resident set of any one of them, and never less than this process's own: the kernel counts from before the exec.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def together(parts: Sequence[Measured]) -> Measured:
    """Return what commands took that ran one after the other: times added, the highest peak."""
    return Measured(
        sum(each.seconds for each in parts),
        sum(each.cpu_seconds for each in parts),
        max(each.peak_bytes for each in parts),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs: directory, additions to the environment, and a file for its output."""

    folder: str
    environment: Mapping[str, str]


def measure(command: Sequence[str], place: Place, codes: Sequence[int] = (0,)) -> Measured:
    """Run a command to its end. Raises `Failed` when it ends with another code than `codes`."""
    os.sync()  # What earlier commands left to write must not be paid for by this one.
    log = os.path.join(place.folder, ".output")
    with open(log, "w+b") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=place.folder,
            env={**os.environ, **place.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    os.unlink(log)
    if process.returncode not in codes:
        raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{text[-2000:]}")
    # The kernel counts in KiB.
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def stored_bytes(root: str) -> int:
    """Return the sizes of all regular files below `root`, hard links once."""
    seen: dict[tuple[int, int], int] = {}
    for folder, _, files in os.walk(root):
        for name in files:
            found = os.lstat(os.path.join(folder, name))
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def count(root: str) -> tuple[int, int]:
    """Return how many regular files lie below `root`, and their bytes: a quick proof that a restore did its work."""
    files = total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                files += 1
                total += os.path.getsize(path)
    return files, total


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Call a function in a process of its own: what it holds in memory must not become the peak of later commands."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{work.__name__} ended with {process.exitcode}")


def note(text: str) -> None:
    """Say what is going on, on standard error, so that standard output holds the report alone."""
    print(text, file=sys.stderr, flush=True)
