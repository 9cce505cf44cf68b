"""A recovery point that holds one file, whose bytes come from a pipe: a database's dump, mostly.

It goes through the same pipeline as files do, so that a dump is cut, found again in earlier ones, and sealed like any
file. Nothing is remembered as history: that belongs to the walk, and the next backup of files knows all it knew.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, Final, Protocol

from wain.agent import commands
from wain.agent.backup_run import Content, Outcome, RunParts, make_point, pipeline_parts
from wain.agent.file_content import Naming
from wain.agent.home import Head
from wain.agent.pipeline import Pipeline
from wain.agent.reading import WINDOW_BYTES
from wain.agent.source import Remarks
from wain.agent.tree_backup import Tally
from wain.base.errors import Refused
from wain.base.ids import NO_SEED, UUID_BYTES, ChunkId, SeriesId
from wain.base.moment import to_ns
from wain.chunk.cutter import Cutter
from wain.chunk.names import ChunkType, Namer
from wain.policy.policy import Policy
from wain.storage.buffers import mapped
from wain.tree.entry import Content as EntryContent
from wain.tree.entry import Entry, Kind, Stat
from wain.tree.format import encode_entry, encode_piece
from wain.tree.rules import MAX_NAME_BYTES

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o755
"""Of the directories that lead to the file."""
_COMMAND: Final = "the command of --from-command"
_EMPTY_HINT: Final = "An empty dump is taken for one that failed; nothing was kept."


def series_of(path: bytes, namer: Namer) -> SeriesId:
    """Return the series of the streams that are kept as a path (tree/FORMAT.md, Manifest)."""
    return SeriesId(namer.name(ChunkType.TREE, b"wain series\0" + path)[:UUID_BYTES])


class Feed(Protocol):
    """Where a stream's bytes come from."""

    def fill(self, room: memoryview) -> int:
        """Read until the room is full or the stream has ended; return how many bytes were read.

        Raises:
            Refused: it cannot be read.
        """

    def finish(self) -> None:
        """Return when it is certain that all of the stream was there.

        Raises:
            CommandFailed: it was not.
        """


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream to be kept as a file. `command` makes it; None: it is this process's standard input.

    Raises:
        Refused: the path is not a clean absolute path of a file.
    """

    path: bytes
    command: str | None = None

    def __post_init__(self) -> None:
        Policy((self.path,))
        if self.path == b"/" or any(len(part) > MAX_NAME_BYTES for part in self.path.split(b"/")):
            raise Refused(f"{os.fsdecode(self.path)!r} names no file", "Give a path such as /db/dump.sql with --as.")


def run_stream_into(parts: RunParts, head: Head | None, stream: Stream) -> Outcome:
    """Store a stream, and return the manifest of a point that holds it alone.

    Raises:
        CommandFailed: the command that gives the stream failed; there is no recovery point then.
        Refused: the stream is empty, or cannot be read.
        WainError: the sink failed. Chunks that are durable are found again by the next run.
    """
    tally = Tally()
    parts.progress.phase("Reading the stream")
    with ExitStack() as held, Pipeline(pipeline_parts(parts)) as pipeline:
        feed = _open(held, stream, parts)
        content, size = _store(pipeline, parts, feed)
        feed.finish()
        if not size:
            raise Refused("nothing came out of the stream", _EMPTY_HINT)
        tally.files, tally.source_bytes = 1, size
        root = _tree(pipeline, parts, stream.path, (content, size))
        tally.directories = stream.path.count(b"/")
        series = series_of(stream.path, Namer(parts.keys.write.chunk_keys))
        made = make_point(parts, pipeline, (head, NO_SEED), Content(root, (stream.path,), tally, series))
    return replace(made, remarks=Remarks(parts.progress, [f"kept as {os.fsdecode(stream.path)}"]))


def _open(held: ExitStack, stream: Stream, parts: RunParts) -> Feed:
    if stream.command is None:
        return _Pipe(0)
    facts = {"WAIN_JOB": parts.job.encode()}
    said = held.enter_context(TemporaryFile())  # noqa: SIM115 (closed by `held`)
    process = commands.start(_COMMAND, stream.command, facts, errors=said.fileno())
    assert process.stdout is not None
    held.callback(commands.end, process)
    held.callback(process.stdout.close)
    return _Command(process, parts.policy.commands.limit_seconds, said)


class _Pipe:
    """An open descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fill(self, room: memoryview) -> int:
        done = 0
        try:
            while done < len(room) and (got := os.readv(self._fd, [room[done:]])):
                done += got
        except OSError as error:
            raise Refused(f"the stream cannot be read: {error.strerror}", "Nothing was kept.") from error
        return done

    def finish(self) -> None:
        """Believe it: a pipe's end looks the same whether its writer was done or died."""


class _Command(_Pipe):
    """What a command prints. Its status, and not the end of its output, says whether that was all."""

    def __init__(self, process: subprocess.Popen[bytes], limit_seconds: int, said: IO[bytes]) -> None:
        assert process.stdout is not None
        super().__init__(process.stdout.fileno())
        self._process = process
        self._limit_seconds = limit_seconds
        self._said = said

    def finish(self) -> None:
        commands.wait(_COMMAND, self._process, self._limit_seconds, self._said)


def _store(pipeline: Pipeline, parts: RunParts, feed: Feed) -> tuple[EntryContent, int]:
    naming = Naming(pipeline, parts.known)
    size = 0
    for piece in _pieces(Cutter(parts.keys.write.cutter_seed), feed):
        naming.add(pipeline.add(ChunkType.DATA, piece))
        size += len(piece)
        parts.progress.advance(len(piece))
    stored = naming.finish((), size)
    return stored.content, size


def _pieces(cutter: Cutter, feed: Feed) -> Iterator[memoryview]:
    """Yield a stream's chunks. Each window is a mapping of its own: chunks stay as they are while others are read."""
    rest = b""
    while True:
        room = mapped(len(rest) + WINDOW_BYTES)
        room[: len(rest)] = rest
        filled = len(rest) + feed.fill(room[len(rest) :])
        last = filled < len(room)
        done = 0
        for length in cutter.cut(room[:filled], last) if filled else ():
            yield room[done : done + length]
            done += length
        if last:
            return
        rest = bytes(room[done:filled])


def _tree(pipeline: Pipeline, parts: RunParts, path: bytes, stored: tuple[EntryContent, int]) -> tuple[ChunkId, ...]:
    """Store the listings that lead to the file, from below; return the root's piece."""
    content, size = stored
    now = to_ns(parts.now)

    def stat(mode: int, size: int) -> Stat:
        return Stat(mode, os.geteuid(), os.getegid(), size, now, now, 0, 0, 1)

    *parents, name = path[1:].split(b"/")
    entry = Entry(name, Kind.FILE, stat(FILE_MODE, size), content)
    for parent in reversed(parents):
        piece = pipeline.add(ChunkType.TREE, encode_piece([encode_entry(entry)]))
        entry = Entry(parent, Kind.DIRECTORY, stat(DIRECTORY_MODE, 0), EntryContent((piece,)))
    return (pipeline.add(ChunkType.TREE, encode_piece([encode_entry(entry)])),)
