"""A TLS certificate for a service: the operator's, or one made here, whose fingerprint people compare."""

import ipaddress
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wain.base.errors import Missing, Refused
from wain.storage.durable import make_dirs, reading, write_atomic

CERTIFICATE: Final = "tls.pem"
KEY: Final = "tls.key"
_VALID: Final = timedelta(days=825)
_SLACK: Final = timedelta(days=1)
_FILE_CAP: Final = 1 << 20
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a certificate (PEM, the server's own first) and of its private key."""

    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """Return the SHA-256 of the certificate, as browsers and openssl show it."""
        return _load(self.certificate).fingerprint(hashes.SHA256()).hex(":").upper()

    def check(self, at: datetime) -> None:
        """Check that the two belong together, that the certificate is valid, and that only its owner reads the key.

        Raises:
            Refused: one of these is not so.
        """
        certificate = _load(self.certificate)
        try:
            key = load_pem_private_key(_read(self.key), None)
        except (ValueError, TypeError):
            raise Refused(f"{self.key} holds no private key without a password", "Give a PEM file.") from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
            raise Refused(f"{self.key} is not the key of {self.certificate}", "Name files that belong together.")
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            hint = "Give a valid one; one that Wain made is made anew when its two files are removed."
            raise Refused(f"the certificate {self.certificate} is not valid now", hint)
        if os.stat(self.key).st_mode & _OTHERS:
            raise Refused(f"others can read the private key {self.key}", f"Run `chmod 600 {self.key}`.")


def own_certificate(directory: Path, host: str, at: datetime) -> TlsFiles:
    """Return the certificate in a directory; when there is none, make one for `host` and this machine.

    The key is written first, with mode 0600: a certificate that is there has its key.

    Raises:
        WriteFailed: it cannot be written.
    """
    files = TlsFiles(directory / CERTIFICATE, directory / KEY)
    if not files.certificate.exists():
        make_dirs(directory)
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomic(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        write_atomic(files.certificate, _certificate(key, host, at).public_bytes(Encoding.PEM), 0o644)
    return files


def _certificate(key: ec.EllipticCurvePrivateKey, host: str, at: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _SLACK)
        .not_valid_after(at + _VALID)
        .add_extension(x509.SubjectAlternativeName(_places(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage() -> x509.KeyUsage:
    """Clients trust the certificate itself, as their authority, so it must be allowed to sign (RFC 5280, 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _places(host: str) -> list[x509.GeneralName]:
    places: dict[str, x509.GeneralName] = {}
    for each in (host, "localhost", "127.0.0.1", "::1"):
        try:
            places[each] = x509.IPAddress(ipaddress.ip_address(each))
        except ValueError:
            places[each] = x509.DNSName(each)
    return list(places.values())


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise Refused(f"{path} holds no certificate", "Give a PEM file.") from None


def _read(path: Path) -> bytes:
    try:
        with reading(str(path)), open(path, "rb") as file:
            return file.read(_FILE_CAP)
    except Missing:
        raise Refused(f"there is no file {path}", "Name a PEM file that exists.") from None
