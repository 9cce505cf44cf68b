"""The key file of a write-only server: enough to name, cut, seal and sign; not enough to read (agent/FORMAT.md)."""

from dataclasses import dataclass
from typing import Final

from wain.base.codec import Decoder, Encoder
from wain.base.ids import UUID_BYTES, RegistrationId
from wain.keys.secret import CUTTER_SEED_CAP, RESTORE_PUBLIC_BYTES, SECRET_BYTES, Secret, WriteKeys

MAGIC: Final = b"WAINAGNT"
VERSION: Final = 1
FIXED_BYTES: Final = 1378


@dataclass(frozen=True, slots=True)
class AgentKeys:
    """What stays on the server. `sign_seed` is the agent's own Ed25519 seed, derived from nothing."""

    registration: RegistrationId
    write: WriteKeys
    sign_seed: Secret


def encode_keys(keys: AgentKeys) -> bytes:
    """Return the key file's bytes."""
    out = Encoder(MAGIC, VERSION).fixed(keys.registration, UUID_BYTES)
    for key in keys.write.chunk_keys:
        out.fixed(key, SECRET_BYTES)
    out.uint(keys.write.cutter_seed, 8).fixed(keys.write.restore_public, RESTORE_PUBLIC_BYTES)
    return out.fixed(keys.sign_seed.raw, SECRET_BYTES).finish()


def decode_keys(body: bytes) -> AgentKeys:
    """Return what `encode_keys` wrote.

    Raises:
        DataError: it is no key file of ours, or not whole.
    """
    read = Decoder("agent key file", body, MAGIC, VERSION)
    registration = RegistrationId(read.take(UUID_BYTES))
    data, tree, index = (read.take(SECRET_BYTES) for _ in range(3))
    seed = read.uint(8, CUTTER_SEED_CAP, "the cutter seed")
    if not seed:
        raise read.refuse("the cutter seed is zero")
    public, sign_seed = read.take(RESTORE_PUBLIC_BYTES), Secret(read.take(SECRET_BYTES))
    read.finish()
    return AgentKeys(registration, WriteKeys((data, tree, index), seed, public), sign_seed)
