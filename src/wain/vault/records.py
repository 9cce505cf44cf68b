"""The small records a vault writes itself, each signed with the vault's key (FORMAT.md, "Records").

A record proves which vault wrote it and that it is whole; a host that holds the vault's key can still lie. What the
agent made (manifests, key slots, seals) is kept byte for byte: the first two inside a record, a seal as it is, because
it is signed as a whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Refused
from wain.base.ids import HASH_BYTES, UUID_BYTES, PackId, PointId, RegistrationId, SeedId
from wain.base.moment import from_ns, to_ns
from wain.keys import signing
from wain.keys.secret import RESTORE_PUBLIC_BYTES, Secret
from wain.policy.retention import Retention
from wain.tree.manifest import MAX_MANIFEST_BYTES, MAX_PACKS
from wain.tree.receipt import RECEIPT_BYTES
from wain.wire.vault import Deficit, Receipt

VERSION: Final = 1
RECORD_DOMAIN: Final = b"wain vault record v1"
MAX_NAME_BYTES: Final = 1024
MAX_WHERE_BYTES: Final = 4096
MAX_SLOTS_BYTES: Final = 4096


_TRAILER_BYTES: Final = signing.PUBLIC_KEY_BYTES + signing.SIGNATURE_BYTES


class LossReason(IntEnum):
    """Why a vault gave up packs."""

    COLLECTED = 1
    DAMAGED = 2


@dataclass(frozen=True, slots=True)
class Registered:
    """One protected server, as enrolled."""

    registration: RegistrationId
    name: str
    sign_key: bytes
    restore_key: bytes
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class KeptSlots:
    """Key slots as the agent made them (keys/FORMAT.md): any flipped bit shows without a passphrase."""

    slots: bytes


@dataclass(frozen=True, slots=True)
class RetentionSet:
    """A retention rule and since when it holds."""

    registration: RegistrationId
    set_at: datetime
    retention: Retention


@dataclass(frozen=True, slots=True)
class KeptPoint:
    """A recovery point: the agent's manifest, and when the vault received it."""

    received_at: datetime
    manifest: bytes


@dataclass(frozen=True, slots=True)
class Expired:
    """The tombstone of a recovery point that retention let go."""

    registration: RegistrationId
    seq: int
    point: PointId
    received_at: datetime
    expired_at: datetime


@dataclass(frozen=True, slots=True)
class Released:
    """The word that a seed will not arrive."""

    registration: RegistrationId
    seed: SeedId
    released_at: datetime


