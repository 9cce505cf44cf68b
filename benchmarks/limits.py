"""Limits: what the machine's plainest programs take for a part of the same work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ground:
    """What a limit works on: the source, a file of its own to write, and how many bytes Wain's repository holds."""

    source: str
    scratch: str
    stored: int


@dataclass(frozen=True, slots=True)
class Limit:
    """One command beside one step of a scenario."""

    name: str
    programs: Sequence[str]
    step: str
    command: Callable[[Ground], list[str]]

    def missing(self) -> str:
        """Return why it cannot be measured here, or an empty string when it can."""
        absent = [program for program in self.programs if not shutil.which(program)]
        return f"{', '.join(absent)} not installed" if absent else ""


def _shell(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


def _files(root: str) -> list[str]:
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)


def _compress(ground: Ground) -> list[str]:
    return _shell('exec zstd -q -3 -T0 -c -- "$@" >/dev/null', *_files(ground.source))


def _write(ground: Ground) -> list[str]:
    size = ("iflag=count_bytes,fullblock", f"count={ground.stored}")
    return ["dd", "if=/dev/zero", f"of={ground.scratch}", "bs=4M", "conv=fsync", *size]


def _read(ground: Ground) -> list[str]:
    return ["dd", f"if={ground.scratch}", "of=/dev/null", "bs=4M", "iflag=direct"]


def _archive(ground: Ground) -> list[str]:
    # Into a pipe: tar that sees /dev/null as its output does not read the files.
    return _shell('tar -cf - -C "$1" . | cat >/dev/null', ground.source)


def _list(ground: Ground) -> list[str]:
    return _shell("exec find \"$1\" -printf '%p %s %T@ %i\\n' >/dev/null", ground.source)


def read_files(root: str) -> list[str]:
    """Return the command that reads every file below a directory from the medium, one after the other."""
    script = 'for file; do dd if="$file" of=/dev/null bs=4M iflag=direct || exit; done'
    return _shell(script, *_files(root))


def copy_files(root: str, target: str) -> list[str]:
    """Return the command that copies every file below a directory to the medium, end to end into one file."""
    script = 'target=$1; shift; for file; do dd if="$file" bs=4M iflag=direct || exit; done | '
    return _shell(script + 'dd of="$target" bs=4M iflag=fullblock conv=fsync', target, *_files(root))


FIRST, UNCHANGED, RESTORE = "first backup", "unchanged backup", "restore"

ZSTD = Limit("zstd -3 -T0", ("zstd",), FIRST, _compress)
TAR = Limit("tar to a pipe", ("tar",), FIRST, _archive)
FIND = Limit("find -printf", ("find",), UNCHANGED, _list)
WRITE = Limit("dd write, fsync", ("dd",), FIRST, _write)
READ = Limit("dd read, O_DIRECT", ("dd",), RESTORE, _read)
"""Reads what `WRITE` wrote, and so comes after it."""
