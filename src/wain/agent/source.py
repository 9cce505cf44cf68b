"""Holds a policy's files still while they are read: the command before, snapshots, the command after.

With snapshots: before, freeze, after, read, thaw; a database stands still for seconds. Without: before, read, after.
Once the command before has succeeded, the one after always runs, whatever happens in between. Snapshots are removed in
any case; those of a job that was killed are removed by the next one, whatever its policy says by then.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wain.agent.commands import CommandFailed, run_command
from wain.agent.freeze import FreezeFailed, Freezer, Freezing, Scope
from wain.agent.freeze_btrfs import BtrfsFreezer
from wain.agent.freeze_lvm import LvmFreezer
from wain.agent.freeze_vss import VssFreezer
from wain.agent.mounts import mounts
from wain.agent.view import LIVE, View
from wain.base.ids import RegistrationId
from wain.base.progress import Progress
from wain.policy.consistency import Commands, SourceMode
from wain.policy.exclusion import Exclusions
from wain.policy.policy import Policy
from wain.storage.durable import make_dirs

ITEMS_BYTES: Final = 64 << 10
"""The most that WAIN_INCLUDES holds: Linux starts no program with a longer variable than twice that."""
COMPLETED: Final = "completed"
FAILED: Final = "failed"
"""What the command after is told in WAIN_RESULT."""


@dataclass(slots=True)
class Remarks:
    """What is to be known of a run beside its files. A warning makes its job one that is completed with warnings."""

    progress: Progress
    lines: list[str] = field(default_factory=list)
    warnings: int = 0

    def note(self, line: str) -> None:
        """Remember a sentence."""
        self.lines.append(line)

    def warn(self, line: str) -> None:
        """Remember what went wrong without ending the run, and show it at once: the run may yet fail."""
        self.warnings += 1
        self.lines.append(line)
        self.progress.note(line)


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be held still, and by what means."""

    mode: SourceMode
    commands: Commands
    scope: Scope
    freezers: tuple[Freezer, ...]
    marker: Path
    """A directory that exists while snapshots may; LVM's are mounted below it."""
    job: str = ""

    @property
    def facts(self) -> dict[str, bytes]:
        """What commands find in their environment. Items stand one a line, unless there are too many of them."""
        items = b"\n".join(self.scope.includes)
        return {"WAIN_JOB": self.job.encode(), "WAIN_INCLUDES": items if len(items) <= ITEMS_BYTES else b""}


def source_of(policy: Policy, agent: Path, registration: RegistrationId, job: str) -> Source:
    """Return the source that a policy names. `agent` is the agent's own directory."""
    marker, name = agent / "snapshots", registration.hex()
    freezers: tuple[Freezer, ...] = (BtrfsFreezer(name), LvmFreezer(name, marker))
    if sys.platform == "win32":
        freezers = (VssFreezer(name, marker),)
    scope = Scope(policy.includes, Exclusions(policy.excludes), policy.one_file_system)
    return Source(policy.source, policy.commands, scope, freezers, marker, job)


@contextmanager
def held_still(source: Source, remarks: Remarks) -> Iterator[View]:
    """Hold a source still within a `with` block, and give the view to read it by.

    Raises:
        CommandFailed: the command before failed; nothing was read, and the command after does not run.
        Refused, FreezeFailed: a snapshot is required and cannot be made.
    """
    cleared = _clear(source, remarks)
    after = _After(source, remarks)
    freezing = Freezing(source.freezers, mounts(), source.scope, source.mode is SourceMode.SNAPSHOT)
    if source.commands.before is not None:
        which = "the command before the backup (--before)"
        run_command(which, source.commands.before, source.facts, source.commands.limit_seconds)
    try:
        view = LIVE if source.mode is SourceMode.LIVE else _frozen(source, freezing, remarks)
        if view is not LIVE:
            after.run(COMPLETED)
        yield view
        after.run(COMPLETED)
    except BaseException:
        after.run(FAILED)
        raise
    finally:
        _thaw(freezing, remarks)
        if cleared and not freezing.stuck:
            _forget(source)


@dataclass(slots=True)
class _After:
    """The command after, which runs once."""

    source: Source
    remarks: Remarks
    _ran: bool = False

    def run(self, result: str) -> None:
        commands = self.source.commands
        if self._ran or commands.after is None:
            return
        self._ran = True
        facts = self.source.facts | {"WAIN_RESULT": result.encode()}
        try:
            run_command("the command after the backup (--after)", commands.after, facts, commands.limit_seconds)
        except CommandFailed as error:
            self.remarks.warn(str(error))


def _frozen(source: Source, freezing: Freezing, remarks: Remarks) -> View:
    """Make the snapshots, or say why the files are read as they are."""
    make_dirs(source.marker, 0o700)
    try:
        view = freezing.freeze()
    except FreezeFailed as error:
        if source.mode is SourceMode.SNAPSHOT:
            raise
        _thaw(freezing, remarks)
        remarks.note(f"no snapshot was made ({error}): the files were read as they are")
        return LIVE
    if view is not LIVE:
        remarks.note(freezing.words)
    for line in freezing.live:
        remarks.note(line)
    return view


def _thaw(freezing: Freezing, remarks: Remarks) -> None:
    for problem in freezing.thaw():
        remarks.warn(problem)


def _clear(source: Source, remarks: Remarks) -> bool:
    """Remove what a job that was killed has left behind; return True when nothing of it is left."""
    if not source.marker.is_dir():
        return True
    removed, clean = 0, True
    for freezer in source.freezers:
        try:
            removed += freezer.clear(mounts())
        except FreezeFailed as error:
            clean = False
            remarks.warn(f"a snapshot of an earlier job was not removed ({error}); the next job tries again")
    if removed:
        remarks.note(f"removed {removed} snapshot{'s' if removed > 1 else ''} that an earlier job had left behind")
    return clean


def _forget(source: Source) -> None:
    with suppress(OSError):  # Mostly there is none; and while anything lies in it, the next job looks again.
        source.marker.rmdir()
