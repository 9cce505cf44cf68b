"""One server that protects a directory: back it up, restore it, and have the independent walker judge."""

import os
from pathlib import Path

from oracle.walker import Options, compare
from unit.agent.engine import Server
from wain.agent.restore import RestoreReport, RestoreRequest, restore
from wain.base.progress import Silent
from wain.job.job import Job


class Bench:
    """A registered server, its vault, and a source somewhere else."""

    def __init__(self, work: Path, source: Path) -> None:
        work.mkdir()
        self.server = Server(work)
        self.source = source
        self.server.policy(source)

    def backup(self) -> Job:
        return self.server.backup()

    def restore(self, to: Path, *paths: Path) -> RestoreReport:
        wanted = tuple(os.fsencode(path) for path in paths)
        with self.server.view() as view:
            return restore(view, RestoreRequest(to, wanted, durable=False), Silent())

    def copy_in(self, to: Path) -> Path:
        """Return where the source lies in a restored tree."""
        return to / self.source.relative_to("/")

    def differences(self, to: Path, options: Options | None = None) -> list[str]:
        return [str(each) for each in compare(os.fsencode(self.source), os.fsencode(self.copy_in(to)), options)]


def reasons(job: Job, source: Path) -> dict[str, str]:
    """Return the warnings of a job by path below the source."""
    return {os.path.relpath(os.fsdecode(one.path), source): one.reason for one in job.problems}
