"""How a source is held still while it is read: snapshots, and commands before and after."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from wain.base.errors import Refused

DEFAULT_LIMIT_SECONDS: Final = 3600
MAX_LIMIT_SECONDS: Final = 7 * 24 * 3600
COMMAND_CAP: Final = 64 << 10
"""Characters of one command: far below what a system passes to a program."""


class SourceMode(Enum):
    """What a backup reads: the files as they are, or as they were at one moment."""

    LIVE = "live"
    SNAPSHOT = "snapshot"
    """A snapshot, or no backup."""
    AUTO = "auto"
    """A snapshot where one can be made, else the files as they are; the job says which."""


@dataclass(frozen=True, slots=True)
class Commands:
    """Shell commands around the reading, such as to make a database write all it has, and go on. None: nothing runs.

    Raises:
        Refused: an empty or overlong command, one with a NUL, or a limit outside 1 second to 7 days.
    """

    before: str | None = None
    after: str | None = None
    limit_seconds: int = DEFAULT_LIMIT_SECONDS
    """How long each of them may run."""

    def __post_init__(self) -> None:
        for flag, command in (("--before", self.before), ("--after", self.after)):
            if command is not None:
                check_command(flag, command)
        if not 1 <= self.limit_seconds <= MAX_LIMIT_SECONDS:
            reason = f"a command may run 1 to {MAX_LIMIT_SECONDS:,} seconds, not {self.limit_seconds:,}"
            raise Refused(reason, "Give a number of seconds with --command-limit.")


NO_COMMANDS: Final = Commands()


def check_command(flag: str, command: str) -> None:
    """Refuse what no shell could run.

    Raises:
        Refused: it is empty, overlong, or has a NUL.
    """
    if not command.strip() or "\0" in command or len(command) > COMMAND_CAP:
        hint = f"Write what /bin/sh shall run, at most {COMMAND_CAP:,} characters."
        raise Refused(f"the command of {flag} is empty, too long, or has a NUL in it", hint)
