"""Faults by strace: which calls a command makes on which paths, and making the N-th of them fail."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CALLS = {
    "fsync": ("fsync", "fdatasync", "syncfs"),
    "write": ("write", "pwrite64", "pwritev", "writev", "copy_file_range"),
    "rename": ("rename", "renameat", "renameat2"),
    "link": ("link", "linkat"),
    "truncate": ("ftruncate", "fallocate"),
    "open": ("openat",),
}
"""Families of calls that fail together; strace counts each member by itself."""

_STRACE = ("strace", "-f", "-y", "-qq", "-s", "0", "-e", "signal=none")
"""Follow threads, name the file behind each descriptor, show no content."""

_QUICK = "--seccomp-bpf"
"""Stop at the wanted calls only. Not with signals: strace 6.1 counts such a fault and never sends it."""

_LINE = re.compile(r"^(?P<tid>\d+)\s+(?P<call>\w+)\((?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class Spot:
    """The N-th `call` (counted from 1, in its thread) of a command, which touched `path`."""

    call: str
    number: int
    path: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Make the call at a spot fail with `error`; `repeat` lets every later one fail too, as a full disk would.

    The error KILL kills the process as it makes the call.
    """

    spot: Spot
    error: str
    repeat: bool = False

    def __str__(self) -> str:
        return f"{self.spot.call} {self.spot.number}{'+' if self.repeat else ''} -> {self.error} ({self.spot.path})"


def why_not() -> str:
    """Return why strace cannot be used here, or an empty string when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


def recording(log: Path, family: str) -> tuple[str, ...]:
    """Return the words to run a command under, so that `log` lists its calls of a family."""
    return (
        "strace",
        "-f",
        "-y",
        "-qq",
        "-s",
        "0",
        "-e",
        f"trace={_known(family)}",
        "-e",
        "signal=none",
        "-o",
        str(log),
    )


def injecting(log: Path, fault: Fault) -> tuple[str, ...]:
    """Return the words to run a command under, so that one of its calls fails. `log` tells where it hit."""
    when = f"{fault.spot.number}{'+' if fault.repeat else ''}"
    killing = fault.error == "KILL"
    what = "signal=KILL" if killing else f"error={fault.error}"
    quick = () if killing else (_QUICK,)
    inject = f"inject={fault.spot.call}:{what}:when={when}"
    return (*_STRACE, *quick, "-e", f"trace={fault.spot.call}", "-e", inject, "-o", str(log))


def spots(log: Path, places: list[Path]) -> list[Spot]:
    """Return the calls of a recording that touched something below one of `places`, in order, each number once."""
    counts: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, int], Spot] = {}
    for line in log.read_text("utf-8", "backslashreplace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        key = (match["tid"], match["call"])
        counts[key] = counts.get(key, 0) + 1
        touched = next((str(place) for place in places if str(place) in match["rest"]), None)
        if touched is not None:
            path = re.search(re.escape(touched) + r'[^">]*', match["rest"])
            spot = Spot(match["call"], counts[key], path[0] if path else touched)
            found.setdefault((spot.call, spot.number), spot)
    return list(found.values())


def hit(log: Path) -> list[str]:
    """Return the lines of a log whose call was made to fail."""
    return [line for line in log.read_text("utf-8", "backslashreplace").splitlines() if "(INJECTED)" in line]


def _known(family: str) -> str:
    """The `?` lets strace pass over a call that this machine does not have."""
    return ",".join(f"?{call}" for call in CALLS[family])
