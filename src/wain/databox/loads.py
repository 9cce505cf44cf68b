"""Opens one planned blob of a device: where its bytes come from, and what vouches for them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from blake3 import blake3

from wain.base.errors import Corrupt, DataError, Truncated
from wain.databox.opened import FoundSeal, record
from wain.databox.survey import by_blob
from wain.databox.transfer import Memory, Source, Span, spans
from wain.databox.untrusted import Directory
from wain.device.seal import Seal
from wain.pageblob.names import MANIFEST_BLOB, SEAL_BLOB, packs_number
from wain.pageblob.paged import decode_paged


@dataclass(frozen=True, slots=True)
class Load:
    """A blob that can be transferred; `finding` is what is wrong with it as a whole, or None."""

    source: Source
    spans: tuple[Span, ...]
    finding: str | None = None


class Loader:
    """Opens the blobs of one container. `found` is its seal, None for a container that is not Wain's."""

    def __init__(self, container: Directory, found: FoundSeal | None) -> None:
        self._container = container
        self._found = found
        self._packs = by_blob(found.seal.packs) if found is not None else {}

    @contextmanager
    def load(self, path: bytes, length: int) -> Iterator[Load]:
        """Open the blob at `path` below the container, `length` bytes of it.

        Raises:
            NotTaken: it is not there any more, or no file any more.
            DeviceLost: the device went away.
        """
        name = path.decode(errors="replace")
        if self._found is not None and name == SEAL_BLOB:
            yield Load(Memory(self._found.stored), tuple(spans((), length)))
        elif self._found is not None and name == MANIFEST_BLOB:
            stored = record(self._container, path)
            yield Load(Memory(stored), tuple(spans((), length)), _manifest_finding(stored[:length], self._found.seal))
        else:
            with ExitStack() as stack:
                here = self._container
                *above, last = path.split(b"/")
                for step in above:
                    here = stack.enter_context(here.enter(step))
                file = stack.enter_context(here.file(last))
                yield Load(file, tuple(self._spans(name, length)))

    def _spans(self, name: str, length: int) -> Iterator[Span]:
        number = packs_number(name)
        packs = self._packs.get(number, []) if number is not None else []
        return spans(((pack.placement.offset, pack.placement.length, pack.id) for pack in packs), length)


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
