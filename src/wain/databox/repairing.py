"""Gives a repair the blobs of a container to read from, on a device that nobody trusts."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from wain.base.errors import DataError
from wain.databox.loads import Container
from wain.databox.opened import FoundSeal
from wain.databox.transfer import Source
from wain.pageblob.parity_repair import Repairer


class _Blobs:
    """The blobs of one container, each opened when it is first read from."""

    def __init__(self, container: Container, stack: ExitStack) -> None:
        self._container = container
        self._stack = stack
        self._open: dict[str, Source | None] = {}

    def read(self, blob: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes; what cannot be read is zeros."""
        if blob not in self._open:
            try:
                self._open[blob] = self._stack.enter_context(self._container.source(blob.encode()))
            except DataError:
                self._open[blob] = None
        source = self._open[blob]
        return bytes(length) if source is None else bytes(source.read(offset, length).body)


@contextmanager
def repairing(
    container: Container, found: FoundSeal | None, parity: Sequence[tuple[str, int]]
) -> Iterator[Repairer | None]:
    """Hold what repairs the packs of a sealed container. `parity` are its parity blobs and their lengths.

    None when there is no parity. Nothing is read before something is to be repaired.
    """
    if found is None or not parity:
        yield None
        return
    with ExitStack() as stack:
        places = {pack.id: pack.placement for pack in found.seal.packs}
        yield Repairer(_Blobs(container, stack).read, places, parity)
