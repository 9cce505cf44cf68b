"""Runs the programs that unlock devices. A secret goes through standard input or a descriptor, never an argument."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wain.base.errors import RemoteError, UserError

COMMAND_SECONDS: Final = 600
"""Deriving a key from a passkey is slow on purpose, formatting a large disk is too."""
_SAID_CHARACTERS: Final = 500

PACKAGES: Final = {
    "blkid": "util-linux",
    "lsblk": "util-linux",
    "mount": "mount",
    "umount": "mount",
    "cryptsetup": "cryptsetup-bin",
    "mkfs.ext4": "e2fsprogs",
    "nbdkit": "nbdkit",
    "nbdfuse": "libnbd-bin",
    "fusermount3": "fuse3",
    "dislocker-fuse": "dislocker",
    "mount.ntfs-3g": "ntfs-3g",
}
"""The Debian package of each program."""
_PLACES: Final = "/usr/sbin:/sbin"
"""Where administrators' programs are, which is not on every user's path."""


@dataclass(eq=False)
class ProgramMissing(UserError):
    """A program of the operating system is needed and not installed."""

    program: str
    purpose: str

    def __post_init__(self) -> None:
        self.hint = f"Install it: apt install {PACKAGES.get(self.program, self.program)}"

    def __str__(self) -> str:
        return f"{self.program} is not installed, and it is needed to {self.purpose}"


@dataclass(eq=False)
class ProgramFailed(RemoteError):
    """A program of the operating system ended badly. `status` is its exit code; `said` its last words."""

    program: str
    status: int
    said: str

    def __str__(self) -> str:
        return f"{self.program} failed: {self.said or f'it ended with status {self.status}'}"


Run = Callable[[Sequence[str], bytes], str]
"""Runs a command with bytes on its standard input and returns what it prints. Raises `ProgramFailed`."""


def find_program(name: str) -> str | None:
    """Return where a program is, or None."""
    return shutil.which(name) or shutil.which(name, path=_PLACES)


def need(programs: Iterable[str], purpose: str) -> None:
    """Check that programs are installed, before anything is changed.

    Raises:
        ProgramMissing: names the first that is not.
    """
    for name in programs:
        if find_program(name) is None:
            raise ProgramMissing(name, purpose)


def run_program(command: Sequence[str], stdin: bytes = b"") -> str:
    """Run a command to its end and return what it prints.

    Raises:
        ProgramMissing, ProgramFailed: it is not there, failed, or took too long.
    """
    path = find_program(command[0])
    if path is None:
        raise ProgramMissing(command[0], "do this")
    try:
        done = subprocess.run(
            [path, *command[1:]], input=stdin, capture_output=True, timeout=COMMAND_SECONDS, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailed(command[0], -1, type(error).__name__) from error
    if done.returncode:
        raise ProgramFailed(command[0], done.returncode, words_of(done.stderr or done.stdout))
    return done.stdout.decode(errors="replace")


def words_of(said: bytes) -> str:
    """Return a program's last words on one line."""
    return " ".join(said.decode(errors="replace").split())[-_SAID_CHARACTERS:]
