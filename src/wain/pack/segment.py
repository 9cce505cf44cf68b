"""A segment: chunks compressed together. Small files compress far better in company than alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import zstandard

from wain.base.errors import Corrupt, TooLarge
from wain.base.ids import ChunkId
from wain.base.sizes import KIB, MIB
from wain.chunk.names import ChunkType, Namer
from wain.pack.format import MAX_SEGMENT_PLAIN, Codec

LEVEL: Final = 3
_WORTH: Final = 0.97
"""Compression that saves less than this fraction is not worth decompressing later."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A compressed segment, not yet encrypted. `plain` is its plaintext length in bytes."""

    codec: Codec
    body: bytes
    plain: int
    chunks: tuple[tuple[ChunkId, int], ...]
    """Each chunk's id and length in bytes, in order."""


_PROBED_BYTES: Final = MIB
"""What is shorter is compressed without a probe: it would save too little."""
_PROBES: Final = 8
_PROBE_BYTES: Final = 8 * KIB


class Compressor:
    """Compresses segments. Owned by one thread: zstd contexts are not shared."""

    def __init__(self, level: int = LEVEL) -> None:
        self._zstd = zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False)
        self._probe = zstandard.ZstdCompressor(level=1, write_content_size=False)

    def compress(self, bodies: Sequence[bytes | memoryview], chunks: tuple[tuple[ChunkId, int], ...]) -> Segment:
        """Return the segment of these chunks, stored raw when compression saves too little."""
        plain = bodies[0] if len(bodies) == 1 else b"".join(bodies)
        if len(plain) < _PROBED_BYTES or self._promising(plain):
            packed = self._zstd.compress(plain)
            if len(packed) < len(plain) * _WORTH:
                return Segment(Codec.ZSTD, packed, len(plain), chunks)
        return Segment(Codec.RAW, bytes(plain), len(plain), chunks)

    def _promising(self, plain: bytes | memoryview) -> bool:
        """Tell from samples whether compression can be worth it: media and encrypted files are not tried whole."""
        step = len(plain) // _PROBES
        sample = b"".join([plain[at : at + _PROBE_BYTES] for at in range(0, step * _PROBES, step)])
        return len(self._probe.compress(sample)) < len(sample) * _WORTH


def expand(body: bytes | memoryview, codec: Codec, plain: int) -> bytes:
    """Return a segment's plaintext of exactly `plain` bytes.

    Raises:
        TooLarge: the authenticated length is over the cap.
        Corrupt: the frame says another length, holds another frame, or does not decompress.
    """
    if plain > MAX_SEGMENT_PLAIN:
        raise TooLarge("a segment", have=plain, cap=MAX_SEGMENT_PLAIN)
    if codec is Codec.RAW:
        if len(body) != plain:
            raise Corrupt("a segment", f"{len(body)} raw bytes where {plain} are promised")
        return bytes(body)
    try:
        # The frame header decides what the library allocates, so it is judged first (a bomb lies here).
        said = zstandard.get_frame_parameters(body)
        if said.content_size != plain or said.dict_id:
            raise Corrupt("a segment", "its frame promises another length")
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=plain, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Corrupt("a segment", str(error)) from None


def check_chunks(plain: bytes, kind: ChunkType, chunks: Sequence[tuple[ChunkId, int]], namer: Namer) -> None:
    """Name every chunk of a segment again.

    Raises:
        Corrupt: a chunk is not what its id says: bad memory, or a bug, before anything was written.
    """
    view = memoryview(plain)
    at = 0
    for chunk, length in chunks:
        if namer.name(kind, view[at : at + length]) != chunk:
            raise Corrupt(f"chunk {chunk.hex()}", "its bytes do not give its name")
        at += length
