"""Key slots: the registration's secret, wrapped once for the passphrase and once for the recovery key.

They are kept by the vault, never on a device. AES-GCM does not commit to its key: one wrapped secret can be forged to
open under two passphrases, and each try of a forged slot would then rule out many. So each slot carries a commitment to
its wrapping key, compared in constant time before anything is unwrapped (reliability.md A7).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wain.base.codec import Decoder, Encoder
from wain.base.constant_time import same_bytes
from wain.base.errors import CommitmentMismatch, Corrupt, Refused, UserError
from wain.base.ids import UUID_BYTES, RegistrationId
from wain.keys.phrases import check_passphrase
from wain.keys.secret import RESTORE_PUBLIC_BYTES, SECRET_BYTES, Secret, restore_key

MAGIC: Final = b"WAINKEYS"
VERSION: Final = 1
SALT_BYTES: Final = 16
COMMITMENT_BYTES: Final = 32
WRAPPED_BYTES: Final = SECRET_BYTES + 16
SLOTS_CAP: Final = 8
MEMORY_KIB: Final = range(64 * 1024, 1024 * 1024 + 1)
"""Accepted Argon2 memory, 64 MiB to 1 GiB: less is a downgrade, more is a denial of service (reliability.md 3.2)."""
PASSES: Final = range(1, 17)
LANES: Final = range(1, 9)

_WHAT: Final = "the key slots"
_ZERO_NONCE: Final = bytes(12)


class SlotKind(IntEnum):
    """What opens a slot. The values are on disk (keys/FORMAT.md)."""

    PASSPHRASE = 1
    RECOVERY = 2


class WrongPassphrase(UserError):
    """No slot opens with this passphrase."""

    hint = "Check the keyboard layout and Caps Lock, or use the recovery key."

    def __str__(self) -> str:
        return "the passphrase is wrong"


class WrongRecoveryKey(UserError):
    """No slot opens with this recovery key."""

    hint = "Take the recovery key that was printed when this server was registered."

    def __str__(self) -> str:
        return "the recovery key belongs to another registration"


@dataclass(frozen=True, slots=True)
class Argon2:
    """The cost of one guess: memory in KiB, passes over it, lanes."""

    memory_kib: int
    passes: int
    lanes: int


DEFAULT: Final = Argon2(64 * 1024, 10, 4)
"""The memory of RFC 9106's second recommended option, with three times its passes (decision 0012)."""
CHEAPEST: Final = Argon2(MEMORY_KIB[0], PASSES[0], LANES[0])
"""The least that is accepted: for tests, and for machines with very little memory."""
NO_COST: Final = Argon2(0, 0, 0)
"""A recovery slot's: the recovery key is random and needs no stretching."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One wrapped copy of the secret."""

    kind: SlotKind
    argon2: Argon2
    """`NO_COST` in a recovery slot."""
    salt: bytes
    """16 random bytes, new for every slot: the wrapping key is unique to it."""
    commitment: bytes
    """32 bytes that only the right wrapping key yields."""
    wrapped: bytes
    """48 bytes: the secret and its AES-256-GCM tag."""


@dataclass(frozen=True, slots=True)
class KeySlots:
    """All slots of a registration. `epoch` counts changes of the secret, from 1; there are 1 to 8 slots."""

    registration: RegistrationId
    epoch: int
    restore_public: bytes
    """The public half of the restore key that the secret yields: what opened is checked against it."""
    slots: tuple[Slot, ...]


def encode_slots(slots: KeySlots) -> bytes:
    """Return the bytes of keys/FORMAT.md.

    Raises:
        Malformed: the slots break a rule that `decode_slots` enforces.
    """
    out = Encoder(MAGIC, VERSION).fixed(slots.registration, UUID_BYTES).uint(slots.epoch, 4)
    out.fixed(slots.restore_public, RESTORE_PUBLIC_BYTES).uint(len(slots.slots), 1)
    for slot in slots.slots:
        out.uint(slot.kind, 1).uint(slot.argon2.memory_kib, 4).uint(slot.argon2.passes, 1).uint(slot.argon2.lanes, 1)
        out.fixed(slot.salt, SALT_BYTES).fixed(slot.commitment, COMMITMENT_BYTES).fixed(slot.wrapped, WRAPPED_BYTES)
    body = out.finish()
    decode_slots(body)
    return body


def decode_slots(body: bytes) -> KeySlots:
    """Return the key slots that `encode_slots` wrote.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: as keys/FORMAT.md lists.
    """
    source = Decoder(_WHAT, body, MAGIC, VERSION)
    registration = RegistrationId(source.take(UUID_BYTES))
    epoch = source.uint(4)
    if epoch == 0:
        raise source.refuse("its epoch is 0; epochs start at 1")
    restore_public = source.take(RESTORE_PUBLIC_BYTES)
    count = source.uint(1, SLOTS_CAP, "the slot count")
    if count == 0:
        raise source.refuse("there is no slot")
    slots = tuple(_decode_slot(source) for _ in range(count))
    if len({slot.salt for slot in slots}) != count:
        raise source.refuse("two slots share a salt")
    source.finish()
    return KeySlots(registration, epoch, restore_public, slots)


