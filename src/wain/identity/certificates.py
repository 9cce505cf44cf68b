"""Certificates as the directory reads them: DER in, thumbprints and an RSA key out."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wain.base.errors import Malformed, TooLarge

CERTIFICATE_CAP: Final = 16 * 1024
RSA_BITS: Final = range(2048, 8193)
"""Accepted RSA key sizes: less is weak, more is a denial of service."""
_WHAT: Final = "the certificate"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What matters of an X.509 certificate."""

    der: bytes
    subject: str
    serial: int
    starts_at: datetime
    ends_at: datetime
    public_pem: bytes

    @property
    def thumbprint(self) -> str:
        """SHA-1 of the DER in upper-case hex: what Windows and Azure call a certificate by (seed, S110)."""
        return thumbprint_hex(self.der)


def thumbprint_hex(der: bytes) -> str:
    """Return the SHA-1 of a certificate in upper-case hex."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def thumbprints(der: bytes) -> tuple[str, str]:
    """Return `x5t` and `x5t#S256` (RFC 7515 4.1.7, 4.1.8): SHA-1 and SHA-256 in base64url without padding."""
    digests = (hashlib.sha1(der, usedforsecurity=False).digest(), hashlib.sha256(der).digest())
    sha1, sha256 = (base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for digest in digests)
    return sha1, sha256


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        TooLarge: it is over the cap.
        Malformed: it is no X.509 certificate with an RSA key of an accepted size.
    """
    if len(der) > CERTIFICATE_CAP:
        raise TooLarge(_WHAT, len(der), CERTIFICATE_CAP)
    try:
        found = x509.load_der_x509_certificate(der)
        key = found.public_key()
        subject = found.subject.rfc4514_string()
    except (ValueError, TypeError) as error:
        raise Malformed(_WHAT, f"it is not X.509 in DER ({error})") from None
    if not isinstance(key, RSAPublicKey) or key.key_size not in RSA_BITS:
        raise Malformed(_WHAT, f"its key is not RSA of {RSA_BITS[0]} to {RSA_BITS[-1]} bits")
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(der, subject, found.serial_number, found.not_valid_before_utc, found.not_valid_after_utc, public)
