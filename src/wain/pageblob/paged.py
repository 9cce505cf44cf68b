"""The paged record: a small body framed to whole pages, because a page blob is a multiple of 512 bytes.

Layout: `FORMAT.md`. The seal, the manifest and the label of a device are stored this way.
"""

from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt
from wain.base.sizes import MIB, PAGE_BYTES, round_up

MAGIC: Final = b"WAINPAGE"
VERSION: Final = 1
HEADER_BYTES: Final = 8 + 2 + 8 + 32
MAX_BODY_BYTES: Final = 512 * MIB
"""No seal, manifest or label comes near it."""


def encode_paged(body: bytes) -> bytes:
    """Return `body` with its length and BLAKE3, zero-padded to a multiple of 512 bytes."""
    assert len(body) <= MAX_BODY_BYTES
    frame = Encoder(MAGIC, VERSION).uint(len(body), 8).fixed(blake3(body).digest(), 32)
    return frame.raw(body).pad_to(PAGE_BYTES).finish()


def paged_bytes(first_page: bytes | memoryview, what: str, cap: int = MAX_BODY_BYTES) -> int:
    """Return how many bytes the whole record occupies, from its first page, so that a reader asks for no more.

    Raises:
        Truncated, WrongMagic, UnknownVersion, TooLarge: not the first page of a record of at most `cap` body bytes.
    """
    decoder = Decoder(what, first_page, MAGIC, VERSION)
    length = decoder.uint(8, cap, "the body length")
    decoder.take(32)
    return round_up(HEADER_BYTES + length, PAGE_BYTES)


def decode_paged(stored: bytes | memoryview, what: str = "a paged record", cap: int = MAX_BODY_BYTES) -> bytes:
    """Return the body of a paged record. `what` names it in errors.

    Raises:
        Truncated, WrongMagic, UnknownVersion, TooLarge, Malformed: not what `encode_paged` writes.
        Corrupt: the hash does not match.
    """
    decoder = Decoder(what, stored, MAGIC, VERSION)
    length = decoder.uint(8, cap, "the body length")
    digest = decoder.take(32)
    body = decoder.take(length)
    decoder.zeros(-decoder.at % PAGE_BYTES)
    decoder.finish()
    if blake3(body).digest() != digest:
        raise Corrupt(what, "its hash does not match")
    return body
