"""Carries one blob from a device to an account, or only past the eye: read once, checked while it passes.

A blob is a row of *spans*: a pack that the seal vouches for, or bytes that nothing vouches for. Every span is read
once, front to back; what was hashed is what is written. A damaged pack is written as it is and reported: the importer
takes the packs that are whole. After each window of spans the account is flushed and a `Checkpoint` is yielded; a
killed copy goes on from the last one that its caller wrote down.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Protocol

from awscrt import checksums  # type: ignore[import-untyped]

from wain.base.errors import DataError
from wain.base.ids import PackId
from wain.base.progress import Progress
from wain.base.sizes import MIB
from wain.databox.pipeline import ahead
from wain.databox.untrusted import NotTaken, Read
from wain.device.journal_check import JournalVerifier
from wain.device.seal import Seal
from wain.pack.verify import LeafVerifier, pack_words

PIECE_BYTES: Final = 4 * MIB
"""One write of pages (Azure, Put Page)."""
WINDOW_BYTES: Final = 256 * MIB
"""What is copied between two flushes, at least, and what a killed copy does again, at most (but for one span)."""
LOOSE_SPAN_BYTES: Final = 64 * MIB
"""How much of a blob that no seal vouches for is one span."""

_ZEROS: Final = bytes(PIECE_BYTES)


def crc64(body: bytes, before: int = 0) -> int:
    """Return the CRC-64/NVME of what gave `before`, then `body`: Azure Storage's CRC64 (azure.md C24)."""
    return int(checksums.crc64nvme(body, before))


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a blob, in bytes; `pack` is what the seal says lies there, None when it says nothing.

    With `journal_of` the range is the journal of the container with that seal.
    """

    offset: int
    length: int
    pack: PackId | None
    journal_of: Seal | None = None

    @property
    def end(self) -> int:
        """The first byte after the span."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `done` bytes are durable where they were sent; `findings` are of the spans since the last one."""

    done: int
    crc64: int
    findings: tuple[str, ...]


class Source(Protocol):
    """What a blob is read from."""

    def read(self, offset: int, length: int) -> Read:
        """Return exactly `length` bytes; what cannot be read is zeros and listed."""


class Verifier(Protocol):
    """What judges a span while it streams past."""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> object:
        """Judge. Raises `DataError`."""


class Memory:
    """A small blob that was read already: what was checked is what is sent."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, offset: int, length: int) -> Read:
        """Return the bytes."""
        body = self._body[offset : offset + length]
        if len(body) == length:
            return Read(body)
        return Read(body + bytes(length - len(body)), ((offset + len(body), offset + length),))


class Target(Protocol):
    """Where a blob is sent."""

    def write(self, offset: int, body: bytes) -> None:
        """Write whole pages."""

    def flush(self) -> None:
        """Return when everything written is durable."""


class Eye:
    """A target that keeps nothing: for checking alone."""

    def write(self, offset: int, body: bytes) -> None:
        """Keep nothing."""

    def flush(self) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a transfer begins: 0, or the last checkpoint. `again`: a killed copy may have written past it."""

    done: int = 0
    crc64: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    offset: int
    body: bytes
    ends_span: bool
    finding: str | None = None


@dataclass(slots=True)
class _State:
    done: int
    crc64: int
    flushed: int
    skip_zeros: bool
    findings: list[str] = field(default_factory=list)


def spans(packs: Iterable[tuple[int, int, PackId]], length: int) -> Iterator[Span]:
    """Yield the spans that cover a blob of `length` bytes, from its packs (offset, length, id) sorted by offset.

    Raises:
        NotTaken: packs overlap or lie outside.
    """
    at = 0
    for offset, size, pack in packs:
        if offset < at or size <= 0 or offset + size > length:
            raise NotTaken(pack_words(pack), f"does not fit where the seal puts it (bytes {offset} to {offset + size})")
        yield from _loose(at, offset)
        yield Span(offset, size, pack)
        at = offset + size
    yield from _loose(at, length)


def _loose(start: int, end: int) -> Iterator[Span]:
    for at in range(start, end, LOOSE_SPAN_BYTES):
        yield Span(at, min(LOOSE_SPAN_BYTES, end - at), None)


def transfer(
    source: Source, parts: Sequence[Span], target: Target, start: Start, progress: Progress
) -> Iterator[Checkpoint]:
    """Send the spans of a blob from `start` on; the last checkpoint covers all of it, also when it is empty.

    Raises:
        DeviceLost: the device went away. OutOfSpace, WriteFailed: the account failed. The same call, from the last
            checkpoint, goes on.
    """
    state = _State(start.done, start.crc64, start.done, skip_zeros=not start.again)
    todo = [span for span in parts if span.offset >= start.done]
    with closing(ahead(_pieces(source, todo))) as pieces:
        for piece in pieces:
            _send(piece, target, state)
            progress.advance(len(piece.body))
            if piece.ends_span and state.done - state.flushed >= WINDOW_BYTES:
                yield _checkpoint(target, state)
    yield _checkpoint(target, state)


def _send(piece: _Piece, target: Target, state: _State) -> None:
    state.crc64 = crc64(piece.body, state.crc64)
    if not state.skip_zeros or piece.body != _ZEROS[: len(piece.body)]:
        target.write(piece.offset, piece.body)
    state.done = piece.offset + len(piece.body)
    if piece.finding is not None:
        state.findings.append(piece.finding)


def _checkpoint(target: Target, state: _State) -> Checkpoint:
    target.flush()
    state.flushed = state.done
    # Past the first checkpoint after a resume, nothing of the killed copy can lie in the blob any more.
    state.skip_zeros = True
    findings, state.findings = tuple(state.findings), []
    return Checkpoint(state.done, state.crc64, findings)


def _pieces(source: Source, parts: Iterable[Span]) -> Iterator[_Piece]:
    for span in parts:
        eye = _verifier(span)
        holes: list[tuple[int, int]] = []
        for at in range(span.offset, span.end, PIECE_BYTES):
            read = source.read(at, min(PIECE_BYTES, span.end - at))
            holes += read.holes
            if eye is not None:
                eye.feed(read.body)
            ends = at + len(read.body) == span.end
            yield _Piece(at, read.body, ends, _judge(span, eye, holes) if ends else None)


def _verifier(span: Span) -> Verifier | None:
    if span.pack is not None:
        return LeafVerifier(span.pack, span.length)
    return JournalVerifier(span.journal_of) if span.journal_of is not None else None


def _judge(span: Span, eye: Verifier | None, holes: list[tuple[int, int]]) -> str | None:
    """Return what is wrong with a span that was read to its end, or None."""
    words = [f"bytes {start} to {end - 1} of the blob cannot be read" for start, end in holes[:8]]
    if eye is not None:
        try:
            eye.finish()
        except DataError as error:
            words.insert(0, f"{error}; it lies at byte {span.offset} of the blob" if span.pack else str(error))
        else:
            # What could not be read was zero anyway: the pack, or journal, is whole.
            words = []
    return "; ".join(words) or None
