"""Sealing to a public key: HPKE base mode (RFC 9180) with the hybrid of ML-KEM-768 and X25519.

A device in the post is "harvest now, decrypt later" by nature, hence the hybrid. Base mode does not say who sealed:
authenticity comes from the signed manifest alone.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

from wain.base.errors import CommitmentMismatch, Malformed, Truncated
from wain.keys.secret import MLKEM_PUBLIC_BYTES, RESTORE_PUBLIC_BYTES, RestoreKey

ENCAPSULATED_BYTES: Final = 1120
TAG_BYTES: Final = 16
SEAL_OVERHEAD_BYTES: Final = ENCAPSULATED_BYTES + TAG_BYTES
"""By how much a sealed text is longer than the plain one."""

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal_to(public: bytes, plain: bytes, label: bytes) -> bytes:
    """Return `plain` sealed to a restore public key: capsule (1,120) || ciphertext || tag (16).

    `label` is HPKE's info: the same one must be given to open.

    Raises:
        Malformed: `public` is not a usable key.
    """
    if len(public) != RESTORE_PUBLIC_BYTES:
        raise Malformed("a restore public key", f"it has {len(public)} bytes, not {RESTORE_PUBLIC_BYTES}")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_BYTES:])
        return _SUITE.encrypt(plain, MLKEM768X25519PublicKey(mlkem, x25519), label)
    except ValueError:
        raise Malformed("a restore public key", "it is not a pair of ML-KEM-768 and X25519 keys") from None


def open_sealed(key: RestoreKey, sealed: bytes, label: bytes) -> bytes:
    """Return what `seal_to` was given.

    Raises:
        Truncated: shorter than any sealed text.
        CommitmentMismatch: sealed to another key or under another label, or damaged; HPKE cannot tell these apart.
    """
    if len(sealed) < SEAL_OVERHEAD_BYTES:
        raise Truncated("a sealed text", want=SEAL_OVERHEAD_BYTES, have=len(sealed))
    try:
        return _SUITE.decrypt(sealed, key.hpke, label)
    except InvalidTag:
        raise CommitmentMismatch(f"a text sealed as {label.decode('ascii', 'replace')!r}") from None
