"""Names of chunks: keyed BLAKE3-256 of the plaintext, with a key of its own for each type.

The keys come from the registration's secret, so an outsider cannot test whether a known file is in a vault, and a
chunk of one type can never stand in for one of another.
"""

from enum import IntEnum

from blake3 import blake3

from wain.base.ids import ChunkId


class ChunkType(IntEnum):
    """What a chunk holds. The values are on disk (chunk/FORMAT.md)."""

    DATA = 1
    """A piece of a file."""
    TREE = 2
    """A piece of a directory listing."""
    INDEX = 3
    """A piece of an index segment."""


class Namer:
    """Names the chunks of one registration. Safe to share between threads."""

    __slots__ = ("_keys",)

    def __init__(self, chunk_keys: tuple[bytes, bytes, bytes]) -> None:
        self._keys = chunk_keys

    def name(self, kind: ChunkType, body: bytes | memoryview) -> ChunkId:
        """Return the id of a chunk's plaintext."""
        return ChunkId(blake3(body, key=self._keys[kind - 1]).digest())

    def __repr__(self) -> str:
        return "Namer(...)"
