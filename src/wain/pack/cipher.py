"""The keys of one pack: a fresh random key, sealed to the registration, committed to before anything is opened.

One key lives in one pack that is written once, so a counter is a safe nonce and nothing has to be remembered:
a cloned or rolled-back server cannot repeat one (FORMAT.md, Keys).
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wain.base.constant_time import same_bytes
from wain.base.errors import CommitmentMismatch, Corrupt
from wain.base.ids import RegistrationId
from wain.chunk.names import ChunkType
from wain.keys.sealing import open_sealed, seal_to
from wain.keys.secret import RestoreKey, Secret
from wain.pack.format import SALT_BYTES, TAG_BYTES, Codec, Header

KEY_BYTES: Final = 32
_SEGMENT: Final = 1
_INDEX: Final = 2


class PackKey(Secret):
    """One pack's random 32-byte key."""


class PackCipher:
    """Seals and opens the parts of one pack."""

    def __init__(self, key: PackKey, salt: bytes, registration: RegistrationId, kind: ChunkType) -> None:
        self._gcm = AESGCM(_derive(key, salt, b"wain pack v1 gcm"))
        self._context = b"wain pack v1" + registration + bytes([kind])

    def seal_segment(self, number: int, plain: int, codec: Codec, body: bytes) -> bytes:
        """Return the stored bytes of a segment, which are 16 longer."""
        return self._gcm.encrypt(_nonce(_SEGMENT, number), body, self._about(_SEGMENT, number, plain, codec))

    def open_segment(self, number: int, plain: int, codec: Codec, sealed: bytes | memoryview) -> bytes:
        """Return the compressed bytes of a segment. Raises `Corrupt`."""
        return self._open(_SEGMENT, number, self._about(_SEGMENT, number, plain, codec), sealed)

    def seal_index(self, plain: bytes) -> bytes:
        """Return the encrypted index."""
        return self._gcm.encrypt(_nonce(_INDEX, 0), plain, self._about(_INDEX, 0, len(plain), Codec.RAW))

    def open_index(self, sealed: bytes) -> bytes:
        """Return the index's plaintext. Raises `Corrupt`."""
        return self._open(_INDEX, 0, self._about(_INDEX, 0, len(sealed) - TAG_BYTES, Codec.RAW), sealed)

    def _about(self, role: int, number: int, plain: int, codec: Codec) -> bytes:
        return b"%s%c%s%s%c" % (self._context, role, number.to_bytes(4, "little"), plain.to_bytes(4, "little"), codec)

    def _open(self, role: int, number: int, about: bytes, sealed: bytes | memoryview) -> bytes:
        try:
            return self._gcm.decrypt(_nonce(role, number), sealed, about)
        except InvalidTag:
            part = "its index" if role == _INDEX else f"segment {number}"
            raise Corrupt("a pack", f"{part} does not authenticate") from None


def make_header(key: PackKey, salt: bytes, context: tuple[RegistrationId, ChunkType], restore_public: bytes) -> Header:
    """Return the header of a new pack: its key sealed to the registration, and the commitment to that key."""
    assert len(salt) == SALT_BYTES
    assert len(key.raw) == KEY_BYTES
    registration, kind = context
    capsule = seal_to(restore_public, key.raw, _capsule_label(registration, kind, salt))
    return Header(kind, registration, salt, _derive(key, salt, b"wain pack v1 commit"), capsule)


def unwrap(header: Header, key: RestoreKey) -> PackKey:
    """Return the pack key in a header's capsule.

    Raises:
        CommitmentMismatch: the capsule is not for this key, or the pack does not belong to what it holds.
    """
    label = _capsule_label(header.registration, header.kind, header.salt)
    pack_key = PackKey(open_sealed(key, header.capsule, label))
    check_commitment(header, pack_key)
    return pack_key


def check_commitment(header: Header, key: PackKey) -> None:
    """Refuse a key the pack was not sealed with, before any decryption (GCM alone does not commit to its key)."""
    if not same_bytes(_derive(key, header.salt, b"wain pack v1 commit"), header.commitment):
        raise CommitmentMismatch("a pack")


def _capsule_label(registration: RegistrationId, kind: ChunkType, salt: bytes) -> bytes:
    return b"wain pack key v1" + registration + bytes([kind]) + salt


def _derive(key: PackKey, salt: bytes, label: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, label).derive(key.raw)


def _nonce(role: int, number: int) -> bytes:
    return bytes([role, 0, 0, 0]) + number.to_bytes(8, "little")
