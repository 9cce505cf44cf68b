"""The read-back: every pack of a device, read from the medium and verified without keys.

What is buffered proves nothing, so all reading is uncached (`wain.storage.uncached`). Packs that lie end to end are
read as one stream of large requests; only where the stream breaks, a pack is looked at leaf by leaf.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from wain.base.errors import Corrupt, DataError, Truncated
from wain.base.ids import PackId
from wain.base.progress import Progress
from wain.device.journal import JournalPack
from wain.pack.format import LEAF_BYTES
from wain.pack.verify import LeafVerifier, finding
from wain.storage.uncached import UncachedFile


@dataclass(frozen=True, slots=True)
class Finding:
    """A pack that is not on the medium as it was written. `where` names the leaf, or what is missing."""

    pack: PackId
    where: str


class ReadBackFailed(DataError):
    """The device does not return what was written to it. `findings` names every pack."""

    hint = "Do not ship this device: have it replaced, then start the seed again on the new one."

    def __init__(self, where: str, findings: tuple[Finding, ...]) -> None:
        self.where = where
        self.findings = findings
        super().__init__(where, findings)

    def __str__(self) -> str:
        first = self.findings[0]
        return (
            f"the device at {self.where} does not return what was written: {len(self.findings)} damaged, "
            f"the first is pack {first.pack.hex()}: {first.where}"
        )


def check_packs(
    open_blob: Callable[[int], UncachedFile], packs: Sequence[JournalPack], progress: Progress
) -> Iterator[Finding]:
    """Verify packs, given in the order they lie, and yield what is wrong. Advances `progress` by bytes and packs.

    `open_blob` opens a page blob by its number.

    Raises:
        RemoteError: the device is gone, or cannot be read for a reason other than damage.
    """
    for blob, group in groupby(packs, key=lambda pack: pack.placement.blob):
        listed = deque(group)
        try:
            file = open_blob(blob)
        except DataError as error:
            yield from (Finding(pack.id, str(error)) for pack in listed)
            continue
        with file:
            yield from _check_blob(file, listed, progress)


def _check_blob(file: UncachedFile, todo: deque[JournalPack], progress: Progress) -> Iterator[Finding]:
    while todo:
        try:
            yield from _stream(file, todo, progress)
        except DataError:  # The stream broke in or shortly after the first pack that is left.
            pack = todo.popleft()
            if where := _examine(file, pack):
                yield Finding(pack.id, where)
            progress.advance(pack.placement.length, 1)


def _stream(file: UncachedFile, todo: deque[JournalPack], progress: Progress) -> Iterator[Finding]:
    """Take packs off `todo` as they are verified. Raises `DataError` when the medium cannot be read."""
    verifier: LeafVerifier | None = None
    left = 0
    start = todo[0].placement.offset
    for piece in file.pieces(start, todo[-1].placement.end - start):
        at = 0
        while at < len(piece):
            if verifier is None:
                left = todo[0].placement.length
                verifier = LeafVerifier(todo[0].id, left)
            part = piece[at : at + left]
            verifier.feed(part)
            at += len(part)
            left -= len(part)
            progress.advance(len(part), 0 if left else 1)
            if not left:
                pack = todo.popleft()
                try:
                    verifier.finish()
                except DataError as error:
                    yield Finding(pack.id, _where(error))
                verifier = None


def _examine(file: UncachedFile, pack: JournalPack) -> str:
    """Return which leaves of a pack are unreadable or damaged, or an empty string."""
    place = pack.placement
    stored = bytearray(place.length)
    unreadable = False
    for at in range(0, place.length, LEAF_BYTES):
        size = min(LEAF_BYTES, place.length - at)
        try:
            stored[at : at + size] = file.read(place.offset + at, size)
        except Truncated as error:
            return str(error)
        except DataError:
            unreadable = True
    damage = finding(pack.id, memoryview(stored))
    if damage is None:
        return ""
    return _where(damage) + (", the medium cannot be read there" if unreadable else "")


def _where(error: DataError) -> str:
    return error.where if isinstance(error, Corrupt) else str(error)
