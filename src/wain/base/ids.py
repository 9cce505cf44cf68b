"""Identifiers. All are raw bytes in memory and on disk, lower-case hex in text."""

from typing import Final, NewType

from wain.base.errors import Refused

ChunkId = NewType("ChunkId", bytes)
"""32 bytes: keyed BLAKE3 of a chunk's type and plaintext."""
PackId = NewType("PackId", bytes)
"""32 bytes: BLAKE3 of a pack's footer page, which holds the BLAKE3 of every leaf."""
PointId = NewType("PointId", bytes)
"""32 bytes: BLAKE3 of a recovery point's manifest."""
RegistrationId = NewType("RegistrationId", bytes)
"""16 random bytes: one protected server in one vault."""
SeedId = NewType("SeedId", bytes)
"""16 random bytes: one registration's first backup on one device."""
SeriesId = NewType("SeriesId", bytes)
"""16 bytes: which points follow one another when a registration keeps more than its files; a keyed hash of a path."""
DeviceId = NewType("DeviceId", bytes)
"""16 random bytes: one prepared device."""

HASH_BYTES: Final = 32
UUID_BYTES: Final = 16
NO_SEED: Final = SeedId(bytes(UUID_BYTES))
NO_SERIES: Final = SeriesId(bytes(UUID_BYTES))
"""The series of the policy's files."""
NO_POINT: Final = PointId(bytes(HASH_BYTES))


def from_hex(text: str, what: str, size: int) -> bytes:
    """Return the bytes that `text` spells.

    Raises:
        Refused: `text` is not exactly `size` bytes in hex.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size:
        raise Refused(f"{what} must be {2 * size} hexadecimal digits, not {text!r}")
    return value


def short(value: bytes) -> str:
    """Return the first 12 hex digits: enough for people, never used as a key."""
    return value[:6].hex()
