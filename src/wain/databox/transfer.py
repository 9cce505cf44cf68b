"""Carries one blob from a device to an account, or only past the eye: read once, checked while it passes.

A blob is a row of *spans*: a pack that the seal vouches for, parity that vouches for itself, or bytes that nothing
vouches for. Every span is read once, front to back; what was hashed is what is written. A damaged pack that parity can
repair is written a second time, repaired, and hashed again; any other is written as it is and reported: the importer
takes the packs that are whole. After each window of spans the account is flushed and a `Checkpoint` is yielded; a
killed copy goes on from the last one that its caller wrote down.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from awscrt import checksums  # type: ignore[import-untyped]

from wain.base.errors import DataError
from wain.base.ids import PackId
from wain.base.progress import Progress
from wain.base.sizes import MIB, PAGE_BYTES
from wain.databox.copylog import Category
from wain.databox.pipeline import ahead
from wain.databox.untrusted import NotTaken, Read
from wain.device.journal_check import JournalVerifier
from wain.device.seal import Seal
from wain.pack.verify import LeafVerifier, pack_words
from wain.pageblob.parity_record import ParityVerifier
from wain.pageblob.parity_repair import Repaired

PIECE_BYTES: Final = 4 * MIB
"""One write of pages (Azure, Put Page)."""
WINDOW_BYTES: Final = 256 * MIB
"""What is copied between two flushes, at least, and what a killed copy does again, at most (but for one span)."""
LOOSE_SPAN_BYTES: Final = 64 * MIB
"""How much of a blob that no seal vouches for is one span."""

_ZEROS: Final = bytes(PIECE_BYTES)


def crc64(body: bytes | memoryview, before: int = 0) -> int:
    """Return the CRC-64/NVME of what gave `before`, then `body`: Azure Storage's CRC64 (azure.md C24)."""
    return int(checksums.crc64nvme(body, before))


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a blob, in bytes; `pack` is what the seal says lies there, None when it says nothing.

    With `journal_of` the range is the journal of the container with that seal; with `parity_of` it is a record of
    parity for packs among these, by their stored lengths.
    """

    offset: int
    length: int
    pack: PackId | None
    journal_of: Seal | None = None
    parity_of: Mapping[PackId, int] | None = None

    @property
    def end(self) -> int:
        """The first byte after the span."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Note:
    """What was found in a blob, in words."""

    words: str
    category: Category = Category.DAMAGED


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `done` bytes are durable where they were sent; `findings` are of the spans since the last one."""

    done: int
    crc64: int
    findings: tuple[Note, ...]


class Source(Protocol):
    """What a blob is read from."""

    def read(self, offset: int, length: int) -> Read:
        """Return exactly `length` bytes; what cannot be read is zeros and listed."""


@dataclass(frozen=True, slots=True)
class Load:
    """A blob that can be transferred; `finding` is what is wrong with it as a whole, or None.

    `repair` returns what was repaired of a pack, or raises `DataError`; None where nothing is to be repaired.
    """

    source: Source
    spans: Sequence[Span]
    finding: str | None = None
    repair: Callable[[PackId], Repaired] | None = None


class Verifier(Protocol):
    """What judges a span while it streams past."""

    def feed(self, piece: bytes | memoryview) -> None:
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

    def write(self, offset: int, body: bytes | memoryview) -> None:
        """Write whole pages."""

    def flush(self) -> None:
        """Return when everything written is durable."""


class Eye:
    """A target that keeps nothing: for checking alone."""

    def write(self, offset: int, body: bytes | memoryview) -> None:
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
    """Bytes to send; `again` when others were sent for the same range before."""

    offset: int
    body: bytes | memoryview
    again: bool


@dataclass(frozen=True, slots=True)
class _Ended:
    """A span was read to its end, and judged."""

    finding: Note | None


@dataclass(slots=True)
class _State:
    done: int
    crc64: int
    flushed: int
    skip_zeros: bool
    span: tuple[int, int]
    """Where the present span begins, and the CRC-64 of what lies before it."""
    findings: list[Note] = field(default_factory=list)


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


def transfer(load: Load, target: Target, start: Start, progress: Progress) -> Iterator[Checkpoint]:
    """Send the spans of a blob from `start` on; the last checkpoint covers all of it, also when it is empty.

    Raises:
        DeviceLost: the device went away. OutOfSpace, WriteFailed: the account failed. The same call, from the last
            checkpoint, goes on.
    """
    state = _State(start.done, start.crc64, start.done, not start.again, (start.done, start.crc64))
    with closing(ahead(_pieces(load, _rest(load.spans, start.done)))) as pieces:
        for piece in pieces:
            if isinstance(piece, _Piece):
                _send(piece, target, state)
                progress.advance(0 if piece.again else len(piece.body))
                continue
            if piece.finding is not None:
                state.findings.append(piece.finding)
            state.span = state.done, state.crc64
            if state.done - state.flushed >= WINDOW_BYTES:
                yield _checkpoint(target, state)
    yield _checkpoint(target, state)


def _rest(parts: Iterable[Span], done: int) -> Iterator[Span]:
    """Yield the spans behind `done`. Parity that reads differently than last time may have one across it."""
    for span in parts:
        if span.offset >= done:
            yield span
        elif span.end > done:
            yield replace(span, offset=done, length=span.end - done)


def _send(piece: _Piece, target: Target, state: _State) -> None:
    if piece.again and piece.offset == state.span[0]:
        state.crc64 = state.span[1]
    state.crc64 = crc64(piece.body, state.crc64)
    if piece.again or not state.skip_zeros or not _is_zero(piece.body):
        target.write(piece.offset, piece.body)
    state.done = piece.offset + len(piece.body)


def _is_zero(body: bytes | memoryview) -> bool:
    # Most pieces are told by their first page; the whole is compared as bytes, which is quick.
    return body[:PAGE_BYTES] == _ZEROS[:PAGE_BYTES] and bytes(body) == _ZEROS[: len(body)]


def _checkpoint(target: Target, state: _State) -> Checkpoint:
    target.flush()
    state.flushed = state.done
    # Past the first checkpoint after a resume, nothing of the killed copy can lie in the blob any more.
    state.skip_zeros = True
    findings, state.findings = tuple(state.findings), []
    return Checkpoint(state.done, state.crc64, findings)


def _pieces(load: Load, parts: Iterable[Span]) -> Iterator[_Piece | _Ended]:
    for span in parts:
        words = yield from _read(load.source, span)
        if words is None:
            yield _Ended(None)
        elif span.pack is not None and load.repair is not None:
            yield _Ended((yield from _repair(load.source, span, load.repair, words)))
        else:
            yield _Ended(Note(words, Category.DAMAGED if span.parity_of is None else Category.PARITY_LOST))


def _read(source: Source, span: Span, *, again: bool = False) -> Generator[_Piece, None, str | None]:
    """Yield the pieces of a span; return what is wrong with it, or None."""
    eye = _verifier(span)
    holes: list[tuple[int, int]] = []
    for at in range(span.offset, span.end, PIECE_BYTES):
        read = source.read(at, min(PIECE_BYTES, span.end - at))
        holes += read.holes
        if eye is not None:
            eye.feed(read.body)
        yield _Piece(at, read.body, again)
    return _judge(span, eye, holes) if span.length else None


class _Mended:
    """A source with what was repaired of one of its packs in its place."""

    def __init__(self, source: Source, start: int, repaired: Repaired) -> None:
        self._source = source
        self._start = start
        self._repaired = repaired

    def read(self, offset: int, length: int) -> Read:
        read = self._source.read(offset, length)
        return Read(self._repaired.over(offset - self._start, read.body), read.holes)


def _repair(
    source: Source, span: Span, repair: Callable[[PackId], Repaired], words: str
) -> Generator[_Piece, None, Note]:
    """Send a damaged pack again, repaired, if parity can; return what to say."""
    assert span.pack is not None
    try:
        repaired = repair(span.pack)
    except DataError as error:
        return Note(f"{words}; {error}")
    # The device may tell something else this time: only what hashes right is called repaired.
    still = yield from _read(_Mended(source, span.offset, repaired), span, again=True)
    if still is not None:
        return Note(f"{still}; it reads differently every time")
    told = f"{pack_words(span.pack)} was damaged and is repaired from parity: {repaired.words}"
    return Note(f"{told}; it lies at byte {span.offset} of the blob", Category.REPAIRED)


def _verifier(span: Span) -> Verifier | None:
    if span.pack is not None:
        return LeafVerifier(span.pack, span.length)
    if span.parity_of is not None:
        return ParityVerifier(span.parity_of, span.offset)
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
