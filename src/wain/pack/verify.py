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
    have = leaf_hashes(memoryview(body))
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


class LeafVerifier:
    """Checks a pack while its bytes stream past, in pieces of any size. Memory: one leaf and the footer page.

    `feed` every stored byte in order, then `finish`. Hashes are made as leaves fill; they are judged at the end,
    when the footer is known.
    """

    def __init__(self, expected: PackId, stored_bytes: int) -> None:
        self._expected = expected
        self._size = stored_bytes
        self._body_bytes = stored_bytes - FOOTER_BYTES
        self._at = 0
        self._leaf = blake3()
        self._leaves: list[bytes] = []
        self._footer = bytearray()
        self._tail = b""
        """The end of the body: where padding is."""

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the pack."""
        view = memoryview(piece)
        while view and self._at < self._body_bytes:
            room = min(LEAF_BYTES - self._at % LEAF_BYTES, self._body_bytes - self._at)
            part = view[:room]
            self._leaf.update(part)
            self._at += len(part)
            if self._at > self._body_bytes - BLOCK_BYTES:
                self._tail = (self._tail + bytes(part))[-BLOCK_BYTES:]
            view = view[len(part) :]
            if self._at % LEAF_BYTES == 0 or self._at == self._body_bytes:
                self._leaves.append(self._leaf.digest())
                self._leaf = blake3()
        self._footer += view[: FOOTER_BYTES - len(self._footer)]  # What comes behind it is counted, not kept.
        self._at += len(view)

    def finish(self) -> Footer:
        """Judge.

        Raises:
            Truncated, Corrupt, Malformed: as `verify_pack`.
        """
        if self._at != self._size or self._body_bytes <= 0:
            raise Truncated(pack_words(self._expected), want=max(self._size, FOOTER_BYTES + 1), have=self._at)
        footer = check_footer(bytes(self._footer), self._expected)
        if footer.body_bytes != self._body_bytes:
            raise Truncated(pack_words(self._expected), want=footer.body_bytes + FOOTER_BYTES, have=self._size)
        bad = [n for n, (one, other) in enumerate(zip(self._leaves, footer.leaves, strict=True)) if one != other]
        if bad:
            raise Corrupt(pack_words(self._expected), damage(bad))
        check_padding(self._tail, footer, self._expected)
        return footer


def finding(pack: PackId, stored: bytes | memoryview) -> DataError | None:
    """Return what is wrong with a pack, or None."""
    try:
        verify_pack(stored, pack)
    except DataError as error:
        return error
    return None
