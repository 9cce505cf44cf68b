"""The vault's signing key: a file beside the objects, readable by its owner alone, made on the first use."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt, DataError, Malformed, Missing, Refused
from wain.keys.secret import SECRET_BYTES, Secret
from wain.keys.signing import PUBLIC_KEY_BYTES, public_key
from wain.storage.durable import reading
from wain.storage.new_file import write_new
from wain.vault.records import Signer

KEY_FILE: Final = "key"
KEY_MAGIC: Final = b"WAINVKEY"
KEY_VERSION: Final = 1
_HASH_BYTES: Final = 32
KEY_BYTES: Final = 8 + 2 + SECRET_BYTES + PUBLIC_KEY_BYTES + _HASH_BYTES
_WHAT: Final = "the vault's key file"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(eq=False)
class KeyDamaged(Corrupt):
    """The vault's signing key is not what was written. Nothing is signed with it; reading needs no key."""

    @property
    def hint(self) -> str:  # type: ignore[override]
        """Name the cure."""
        return (
            f"Put back a copy of the file, or move it away (mv {self.what} {self.what}.damaged): the vault then makes "
            f"a new key, and what the old one signed stays good. Restoring works without it."
        )

    def __str__(self) -> str:
        return f"the vault's signing key {self.what} is damaged: {self.where}. The vault signs nothing with it"


class BrokenSigner(Signer):
    """Stands for a damaged key: a vault can still be read, but whatever needs the key says why it is not there."""

    def __init__(self, error: KeyDamaged) -> None:
        self.error = error

    @property
    def public(self) -> bytes:
        """Raises KeyDamaged."""
        raise self.error

    def sign(self, domain: bytes, body: bytes) -> bytes:
        """Raises KeyDamaged."""
        raise self.error

    def check(self) -> None:
        """Raises KeyDamaged."""
        raise self.error

    def __repr__(self) -> str:
        return f"BrokenSigner({self.error})"


def encode_key(seed: Secret) -> bytes:
    """Return the key file of a signing seed (FORMAT.md, "The key file")."""
    out = Encoder(KEY_MAGIC, KEY_VERSION).fixed(seed.raw, SECRET_BYTES).fixed(public_key(seed), PUBLIC_KEY_BYTES)
    body = out.finish()
    return body + blake3(body).digest()


def decode_key(body: bytes) -> Secret:
    """Return the signing seed that a key file holds.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed: not a key file, or its public key is another seed's.
        Corrupt: its hash does not fit.
    """
    read = Decoder(_WHAT, body, KEY_MAGIC, KEY_VERSION)
    seed, public = Secret(read.take(SECRET_BYTES)), read.take(PUBLIC_KEY_BYTES)
    digest = read.take(_HASH_BYTES)
    read.finish()
    if digest != blake3(body[:-_HASH_BYTES]).digest():
        raise Corrupt(_WHAT, "its hash does not fit its bytes")
    if public != public_key(seed):
        raise Malformed(_WHAT, "the public key is not the seed's")
    return seed


def load_signer(root: Path) -> Signer:
    """Return the vault's key, made if there is none; a `BrokenSigner` when the file is damaged.

    What an older key signed stays good: every record names the key that signed it.

    Raises:
        Refused: other users may read the file.
    """
    path = root / KEY_FILE
    try:
        body, mode = _read(path)
    except Missing:
        write_new(path, encode_key(Secret(os.urandom(SECRET_BYTES))))
        body, mode = _read(path)
    if mode & _OTHERS:
        raise Refused(f"the vault's key {path} can be read by other users", f"Run: chmod 600 {path}")
    try:
        return Signer(decode_key(body))
    except DataError as error:
        return BrokenSigner(KeyDamaged(str(path), error.where if isinstance(error, Corrupt) else str(error)))


def check_key(root: Path) -> None:
    """Read the key file from the medium and judge every bit of it.

    Raises:
        DataError: it is damaged or missing.
    """
    decode_key(_read(root / KEY_FILE)[0])


def _read(path: Path) -> tuple[bytes, int]:
    with reading(str(path)):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.read(fd, KEY_BYTES + 1), os.fstat(fd).st_mode
        finally:
            os.close(fd)