def _decode_slot(source: Decoder) -> Slot:
    kind = source.uint(1)
    if kind not in {SlotKind.PASSPHRASE, SlotKind.RECOVERY}:
        raise source.refuse(f"{kind} is not a kind of slot")
    cost = Argon2(source.uint(4), source.uint(1), source.uint(1))
    wrong = (
        _cost_error(cost) if kind == SlotKind.PASSPHRASE else ("" if cost == NO_COST else "a recovery slot has none")
    )
    if wrong:
        raise source.refuse(f"its Argon2 cost is not accepted: {wrong}")
    return Slot(
        SlotKind(kind), cost, source.take(SALT_BYTES), source.take(COMMITMENT_BYTES), source.take(WRAPPED_BYTES)
    )


def _cost_error(cost: Argon2) -> str:
    """Return what is wrong with a passphrase slot's cost, or nothing."""
    rows = (
        ("memory in KiB", cost.memory_kib, MEMORY_KIB),
        ("passes", cost.passes, PASSES),
        ("lanes", cost.lanes, LANES),
    )
    return "; ".join(
        f"{name} is {value}, outside {accepted[0]} to {accepted[-1]}"
        for name, value, accepted in rows
        if value not in accepted
    )


def passphrase_slot(
    secret: Secret, passphrase: str, salt: bytes, registration: RegistrationId, cost: Argon2 = DEFAULT
) -> Slot:
    """Return `secret` wrapped for a passphrase. `salt` is 16 fresh random bytes.

    Raises:
        Refused: the passphrase breaks `check_passphrase`, or the cost is outside the accepted range.
    """
    check_passphrase(passphrase)
    wrong = _cost_error(cost)
    if wrong:
        raise Refused(f"this Argon2 cost is not accepted: {wrong}")
    return _wrap(secret, Slot(SlotKind.PASSPHRASE, cost, salt, b"", b""), passphrase.encode(), registration)


def recovery_slot(secret: Secret, recovery: Secret, salt: bytes, registration: RegistrationId) -> Slot:
    """Return `secret` wrapped for a recovery key. `salt` is 16 fresh random bytes."""
    return _wrap(secret, Slot(SlotKind.RECOVERY, NO_COST, salt, b"", b""), recovery.raw, registration)


def open_with_passphrase(slots: KeySlots, passphrase: str) -> Secret:
    """Return the secret. Takes about a second a slot (Argon2).

    Raises:
        WrongPassphrase: no passphrase slot opens with it.
        CommitmentMismatch: the slot's wrapped secret was tampered with.
        Corrupt: the secret does not yield `slots.restore_public`.
    """
    opened = _open(slots, SlotKind.PASSPHRASE, passphrase.encode("utf-8", "surrogatepass"))
    if opened is None:
        raise WrongPassphrase
    return opened


def open_with_recovery(slots: KeySlots, recovery: Secret) -> Secret:
    """Return the secret.

    Raises:
        WrongRecoveryKey: no recovery slot opens with it.
        CommitmentMismatch: the slot's wrapped secret was tampered with.
        Corrupt: the secret does not yield `slots.restore_public`.
    """
    opened = _open(slots, SlotKind.RECOVERY, recovery.raw)
    if opened is None:
        raise WrongRecoveryKey
    return opened


def _open(slots: KeySlots, kind: SlotKind, key: bytes) -> Secret | None:
    """Return the secret, or None when no slot of the kind commits to `key`."""
    for slot in slots.slots:
        if slot.kind is not kind:
            continue
        kek, commitment = _wrapping_key(slot, key)
        if not same_bytes(commitment, slot.commitment):
            continue
        try:
            raw = AESGCM(kek).decrypt(_ZERO_NONCE, slot.wrapped, _bound_to(slots.registration, kind))
        except InvalidTag:
            raise CommitmentMismatch(f"the {kind.name.lower()} slot's wrapped secret") from None
        secret = Secret(raw)
        if not same_bytes(restore_key(secret).public, slots.restore_public):
            raise Corrupt(_WHAT, "the secret within does not yield the restore public key beside it")
        return secret
    return None


def _wrap(secret: Secret, slot: Slot, key: bytes, registration: RegistrationId) -> Slot:
    assert len(slot.salt) == SALT_BYTES
    kek, commitment = _wrapping_key(slot, key)
    # The nonce may be zero: this KEK comes from a fresh salt and encrypts this one secret.
    wrapped = AESGCM(kek).encrypt(_ZERO_NONCE, secret.raw, _bound_to(registration, slot.kind))
    return Slot(slot.kind, slot.argon2, slot.salt, commitment, wrapped)


def _wrapping_key(slot: Slot, key: bytes) -> tuple[bytes, bytes]:
    """Return the key-encryption key and the commitment that `key` yields for a slot."""
    stretched = key
    if slot.kind is SlotKind.PASSPHRASE:
        cost = slot.argon2
        stretched = Argon2id(
            salt=slot.salt, length=32, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib
        ).derive(key)
    label = b"wain v1 " + slot.kind.name.lower().encode() + b" slot "
    kek, commitment = (HKDF(SHA256(), 32, slot.salt, label + use).derive(stretched) for use in (b"kek", b"commit"))
    return kek, commitment


def _bound_to(registration: RegistrationId, kind: SlotKind) -> bytes:
    """Return the additional data: a slot moved to another registration or kind does not open."""
    return MAGIC + VERSION.to_bytes(2, "little") + registration + bytes([kind])
