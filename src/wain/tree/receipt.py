"""The vault's receipt for an imported seed: what a signature of the vault, and then the agent's, stands under.

Layout and rules: FORMAT.md, "Receipt". The signatures travel beside the body (domains `keys.signing.RECEIPT`
for the vault's, `COUNTERSIGN` for the agent's), so that both sign the very same bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Malformed
from wain.base.ids import HASH_BYTES, NO_POINT, NO_SEED, UUID_BYTES, PointId, RegistrationId, SeedId
from wain.tree.manifest import MAX_PACKS, moment_ns, read_moment

RECEIPT_MAGIC: Final = b"WAINRCPT"
RECEIPT_VERSION: Final = 1
RECEIPT_BYTES: Final = 126

_WHAT: Final = "receipt"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The vault has taken a whole seed in. Size in bytes, the moment by the vault's clock, in UTC."""

    registration: RegistrationId
    seed: SeedId
    seal_hash: bytes
    """BLAKE3 of the device's seal, 32 bytes: binds the receipt to one sealed device."""
    point: PointId
    """The seed's recovery point; of one that goes on on another device, the hash of its empty manifest."""
    packs: int
    """How many packs the seed brought."""
    stored_bytes: int
    """What those packs occupy, stored."""
    received_at: datetime


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the receipt's body, `RECEIPT_BYTES` long.

    Raises:
        Malformed: a field that the format does not allow.
    """
    _check(receipt)
    return (
        Encoder(RECEIPT_MAGIC, RECEIPT_VERSION)
        .fixed(receipt.registration, UUID_BYTES)
        .fixed(receipt.seed, UUID_BYTES)
        .fixed(receipt.seal_hash, HASH_BYTES)
        .fixed(receipt.point, HASH_BYTES)
        .uint(receipt.packs, 4)
        .uint(receipt.stored_bytes, 8)
        .int64(moment_ns(_WHAT, receipt.received_at))
        .finish()
    )


def decode_receipt(body: bytes | memoryview) -> Receipt:
    """Return what a receipt says. The signatures beside it are the caller's to check.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not a receipt of ours.
    """
    read = Decoder(_WHAT, body, RECEIPT_MAGIC, RECEIPT_VERSION)
    receipt = Receipt(
        registration=RegistrationId(read.take(UUID_BYTES)),
        seed=SeedId(read.take(UUID_BYTES)),
        seal_hash=read.take(HASH_BYTES),
        point=PointId(read.take(HASH_BYTES)),
        packs=read.uint(4, MAX_PACKS, "pack count"),
        stored_bytes=read.uint(8),
        received_at=read_moment(read),
    )
    read.finish()
    _check(receipt)
    return receipt


def _check(receipt: Receipt) -> None:
    if receipt.seed == NO_SEED:
        raise Malformed(_WHAT, "it names no seed")
    if receipt.point == NO_POINT:
        raise Malformed(_WHAT, "it names no recovery point")
    if not 1 <= receipt.packs <= MAX_PACKS:
        raise Malformed(_WHAT, f"{receipt.packs} packs")
    if not 1 <= receipt.stored_bytes < 1 << 64:
        raise Malformed(_WHAT, f"{receipt.stored_bytes} stored bytes")
