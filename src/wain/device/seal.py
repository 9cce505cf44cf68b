"""The seal of a device: the signed word that every pack was read back from the medium (FORMAT.md, Seal).

It is the last thing written to a container. Who receives the device takes only what a seal lists.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt, Malformed, Truncated
from wain.base.ids import HASH_BYTES, UUID_BYTES, DeviceId, PackId, PointId, RegistrationId, SeedId
from wain.base.moment import to_ns
from wain.chunk.names import ChunkType
from wain.device.journal import JournalPack, check_placement
from wain.device.label import moment_field, text_field
from wain.keys.signing import PUBLIC_KEY_BYTES, SEAL, SIGNATURE_BYTES, verify
from wain.pageblob.layout import Placement
from wain.pageblob.names import container_name

MAGIC: Final = b"WAINSEAL"
VERSION: Final = 1
MAX_PACKS: Final = 1 << 20
"""64 TiB and more of full packs."""
NO_SIGNATURE: Final = bytes(SIGNATURE_BYTES)
NO_MANIFEST: Final = b""
"""The manifest of a device that its seed filled: the recovery point comes with the device on which the seed goes on."""
GOES_ON: Final = PointId(blake3(NO_MANIFEST).digest())
"""What stands for a recovery point where such a device is spoken of."""

_ROW: Final = struct.Struct("<32sBIQI")
_TEXT_BYTES: Final = 64
_WHAT: Final = "seal"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a sealed container holds. `packs` are in the order they were written; sizes in bytes."""

    device: DeviceId
    seed: SeedId
    registration: RegistrationId
    order: str
    container: str
    """The container's name on the device; in an account it may have been renamed."""
    created_at: datetime
    sign_key: bytes
    """The raw Ed25519 public key of the registration."""
    manifest_hash: bytes
    """BLAKE3 of the manifest, which is the id of the recovery point."""
    manifest_bytes: int
    custody_previous: bytes
    """Hash of the newest custody record the agent knew, or zeros."""
    packs: tuple[JournalPack, ...]
    signature: bytes = NO_SIGNATURE

    @property
    def goes_on(self) -> bool:
        """Whether the seed goes on on another device, which brings the recovery point."""
        return self.manifest_hash == GOES_ON

    @property
    def leaves_root(self) -> bytes:
        """BLAKE3 over all pack ids in order; each id covers all leaves of its pack."""
        return leaves_root(pack.id for pack in self.packs)

    @property
    def stored_bytes(self) -> int:
        """What all packs occupy."""
        return sum(pack.placement.length for pack in self.packs)


def leaves_root(packs: Iterable[PackId]) -> bytes:
    """Return the BLAKE3 over pack ids in order."""
    return blake3(b"".join(packs)).digest()


def seal_part(seal: Seal) -> bytes:
    """Return the bytes that are signed: the seal up to its signature."""
    out = Encoder(MAGIC, VERSION).fixed(seal.device, UUID_BYTES).fixed(seal.seed, UUID_BYTES)
    out.fixed(seal.registration, UUID_BYTES).text(seal.order).text(seal.container).int64(to_ns(seal.created_at))
    out.fixed(seal.sign_key, PUBLIC_KEY_BYTES).fixed(seal.manifest_hash, HASH_BYTES).uint(seal.manifest_bytes, 8)
    out.fixed(seal.custody_previous, HASH_BYTES).fixed(seal.leaves_root, HASH_BYTES).uint(len(seal.packs), 4)
    rows = [_ROW.pack(pack.id, pack.kind, *_place(pack.placement)) for pack in seal.packs]
    return out.raw(b"".join(rows)).finish()


def _place(placement: Placement) -> tuple[int, int, int]:
    return placement.blob, placement.offset, placement.length


def encode_seal(seal: Seal) -> bytes:
    """Return the whole seal: the signed part and the signature."""
    assert len(seal.signature) == SIGNATURE_BYTES
    return seal_part(seal) + seal.signature


def signed_part(body: bytes) -> bytes:
    """Return the part of an encoded seal that the signature covers.

    Raises:
        Truncated: there is no room for a signature.
    """
    if len(body) <= SIGNATURE_BYTES:
        raise Truncated(_WHAT, want=SIGNATURE_BYTES + 1, have=len(body))
    return body[:-SIGNATURE_BYTES]


def seal_hash(body: bytes) -> bytes:
    """Return the BLAKE3 of an encoded seal: how receipts and custody records name it."""
    return blake3(body).digest()


def decode_seal(body: bytes) -> Seal:
    """Decode a seal without judging its signature.

    Raises:
        DataError: not what `encode_seal` writes; `Corrupt` when the leaves' root does not match the packs.
    """
    decoder = Decoder(_WHAT, body, MAGIC, VERSION)
    device, seed = DeviceId(decoder.take(UUID_BYTES)), SeedId(decoder.take(UUID_BYTES))
    registration = RegistrationId(decoder.take(UUID_BYTES))
    order = text_field(decoder, _TEXT_BYTES, "the order name")
    container = text_field(decoder, _TEXT_BYTES, "the container name")
    created_at = moment_field(decoder, "the sealing time")
    sign_key, manifest_hash = decoder.take(PUBLIC_KEY_BYTES), decoder.take(HASH_BYTES)
    manifest_bytes = decoder.uint(8)
    custody_previous, root = decoder.take(HASH_BYTES), decoder.take(HASH_BYTES)
    packs = _decode_packs(decoder)
    signature = decoder.take(SIGNATURE_BYTES)
    decoder.finish()
    if container != container_name(registration, seed):
        raise decoder.refuse(f"{container} is not the container of this registration and seed")
    if (manifest_hash == GOES_ON) != (manifest_bytes == 0):
        raise decoder.refuse("the manifest's length and hash do not agree on whether there is one")
    if root != leaves_root(pack.id for pack in packs):
        raise Corrupt(_WHAT, "the leaves' root does not match the packs")
    return Seal(
        device, seed, registration, order, container, created_at, sign_key, manifest_hash, manifest_bytes,
        custody_previous, packs, signature,
    )  # fmt: skip


def _decode_packs(decoder: Decoder) -> tuple[JournalPack, ...]:
    count = decoder.count(_ROW.size, MAX_PACKS, "the pack count")
    packs: list[JournalPack] = []
    known: set[bytes] = set()
    previous: Placement | None = None
    for pack, kind, blob, offset, length in _ROW.iter_unpack(decoder.take(count * _ROW.size)):
        placement = Placement(blob, offset, length)
        check_placement(previous, placement, _WHAT)
        if not 1 <= kind <= len(ChunkType) or pack in known:
            raise Malformed(_WHAT, f"pack {pack.hex()} has unknown type {kind} or is there twice")
        known.add(pack)
        packs.append(JournalPack(PackId(pack), ChunkType(kind), placement))
        previous = placement
    return tuple(packs)


def check_seal(body: bytes, sign_key: bytes | None = None) -> Seal:
    """Decode a seal and judge its signature, by `sign_key` (the registration's) when the caller knows it.

    Raises:
        DataError: as `decode_seal`.
        Corrupt: another key signed it, or the signature does not verify.
    """
    seal = decode_seal(body)
    if sign_key is not None and seal.sign_key != sign_key:
        raise Corrupt(_WHAT, "it was signed with another key than the registration's")
    verify(seal.sign_key, SEAL, signed_part(body), seal.signature)
    return seal
