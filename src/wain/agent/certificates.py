"""This server's own certificates, with which it signs in (seed, S87, S101).

One file each, mode 0600: the private key, and the certificate that it signed itself. The private key is made here and
never leaves; what is exported, uploaded and shown is the certificate alone.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey

from wain.base.errors import Corrupt, Refused, TooLarge
from wain.storage.durable import make_dirs, reading, writing
from wain.storage.new_file import write_new

PREFIX: Final = "CB_AzureADCertforOfflineSeeding_"
"""What the seed calls these certificates, before the moment (S101)."""
VALID_FOR: Final = timedelta(days=400)
RENEW_BEFORE: Final = timedelta(days=60)
BITS: Final = 2048
FILE_CAP: Final = 64 * 1024
_CLOCKS: Final = timedelta(minutes=5)
_SUFFIX: Final = ".pem"
_MARK: Final = b"PRIVATE KEY"


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A certificate whose private key is on this server. `pem` holds both: keep it here."""

    name: str
    der: bytes
    starts_at: datetime
    ends_at: datetime
    pem: bytes

    @property
    def thumbprint(self) -> str:
        """The certificate's SHA-1 in upper-case hex (seed, S110)."""
        return thumbprint_of(self.der)

    def is_due(self, now: datetime) -> bool:
        """Say whether it should be renewed."""
        return now >= self.ends_at - RENEW_BEFORE

    def is_valid(self, now: datetime) -> bool:
        """Say whether it can be used to sign in."""
        return self.starts_at <= now < self.ends_at

    def __repr__(self) -> str:
        return f"OwnCertificate({self.name}, {self.thumbprint})"  # Never the private key.

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a JWT of these claims, signed with RS256; its header names this certificate (`x5t`)."""
        named = {"alg": "RS256", "x5t": _base64url(hashlib.sha1(self.der, usedforsecurity=False).digest())}
        return jwt.encode(named, dict(claims), RSAKey.import_key(self.pem), algorithms=["RS256"])


class Certificates:
    """The directory of this server's certificates. It is made with the first one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def make(self, now: datetime) -> OwnCertificate:
        """Make a key and its certificate; both are durable when this returns.

        Raises:
            Refused: one of that moment is there.
        """
        name = f"{PREFIX}{now:%Y%m%d%H%M%S%f}"
        key = rsa.generate_private_key(65537, BITS)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCKS)
            .not_valid_after(now + VALID_FOR)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(key, SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        make_dirs(self._directory, 0o700)
        path = self._directory / (name + _SUFFIX)
        if not write_new(path, private + certificate.public_bytes(Encoding.PEM), 0o600):
            raise Refused(f"{path} exists already", "Run the command again.")
        return self._read(path)

    def all(self) -> list[OwnCertificate]:
        """Return the certificates, oldest first."""
        if not self._directory.is_dir():
            return []
        with reading(str(self._directory)):
            names = sorted(name for name in os.listdir(self._directory) if _is_ours(name))
        return [self._read(self._directory / name) for name in names]

    def find(self, thumbprint: str) -> OwnCertificate | None:
        """Return the certificate of a thumbprint, or None."""
        wanted = normal_thumbprint(thumbprint)
        return next((each for each in self.all() if each.thumbprint == wanted), None)

    def remove(self, certificate: OwnCertificate) -> None:
        """Forget a certificate and its private key."""
        path = self._directory / (certificate.name + _SUFFIX)
        with writing(str(path)):
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> OwnCertificate:
        with reading(str(path)):
            body = path.read_bytes()
        if len(body) > FILE_CAP:
            raise TooLarge(str(path), len(body), FILE_CAP)
        try:
            certificate = x509.load_pem_x509_certificate(body)
            key = load_pem_private_key(body, None)
        except (ValueError, TypeError) as error:
            raise Corrupt(str(path), str(error)) from None
        if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
            raise Corrupt(str(path), "private key and certificate do not belong together")
        der = certificate.public_bytes(Encoding.DER)
        ends = certificate.not_valid_after_utc
        return OwnCertificate(path.name.removesuffix(_SUFFIX), der, certificate.not_valid_before_utc, ends, body)


def thumbprint_of(der: bytes) -> str:
    """Return the SHA-1 of a certificate in upper-case hex."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def normal_thumbprint(text: str) -> str:
    """Return a thumbprint as it is compared: what Windows shows has spaces and sometimes a hidden mark before it.

    Raises:
        Refused: it is no SHA-1.
    """
    kept = "".join(char for char in text if char.isascii() and char.isalnum()).upper()
    if len(kept) != 40 or set(kept) - set("0123456789ABCDEF"):
        raise Refused(f"{text!r} is not a thumbprint", "A thumbprint has 40 hexadecimal digits.")
    return kept


def read_public(body: bytes) -> bytes:
    """Return the DER of a certificate file (`.cer` in DER, or PEM) that holds no private key (seed, S102).

    Raises:
        TooLarge: it is over the cap.
        Refused: it is no certificate, or a private key is with it.
    """
    if len(body) > FILE_CAP:
        raise TooLarge("the certificate file", len(body), FILE_CAP)
    if _MARK in body:
        raise Refused(
            "this file holds a private key", "Export the certificate without it; the key stays on its server."
        )
    try:
        if body.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(body).public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(body).public_bytes(Encoding.DER)
    except ValueError as error:
        raise Refused(f"this file is no certificate: {error}", "Give a .cer file in DER or PEM.") from None


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith(_SUFFIX)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
