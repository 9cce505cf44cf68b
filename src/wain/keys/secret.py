"""The registration's secret, and everything that is derived from it.

One 32-byte secret per registration. The *write keys* are what a server keeps: enough to name chunks, to cut files and
to seal packs, and not enough to read one back. The *restore key* exists only while somebody who knows the passphrase
or holds the recovery key restores.
"""

from dataclasses import dataclass
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from wain.base.constant_time import same_bytes
from wain.base.errors import Malformed

SECRET_BYTES: Final = 32
CHUNK_TYPES: Final = ("data", "tree", "index")
"""The kinds of chunk, in the order of `WriteKeys.chunk_keys` (and of `chunk.names.ChunkType`, which starts at 1)."""
MLKEM_PUBLIC_BYTES: Final = 1184
X25519_PUBLIC_BYTES: Final = 32
RESTORE_PUBLIC_BYTES: Final = MLKEM_PUBLIC_BYTES + X25519_PUBLIC_BYTES
CUTTER_SEED_CAP: Final = 2**63 - 1
"""The largest seed `pyfastcdc` takes: its C type is signed."""


class Secret:
    """32 bytes that must not be shown: no text form, no hash, compared in constant time.

    Raises:
        Malformed: not 32 bytes.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SECRET_BYTES:
            raise Malformed("a secret", f"it has {len(raw)} bytes, not {SECRET_BYTES}")
        self._raw = bytes(raw)

    @property
    def raw(self) -> bytes:
        """The bytes. Ask for them only where they are used at once."""
        return self._raw

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and same_bytes(self._raw, other._raw)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: secrets leave this class by `raw` alone."""
        raise TypeError("a Secret cannot be pickled")


@dataclass(frozen=True, slots=True, repr=False)
class WriteKeys:
    """What a write-only server keeps. Its holder can confirm a guess of a chunk's content, and read nothing."""

    chunk_keys: tuple[bytes, bytes, bytes]
    """Keyed-BLAKE3 keys, 32 bytes each, for the chunk types of `CHUNK_TYPES`."""
    cutter_seed: int
    """1 to 2**63 - 1: where files are cut."""
    restore_public: bytes
    """HPKE public key, 1,216 bytes: ML-KEM-768 (1,184), then X25519 (32)."""

    def __repr__(self) -> str:
        return "WriteKeys(...)"


class RestoreKey:
    """The private half: opens what was sealed to `public`. Lives in memory only."""

    __slots__ = ("_hpke", "_public")

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._hpke = MLKEM768X25519PrivateKey(mlkem, x25519)
        self._public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @property
    def public(self) -> bytes:
        """The public half, as `WriteKeys.restore_public` has it."""
        return self._public

    @property
    def hpke(self) -> MLKEM768X25519PrivateKey:
        """The key as the HPKE library takes it. For `keys.sealing` alone."""
        return self._hpke

    def __repr__(self) -> str:
        return "RestoreKey(...)"


def expand(key: bytes, label: str, size: int) -> bytes:
    """Return `size` bytes of HKDF-SHA256-Expand (RFC 5869) of a uniformly random key, for one labelled use."""
    return HKDFExpand(SHA256(), size, b"wain v1 " + label.encode()).derive(key)


def write_keys(secret: Secret) -> WriteKeys:
    """Return what the server keeps of a registration's secret (keys/FORMAT.md, derivation)."""
    data, tree, index = (expand(secret.raw, f"chunk name {kind}", 32) for kind in CHUNK_TYPES)
    draw = int.from_bytes(expand(secret.raw, "cutter seed", 16), "little")
    return WriteKeys((data, tree, index), 1 + draw % CUTTER_SEED_CAP, restore_key(secret).public)


def restore_key(secret: Secret) -> RestoreKey:
    """Return the private restore key of a registration's secret (keys/FORMAT.md, derivation)."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expand(secret.raw, "restore ml-kem-768", 64))
    x25519 = X25519PrivateKey.from_private_bytes(expand(secret.raw, "restore x25519", 32))
    return RestoreKey(mlkem, x25519)
