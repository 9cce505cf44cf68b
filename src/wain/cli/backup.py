"""`wain backup` runs one job, now; `wain jobs` lists what ran."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused, WainError
from wain.base.sizes import format_bytes
from wain.cli import render
from wain.cli.options import DataBox, Json, Vault
from wain.cli.parts import Parts, now
from wain.cli.progress import format_seconds, open_progress

if TYPE_CHECKING:
    from wain.agent.stream_run import Stream
    from wain.job.job import Job

_SHOWN_PROBLEMS: Final = 20
_ENDS: Final = {
    "completed": "The backup is complete",
    "completed with warnings": "The backup is complete, with warnings",
}
"""What is said of a job that has no words of its own."""


def backup(
    context: typer.Context,
    from_stdin: Annotated[bool, typer.Option("--from-stdin", help="Keep what is piped in, as one file.")] = False,
    from_command: Annotated[
        str, typer.Option("--from-command", metavar="COMMAND", help="Keep what a shell command prints, as one file.")
    ] = "",
    as_: Annotated[str, typer.Option("--as", metavar="PATH", help="The file's path in the recovery point.")] = "",
    vault: Vault = "",
    databox: DataBox = "",
    json: Json = False,
) -> int:
    """Run the backup job now: write the device, or wait, or import, or back up over the wire.

    With --from-stdin or --from-command, keep a stream instead, such as a database's dump, in a point of its own.

    Exit code 3: complete, with warnings: files that were skipped, or a command that failed afterwards. Whatever
    interrupts the job, the same command goes on.
    """
    from wain.agent.job import run_backup
    from wain.job.job import exit_code

    parts = Parts.of(context)
    home = parts.home()
    home.require_enrolment()
    stream = _stream(from_stdin, from_command, as_)
    services = parts.services(vault, databox)
    known = {job.id for job in home.jobs()}
    try:
        with open_progress() as progress:
            job = run_backup(home, services, now, progress, stream)
    except (WainError, KeyboardInterrupt):
        # The job's record is the last line of JSON output, however the job ended.
        last = home.jobs()[-1:]
        if json and last and last[0].id not in known:
            render.emit_json(_json(last[0]))
        raise
    if json:
        render.emit_json(_json(job))
    else:
        show(job)
    return exit_code(job.state)


def _stream(from_stdin: bool, from_command: str, path: str) -> "Stream | None":
    """Return the stream that is to be kept, or None for files.

    Raises:
        Refused: two streams, a stream without a path, a path without a stream, or no stream to read.
    """
    from wain.agent.stream_run import Stream
    from wain.policy.consistency import check_command

    if from_stdin and from_command:
        raise Refused("one backup keeps one stream", "Give --from-stdin or --from-command, not both.")
    if not (from_stdin or from_command):
        if path:
            raise Refused("--as names a stream, and there is none", "Give --from-stdin or --from-command with it.")
        return None
    if not path:
        raise Refused("nobody said what to keep the stream as", "Give its path, such as /db/dump.sql, with --as.")
    if from_stdin and sys.stdin.isatty():
        raise Refused("nothing is piped in", "Write: pg_dump ... | wain backup --from-stdin --as PATH")
    if from_command:
        check_command("--from-command", from_command)
    return Stream(os.fsencode(path), from_command or None)


def jobs(context: typer.Context, json: Json = False) -> None:
    """List the jobs, oldest first."""
    records = Parts.of(context).home().jobs()
    if json:
        render.emit_json([_json(job) for job in records])
        return
    rows = [
        (
            render.moment(job.started_at),
            job.kind.value,
            job.state.value,
            format_bytes(job.source_bytes),
            format_bytes(job.stored_bytes),
            job.message,
        )
        for job in records
    ]
    render.table(("started", "kind", "state", "source>", "stored>", "message"), rows)


def _json(job: "Job") -> dict[str, object]:
    from wain.agent.records import job_to_json

    return job_to_json(job)


def show(job: "Job") -> None:
    """Print a job for people."""
    render.say(job.message or _ENDS.get(job.state.value, job.state.value))
    pairs = [("state", job.state.value)]
    if job.point:
        pairs.append(("point", job.point.hex()))
    if job.files or job.directories:
        pairs.append(
            ("source", f"{format_bytes(job.source_bytes)} in {job.files:,} files, {job.directories:,} directories")
        )
        pairs.append(("new", format_bytes(job.new_bytes)))
        pairs.append(("stored", render.sizes(job.stored_bytes, job.new_bytes)))
    elif job.stored_bytes:
        pairs.append(("into the vault", format_bytes(job.stored_bytes)))
    if job.ended_at:
        seconds = (job.ended_at - job.started_at).total_seconds()
        pairs.append(("time", _time(job, seconds)))
    render.facts(pairs)
    for note in job.notes:
        render.say(f"note: {note}")
    if job.skipped:
        render.say(f"{job.skipped} skipped:")
        for problem in job.problems[:_SHOWN_PROBLEMS]:
            render.say(f"  {render.printable(problem.path)}: {problem.reason}")
        if job.skipped > _SHOWN_PROBLEMS:
            render.say(f"  ... and {job.skipped - _SHOWN_PROBLEMS} more; see `wain jobs --json`")


def _time(job: "Job", seconds: float) -> str:
    rate = f", {format_bytes(int(job.source_bytes / seconds))}/s of source" if seconds > 0 and job.source_bytes else ""
    return format_seconds(seconds) + rate
