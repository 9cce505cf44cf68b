"""Opens one planned blob of a device or an account: where its bytes come from, and what vouches for them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from typing import Protocol

from blake3 import blake3

from wain.base.errors import Corrupt, DataError, Truncated
from wain.databox.opened import FoundSeal, record
from wain.databox.survey import by_blob
from wain.databox.transfer import LOOSE_SPAN_BYTES, Load, Memory, Source, Span, spans
from wain.databox.untrusted import Directory
from wain.device.seal import Seal
from wain.pageblob.names import JOURNAL_BLOB, MANIFEST_BLOB, SEAL_BLOB, packs_number, parity_number
from wain.pageblob.paged import decode_paged
from wain.pageblob.parity_record import locate
from wain.pageblob.parity_repair import Repairer


class Container(Protocol):
    """What a container of blobs is read from. Paths are below it, with `/`."""

    def record(self, path: bytes) -> bytes:
        """Return a small blob, whole, read once. Raises `DataError`."""

    def source(self, path: bytes) -> AbstractContextManager[Source]:
        """Open a blob. Raises `DataError`."""


class OnDevice:
    """A container of a device."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def record(self, path: bytes) -> bytes:
        """Return a small file, whole (see `opened.record`)."""
        return record(self._directory, path)

    @contextmanager
    def source(self, path: bytes) -> Iterator[Source]:
        """Open a file. Raises `NotTaken`, `DeviceLost`."""
        with ExitStack() as stack:
            here = self._directory
            *above, last = path.split(b"/")
            for step in above:
                here = stack.enter_context(here.enter(step))
            yield stack.enter_context(here.file(last))


class Loader:
    """Opens the blobs of one container. `found` is its seal, None for a container that nothing vouches for.

    Without `repairer` damage is found and left as it is.
    """

    def __init__(self, container: Container, found: FoundSeal | None, repairer: Repairer | None = None) -> None:
        self._container = container
        self._found = found
        self._packs = by_blob(found.seal.packs) if found is not None else {}
        self._lengths = {pack.id: pack.placement.length for pack in found.seal.packs} if found is not None else {}
        self._repair = repairer.repair if repairer is not None else None

    @contextmanager
    def load(self, path: bytes, length: int) -> Iterator[Load]:
        """Open the blob at `path` below the container, `length` bytes of it.

        Raises:
            DataError: it is not there any more, or no file any more.
            DeviceLost: the device went away.
        """
        name = path.decode(errors="replace")
        if self._found is not None and name == SEAL_BLOB:
            yield Load(Memory(self._found.stored), tuple(spans((), length)))
        elif self._found is not None and name == MANIFEST_BLOB:
            stored = self._container.record(path)
            yield Load(Memory(stored), tuple(spans((), length)), _manifest_finding(stored[:length], self._found.seal))
        elif self._found is not None and parity_number(name) is not None:
            with self._container.source(path) as source:
                yield Load(source, tuple(self._parity_spans(source, length)))
        else:
            parts = tuple(self._spans(name, length))
            # A span without bytes is never judged.
            empty = any(part.journal_of is not None and not part.length for part in parts)
            with self._container.source(path) as source:
                yield Load(source, parts, "the journal is empty" if empty else None, self._repair)

    def _spans(self, name: str, length: int) -> Iterator[Span]:
        if self._found is not None and name == JOURNAL_BLOB:
            return iter((Span(0, length, None, self._found.seal),))
        number = packs_number(name)
        packs = self._packs.get(number, []) if number is not None else []
        return spans(((pack.placement.offset, pack.placement.length, pack.id) for pack in packs), length)

    def _parity_spans(self, source: Source, length: int) -> Iterator[Span]:
        """Yield a span for each record, and for what lies between records and is none.

        Every record stands for a pack: a device that has more of them than packs gets no more spans for it.
        """
        at = 0
        records = locate(lambda offset, size: bytes(source.read(offset, size).body), length)
        for found in islice(records, len(self._lengths)):
            yield from self._parity_between(at, found.start)
            at = min(found.end, length)
            yield Span(found.start, at - found.start, None, parity_of=self._lengths)
        yield from self._parity_between(at, length)

    def _parity_between(self, start: int, end: int) -> Iterator[Span]:
        for at in range(start, end, LOOSE_SPAN_BYTES):
            yield Span(at, min(LOOSE_SPAN_BYTES, end - at), None, parity_of=self._lengths)


def _manifest_finding(stored: bytes, seal: Seal) -> str | None:
    try:
        body = decode_paged(stored, "the manifest")
        if len(body) != seal.manifest_bytes:
            raise Truncated("the manifest", want=seal.manifest_bytes, have=len(body))
        if blake3(body).digest() != seal.manifest_hash:
            raise Corrupt("the manifest", "it is not the one that was sealed")
    except DataError as error:
        return str(error)
    return None
