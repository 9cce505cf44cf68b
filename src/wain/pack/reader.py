"""Opens a pack with the restore key, reading only what is asked for."""

from collections.abc import Callable
from functools import cached_property

from wain.base.errors import CommitmentMismatch, Corrupt, Malformed, TooLarge, Truncated
from wain.base.ids import PackId
from wain.keys.secret import RestoreKey
from wain.pack.cipher import PackCipher, PackKey, check_commitment, unwrap
from wain.pack.format import (
    FOOTER_BYTES,
    HEADER_BYTES,
    LEAF_BYTES,
    MAX_PACK_BYTES,
    Header,
    PackedChunk,
    PackIndex,
    SegmentRow,
    decode_header,
    decode_index,
)
from wain.pack.segment import expand
from wain.pack.verify import check_footer, check_padding, pack_words

Read = Callable[[int, int], bytes | memoryview]


class PackReader:
    """One pack. `read(offset, length)` returns stored bytes; `size` is the stored length in bytes.

    Raises (all methods): `Truncated`, `TooLarge`, `Corrupt`, `Malformed`, `CommitmentMismatch`, named after the pack.
    """

    def __init__(self, read: Read, size: int, expected: PackId, key: RestoreKey | PackKey) -> None:
        self.id = expected
        self._read = read
        if size > MAX_PACK_BYTES + FOOTER_BYTES:
            raise TooLarge(pack_words(expected), have=size, cap=MAX_PACK_BYTES + FOOTER_BYTES)
        if size <= HEADER_BYTES + FOOTER_BYTES:
            raise Truncated(pack_words(expected), want=HEADER_BYTES + FOOTER_BYTES + 1, have=size)
        self.footer = check_footer(self._exactly(size - FOOTER_BYTES, FOOTER_BYTES), expected)
        if self.footer.body_bytes + FOOTER_BYTES != size:
            raise Truncated(pack_words(expected), want=self.footer.body_bytes + FOOTER_BYTES, have=size)
        header = decode_header(bytes(self._exactly(0, HEADER_BYTES)))
        if header.kind is not self.footer.kind:
            raise Malformed(pack_words(expected), "header and footer name different chunk types")
        self.kind = header.kind
        self.registration = header.registration
        self._cipher = PackCipher(self._pack_key(header, key), header.salt, header.registration, header.kind)

    @cached_property
    def segments(self) -> tuple[SegmentRow, ...]:
        """Where the pack's segments lie."""
        return self.index.segments

    @property
    def index(self) -> PackIndex:
        """What the pack holds, read and decoded at each call: a reader that is kept must not hold every chunk."""
        end = self._exactly(self.footer.index_offset, self.footer.body_bytes - self.footer.index_offset)
        check_padding(end, self.footer, self.id)
        try:
            plain = self._cipher.open_index(bytes(end[: self.footer.index_bytes]))
        except Corrupt:
            raise self._damaged("its index", self.footer.index_offset, self.footer.index_bytes) from None
        return decode_index(plain, self.footer.index_offset)

    def segment(self, number: int) -> bytes:
        """Return the plaintext of one segment, read now."""
        row = self.segments[number]
        return self.open_segment(number, self._exactly(row.offset, row.stored))

    def open_segment(self, number: int, sealed: bytes | memoryview) -> bytes:
        """Return the plaintext of one segment whose stored bytes the caller has read."""
        row = self.segments[number]
        try:
            body = self._cipher.open_segment(number, row.plain, row.codec, sealed)
            return expand(body, row.codec, row.plain)
        except Corrupt:
            raise self._damaged(f"segment {number}", row.offset, row.stored) from None

    def chunk(self, chunk: PackedChunk) -> bytes:
        """Return one chunk's bytes. The caller names them again if it has the keys to."""
        return self.segment(chunk.segment)[chunk.offset : chunk.offset + chunk.length]

    def _pack_key(self, header: Header, key: RestoreKey | PackKey) -> PackKey:
        try:
            if isinstance(key, PackKey):
                check_commitment(header, key)
                return key
            return unwrap(header, key)
        except CommitmentMismatch:
            raise CommitmentMismatch(pack_words(self.id)) from None

    def _exactly(self, offset: int, length: int) -> bytes | memoryview:
        body = self._read(offset, length)
        if len(body) != length:
            raise Truncated(pack_words(self.id), want=offset + length, have=offset + len(body))
        return body

    def _damaged(self, part: str, offset: int, length: int) -> Corrupt:
        first, last = offset // LEAF_BYTES, (offset + length - 1) // LEAF_BYTES
        leaves = f"leaf {first}" if first == last else f"leaves {first} to {last}"
        return Corrupt(pack_words(self.id), f"{part}, in {leaves}")