@dataclass(frozen=True, slots=True)
class Deficits:
    """What one import of a seed did not find whole, strictly by pack id."""

    registration: RegistrationId
    seed: SeedId
    found_at: datetime
    deficits: tuple[Deficit, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """Packs the vault gave up, strictly by id. Written before the first of them goes."""

    registration: RegistrationId
    lost_at: datetime
    reason: LossReason
    packs: tuple[PackId, ...]


@dataclass(frozen=True, slots=True)
class Countersigned:
    """The agent's signature under a receipt body, and when it came."""

    body: bytes
    signature: bytes
    signed_at: datetime


Record: TypeAlias = (
    Registered | KeptSlots | RetentionSet | KeptPoint | Expired | Released | Deficits | Loss | Receipt | Countersigned
)
R = TypeVar("R", bound=Record)


class Signer:
    """The vault's signing key. Shows nothing of its secret."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._public = signing.public_key(secret)

    @property
    def public(self) -> bytes:
        """The raw Ed25519 public key."""
        return self._public

    def sign(self, domain: bytes, body: bytes) -> bytes:
        """Return the vault's signature over `body` in `domain`."""
        return signing.sign(self._secret, domain, body)

    def check(self) -> None:
        """Do nothing: this key is whole. One that is not raises here, before a verb does half of its work."""

    def __repr__(self) -> str:
        return f"Signer({self.public.hex()})"


class _Layout(NamedTuple):
    magic: bytes
    what: str
    write: Callable[[Encoder, Any], None]
    read: Callable[[Decoder], Record]


def encode(record: Record, signer: Signer) -> bytes:
    """Return a record's bytes, signed."""
    layout = _LAYOUTS[type(record)]
    body = Encoder(layout.magic, VERSION)
    layout.write(body, record)
    signed = body.fixed(signer.public, signing.PUBLIC_KEY_BYTES).finish()
    return signed + signer.sign(RECORD_DOMAIN, signed)


def decode(kind: type[R], body: bytes) -> R:
    """Return the record of type `kind` that these bytes hold, its signature checked by the key it names.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not such a record.
        Corrupt: the signature does not verify.
    """
    record, read = _fields(kind, body)
    key, signature = read.take(signing.PUBLIC_KEY_BYTES), read.take(signing.SIGNATURE_BYTES)
    read.finish()
    signing.verify(key, RECORD_DOMAIN, body[: -signing.SIGNATURE_BYTES], signature)
    return record


def decode_unchecked(kind: type[R], body: bytes) -> R:
    """Return a record's fields whatever its signature says: only for content that proves itself to its reader.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: the fields cannot be read.
    """
    return _fields(kind, body)[0]


def _fields(kind: type[R], body: bytes) -> tuple[R, Decoder]:
    layout = _LAYOUTS[kind]
    read = Decoder(layout.what, body, layout.magic, VERSION)
    record = layout.read(read)
    assert isinstance(record, kind)
    return record, read


def _moment(read: Decoder) -> datetime:
    count_ns = read.int64()
    # A datetime holds microseconds: finer digits could not have come from our encoder.
    if count_ns % 1000:
        raise read.refuse("a moment has digits below a microsecond")
    return from_ns(count_ns)


def _write_registered(out: Encoder, record: Registered) -> None:
    out.fixed(record.registration, UUID_BYTES).text(record.name).fixed(record.sign_key, signing.PUBLIC_KEY_BYTES)
    out.fixed(record.restore_key, RESTORE_PUBLIC_BYTES).int64(to_ns(record.registered_at))


def _read_registered(read: Decoder) -> Registered:
    return Registered(
        RegistrationId(read.take(UUID_BYTES)),
        read.text(MAX_NAME_BYTES, field="the name"),
        read.take(signing.PUBLIC_KEY_BYTES),
        read.take(RESTORE_PUBLIC_BYTES),
        _moment(read),
    )


def _write_slots(out: Encoder, record: KeptSlots) -> None:
    out.blob(record.slots)


def _read_slots(read: Decoder) -> KeptSlots:
    return KeptSlots(read.blob(MAX_SLOTS_BYTES, field="the length of the slots"))


def _write_retention(out: Encoder, record: RetentionSet) -> None:
    rule = record.retention
    out.fixed(record.registration, UUID_BYTES).int64(to_ns(record.set_at))
    out.uint(rule.daily, 2).uint(rule.weekly, 2).uint(rule.monthly, 2).uint(rule.yearly, 2)


def _read_retention(read: Decoder) -> RetentionSet:
    registration, set_at = RegistrationId(read.take(UUID_BYTES)), _moment(read)
    numbers = [read.uint(2) for _ in range(4)]
    try:
        return RetentionSet(registration, set_at, Retention(*numbers))
    except Refused as wrong:
        raise read.refuse(wrong.reason) from None


def _write_kept(out: Encoder, record: KeptPoint) -> None:
    out.int64(to_ns(record.received_at)).blob(record.manifest)


def _read_kept(read: Decoder) -> KeptPoint:
    return KeptPoint(_moment(read), read.blob(MAX_MANIFEST_BYTES, field="the manifest length"))


def _write_expired(out: Encoder, record: Expired) -> None:
    out.fixed(record.registration, UUID_BYTES).uint(record.seq, 4).fixed(record.point, HASH_BYTES)
    out.int64(to_ns(record.received_at)).int64(to_ns(record.expired_at))


def _read_expired(read: Decoder) -> Expired:
    registration, seq = RegistrationId(read.take(UUID_BYTES)), read.uint(4)
    if not seq:
        raise read.refuse("sequence number 0")
    return Expired(registration, seq, PointId(read.take(HASH_BYTES)), _moment(read), _moment(read))


def _write_released(out: Encoder, record: Released) -> None:
    out.fixed(record.registration, UUID_BYTES).fixed(record.seed, UUID_BYTES).int64(to_ns(record.released_at))


def _read_released(read: Decoder) -> Released:
    return Released(RegistrationId(read.take(UUID_BYTES)), SeedId(read.take(UUID_BYTES)), _moment(read))


def _write_deficits(out: Encoder, record: Deficits) -> None:
    out.fixed(record.registration, UUID_BYTES).fixed(record.seed, UUID_BYTES).int64(to_ns(record.found_at))
    out.uint(len(record.deficits), 4)
    for one in record.deficits:
        out.fixed(one.pack, HASH_BYTES).text(one.where)


def _read_deficits(read: Decoder) -> Deficits:
    registration, seed = RegistrationId(read.take(UUID_BYTES)), SeedId(read.take(UUID_BYTES))
    found_at = _moment(read)
    count = read.count(HASH_BYTES + 2, MAX_PACKS + 1, "the deficit count")
    found = tuple(
        Deficit(PackId(read.take(HASH_BYTES)), read.text(MAX_WHERE_BYTES, field="where")) for _ in range(count)
    )
    _check_order(read, [one.pack for one in found])
    return Deficits(registration, seed, found_at, found)


def _write_loss(out: Encoder, record: Loss) -> None:
    out.fixed(record.registration, UUID_BYTES).int64(to_ns(record.lost_at)).uint(record.reason, 1)
    out.uint(len(record.packs), 4)
    for pack in record.packs:
        out.fixed(pack, HASH_BYTES)


def _read_loss(read: Decoder) -> Loss:
    registration, lost_at, reason = RegistrationId(read.take(UUID_BYTES)), _moment(read), read.uint(1)
    if reason not in (LossReason.COLLECTED, LossReason.DAMAGED):
        raise read.refuse(f"reason {reason} is unknown")
    count = read.count(HASH_BYTES, MAX_PACKS, "the pack count")
    packs = tuple(PackId(read.take(HASH_BYTES)) for _ in range(count))
    _check_order(read, packs)
    return Loss(registration, lost_at, LossReason(reason), packs)


def _write_receipt(out: Encoder, record: Receipt) -> None:
    out.fixed(record.body, RECEIPT_BYTES).fixed(record.signature, signing.SIGNATURE_BYTES)
    out.fixed(record.vault_key, signing.PUBLIC_KEY_BYTES)


def _read_receipt(read: Decoder) -> Receipt:
    return Receipt(read.take(RECEIPT_BYTES), read.take(signing.SIGNATURE_BYTES), read.take(signing.PUBLIC_KEY_BYTES))


def _write_countersigned(out: Encoder, record: Countersigned) -> None:
    out.fixed(record.body, RECEIPT_BYTES).fixed(record.signature, signing.SIGNATURE_BYTES)
    out.int64(to_ns(record.signed_at))


def _read_countersigned(read: Decoder) -> Countersigned:
    return Countersigned(read.take(RECEIPT_BYTES), read.take(signing.SIGNATURE_BYTES), _moment(read))


def _check_order(read: Decoder, packs: list[PackId] | tuple[PackId, ...]) -> None:
    if not packs:
        raise read.refuse("it names no pack")
    if any(one >= other for one, other in pairwise(packs)):
        raise read.refuse("packs are not strictly in order of their ids")


_LAYOUTS: Final[Mapping[type, _Layout]] = {
    Registered: _Layout(b"WAINREGI", "registration record", _write_registered, _read_registered),
    KeptSlots: _Layout(b"WAINSLOT", "kept key slots", _write_slots, _read_slots),
    RetentionSet: _Layout(b"WAINRETE", "retention record", _write_retention, _read_retention),
    KeptPoint: _Layout(b"WAINKEPT", "kept point", _write_kept, _read_kept),
    Expired: _Layout(b"WAINEXPI", "tombstone", _write_expired, _read_expired),
    Released: _Layout(b"WAINRELE", "release record", _write_released, _read_released),
    Deficits: _Layout(b"WAINDEFI", "deficit record", _write_deficits, _read_deficits),
    Loss: _Layout(b"WAINLOSS", "loss record", _write_loss, _read_loss),
    Receipt: _Layout(b"WAINRCVD", "kept receipt", _write_receipt, _read_receipt),
    Countersigned: _Layout(b"WAINCSIG", "countersignature", _write_countersigned, _read_countersigned),
}
KINDS: Final[Mapping[bytes, type]] = {layout.magic: kind for kind, layout in _LAYOUTS.items()}
"""Which record a magic begins (`wain inspect` and the vectors' runner)."""
