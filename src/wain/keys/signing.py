"""Signatures: Ed25519 over a domain tag and the body, so that no signature can serve in another place."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wain.base.errors import Corrupt
from wain.keys.secret import Secret

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

MANIFEST: Final = b"wain manifest v1"
SEAL: Final = b"wain seal v1"
RECEIPT: Final = b"wain receipt v1"
COUNTERSIGN: Final = b"wain countersign v1"
CUSTODY: Final = b"wain custody v1"
REGISTRATION: Final = b"wain registration v1"
"""A domain holds no zero byte, so `domain || 0x00 || body` reads one way only."""


def public_key(seed: Secret) -> bytes:
    """Return the raw public key (32 bytes) of a signing seed."""
    return Ed25519PrivateKey.from_private_bytes(seed.raw).public_key().public_bytes_raw()


def sign(seed: Secret, domain: bytes, body: bytes) -> bytes:
    """Return the signature (64 bytes) over `domain || 0x00 || body`."""
    assert b"\0" not in domain
    return Ed25519PrivateKey.from_private_bytes(seed.raw).sign(domain + b"\0" + body)


def verify(public: bytes, domain: bytes, body: bytes, signature: bytes) -> None:
    """Return when the signature is good.

    Raises:
        Corrupt: it is not: body, domain, signature or key differ from what was signed.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, domain + b"\0" + body)
    except (InvalidSignature, ValueError):
        raise Corrupt(domain.decode("ascii", "replace"), "its signature does not verify") from None
