"""Checks a pack without any key: who holds no secret can still prove every bit of it, to the MiB."""

from collections.abc import Iterable

from blake3 import blake3

from wain.base.errors import Corrupt, DataError, Malformed, Truncated
from wain.base.ids import PackId
from wain.base.sizes import BLOCK_BYTES
from wain.pack.format import FOOTER_BYTES, LEAF_BYTES, Footer, decode_footer, pack_id


def pack_words(pack: PackId) -> str:
    """Return how messages name a pack."""
    return f"pack {pack.hex()}"


def leaf_words(leaf: int) -> str:
    """Return how messages name a leaf: its number from 0 and its byte range in the pack."""
    return f"leaf {leaf} (bytes {leaf * LEAF_BYTES} to {(leaf + 1) * LEAF_BYTES - 1})"


def check_footer(page: bytes | memoryview, expected: PackId) -> Footer:
    """Return the footer that `page` holds.

    Raises:
        Corrupt: the page does not hash to the pack's name.
    """
    if pack_id(page) != expected:
        raise Corrupt(pack_words(expected), "its footer page")
    return decode_footer(page)


def leaf_hashes(body: memoryview) -> tuple[bytes, ...]:
    """Return the BLAKE3 of each MiB of a body."""
    return tuple(blake3(body[at : at + LEAF_BYTES]).digest() for at in range(0, len(body), LEAF_BYTES))


def damaged_leaves(body: bytes | memoryview, footer: Footer) -> list[int]:
    """Return the numbers of the leaves whose hash differs from the footer's."""
    return _differing(leaf_hashes(memoryview(body)), footer)


def _differing(have: tuple[bytes, ...], footer: Footer) -> list[int]:
    return [number for number, (one, other) in enumerate(zip(have, footer.leaves, strict=True)) if one != other]


def check_padding(tail: bytes | memoryview, footer: Footer, expected: PackId) -> None:
    """Refuse a body whose end, behind the index, is not zeros. `tail` is the body's end, a block or more.

    Raises:
        Malformed: something hides there.
    """
    used = footer.body_bytes - footer.index_offset - footer.index_bytes
    if used and any(tail[len(tail) - used :]):
        raise Malformed(pack_words(expected), "the padding behind the index is not zeros")


def damage(leaves: Iterable[int]) -> str:
    """Return how messages name damaged leaves, the first eight of them."""
    numbers = list(leaves)
    words = ", ".join(leaf_words(number) for number in numbers[:8])
    return words if len(numbers) <= 8 else f"{words} and {len(numbers) - 8} more"


def verify_pack(stored: bytes | memoryview, expected: PackId) -> Footer:
    """Check every bit of a pack that is in memory.

    Raises:
        Truncated: it is shorter than its footer says.
        Corrupt: names the damaged leaves, or the footer page.
        Malformed: the hashes fit, but our writer would not have written this.
    """
    view = memoryview(stored)
    if len(view) <= FOOTER_BYTES:
        raise Truncated(pack_words(expected), want=FOOTER_BYTES + 1, have=len(view))
    footer = check_footer(view[-FOOTER_BYTES:], expected)
    body = view[:-FOOTER_BYTES]
    if len(body) != footer.body_bytes:
        raise Truncated(pack_words(expected), want=footer.body_bytes + FOOTER_BYTES, have=len(view))
    if bad := damaged_leaves(body, footer):
        raise Corrupt(pack_words(expected), damage(bad))
    check_padding(body, footer, expected)
    return footer


class LeafHasher:
    """Hashes the leaves of a body while its bytes stream past, in pieces of any size."""

    __slots__ = ("_filled", "_leaf", "_leaves")

    def __init__(self) -> None:
        self._leaf = blake3()
        self._filled = 0
        self._leaves: list[bytes] = []

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the body."""
        view = memoryview(piece)
        while view:
            part = view[: LEAF_BYTES - self._filled]
            self._leaf.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == LEAF_BYTES:
                self._close()

    def finish(self) -> tuple[bytes, ...]:
        """Return the BLAKE3 of each MiB of the body, the last one of what is left."""
        if self._filled:
            self._close()
        return tuple(self._leaves)

    def _close(self) -> None:
        self._leaves.append(self._leaf.digest())
        self._leaf = blake3()
        self._filled = 0


class StreamVerifier:
    """Checks a pack while its bytes stream past, in pieces of any size, before its name or size is known.

    `feed` every stored byte in order, then `finish` with the name it is to have. Hashes are made as leaves fill; they
    are judged at the end, when the footer is known. Memory: the footer page.
    """

    def __init__(self) -> None:
        self.stored_bytes = 0
        self._leaves = LeafHasher()
        self._held = b""
        """The last page so far: the footer, if nothing more comes."""
        self._tail = b""
        """The end of the body: where padding is."""

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the pack."""
        view = memoryview(piece)
        self.stored_bytes += len(view)
        body = max(len(self._held) + len(view) - FOOTER_BYTES, 0)
        from_held = min(body, len(self._held))
        self._take(self._held[:from_held])
        self._take(view[: body - from_held])
        self._held = self._held[from_held:] + bytes(view[body - from_held :])

    def _take(self, part: bytes | memoryview) -> None:
        self._leaves.feed(part)
        self._tail = (self._tail + bytes(part[-BLOCK_BYTES:]))[-BLOCK_BYTES:]

    def finish(self, expected: PackId) -> Footer:
        """Judge.

        Raises:
            Truncated, Corrupt, Malformed: as `verify_pack`.
        """
        if self.stored_bytes <= FOOTER_BYTES:
            raise Truncated(pack_words(expected), want=FOOTER_BYTES + 1, have=self.stored_bytes)
        footer = check_footer(self._held, expected)
        if footer.body_bytes + FOOTER_BYTES != self.stored_bytes:
            raise Truncated(pack_words(expected), want=footer.body_bytes + FOOTER_BYTES, have=self.stored_bytes)
        have = self._leaves.finish()
        if bad := _differing(have, footer):
            raise Corrupt(pack_words(expected), damage(bad))
        check_padding(self._tail, footer, expected)
        return footer


class LeafVerifier:
    """The same for a pack whose name and stored size in bytes are known beforehand."""

    def __init__(self, expected: PackId, stored_bytes: int) -> None:
        self._expected = expected
        self._size = stored_bytes
        self._stream = StreamVerifier()

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the pack."""
        self._stream.feed(piece)

    def finish(self) -> Footer:
        """Judge. Raises as `StreamVerifier.finish`."""
        have = self._stream.stored_bytes
        if have != self._size:
            raise Truncated(pack_words(self._expected), want=max(self._size, FOOTER_BYTES + 1), have=have)
        return self._stream.finish(self._expected)


def finding(pack: PackId, stored: bytes | memoryview) -> DataError | None:
    """Return what is wrong with a pack, or None."""
    try:
        verify_pack(stored, pack)
    except DataError as error:
        return error
    return None
