"""The chain of custody: every step of a device's journey, signed by the party that took it, each naming the one before.

A record cannot be changed, moved, or taken out of the middle without breaking a hash or a signature. Records taken off
the *end* leave no trace in the chain itself: whoever must notice keeps the hash of the last record it saw, as the seal
on the device does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt, Malformed
from wain.base.ids import HASH_BYTES, UUID_BYTES, DeviceId
from wain.base.moment import from_ns, to_ns
from wain.keys.secret import Secret
from wain.keys.signing import CUSTODY, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, public_key, sign, verify
from wain.order.rules import is_name

MAGIC: Final = b"WAINCUST"
VERSION: Final = 1
ORDER_BYTES: Final = 24
PARTY_BYTES: Final = 64
RECORD_BYTES: Final = 288
SEQ_CAP: Final = 2**32 - 1
NO_RECORD: Final = bytes(HASH_BYTES)
"""`previous_hash` of the first record."""

_WHAT: Final = "a custody record"


class Event(IntEnum):
    """What happened to the device. The values are on disk (order/FORMAT.md)."""

    PREPARED = 1
    HANDED_OVER = 2
    WRITTEN = 3
    READ_BACK = 4
    SEALED = 5
    PICKED_UP = 6
    RECEIVED = 7
    COPIED = 8
    IMPORTED = 9
    CONFIRMED = 10
    ERASED = 11

    @property
    def words(self) -> str:
        """The event for people: `handed over`."""
        return self.name.replace("_", " ").lower()


BY_OTHERS: Final = frozenset(
    {Event.WRITTEN, Event.READ_BACK, Event.SEALED, Event.HANDED_OVER, Event.IMPORTED, Event.CONFIRMED}
)
"""What the Data Box service takes from others: the agent's steps, and the vault's."""


@dataclass(frozen=True, slots=True)
class Handling:
    """One step, before it is chained and signed."""

    event: Event
    order: str
    """The order's name (`order.rules.check_name`)."""
    device: DeviceId
    at: datetime
    """By the party's own clock: parties' clocks may differ, so moments need not grow along the chain."""
    party: str
    """Who says so: a host, a service, a person. 1 to 64 bytes of UTF-8, without control characters."""
    detail_hash: bytes = NO_RECORD
    """BLAKE3 of what the step is about (a seal, a copy log, a receipt), or zeros."""


@dataclass(frozen=True, slots=True)
class CustodyRecord:
    """One signed step of the chain. Fields as in `Handling`; `seq` counts from 1."""

    seq: int
    event: Event
    order: str
    device: DeviceId
    at: datetime
    party: str
    detail_hash: bytes
    previous_hash: bytes
    """`record_hash` of the record before, or zeros in the first."""
    public_key: bytes
    """The party's raw Ed25519 public key. Whether it is the party's is for the reader to know."""
    signature: bytes


Signing = Callable[[bytes, bytes], bytes]
"""Signs a body in a domain."""


def append(tail: CustodyRecord | None, step: Handling, signer: Secret) -> CustodyRecord:
    """Return the record that follows `tail` (None: the first), signed with the party's Ed25519 seed.

    Raises:
        Malformed: as of `append_signed`.
    """
    return append_signed(tail, step, public_key(signer), lambda domain, body: sign(signer, domain, body))


def append_signed(tail: CustodyRecord | None, step: Handling, public: bytes, signing: Signing) -> CustodyRecord:
    """Return the record that follows `tail` (None: the first), signed by whoever keeps the key of `public`.

    Raises:
        Malformed: the step breaks a rule of order/FORMAT.md, or is about another order or device than `tail`.
    """
    if tail is not None and (tail.order, tail.device) != (step.order, step.device):
        raise Malformed(_WHAT, "it is about another order or device than the record before it")
    unsigned = CustodyRecord(
        seq=tail.seq + 1 if tail else 1,
        event=step.event,
        order=step.order,
        device=step.device,
        at=step.at,
        party=step.party,
        detail_hash=step.detail_hash,
        previous_hash=record_hash(tail) if tail else NO_RECORD,
        public_key=public,
        signature=bytes(SIGNATURE_BYTES),
    )
    body = encode_record(unsigned)[:-SIGNATURE_BYTES]
    return decode_record(body + signing(CUSTODY, body))


def encode_record(record: CustodyRecord) -> bytes:
    """Return the 288 bytes of order/FORMAT.md.

    Raises:
        Malformed, TooLarge: the record breaks a rule that `decode_record` enforces.
    """
    order, party = record.order.encode("utf-8", "surrogatepass"), record.party.encode("utf-8", "surrogatepass")
    if len(order) > ORDER_BYTES or len(party) > PARTY_BYTES:
        raise Malformed(_WHAT, f"its order has more than {ORDER_BYTES} bytes or its party more than {PARTY_BYTES}")
    at = to_ns(record.at)
    if not -(2**63) <= at < 2**63:
        raise Malformed(_WHAT, "its moment is outside the years 1678 to 2261")
    out = Encoder(MAGIC, VERSION).uint(record.event, 1).uint(0, 1).uint(record.seq, 4).int64(at)
    out.fixed(order.ljust(ORDER_BYTES, b"\0"), ORDER_BYTES).fixed(record.device, UUID_BYTES)
    out.fixed(party.ljust(PARTY_BYTES, b"\0"), PARTY_BYTES)
    out.fixed(record.detail_hash, HASH_BYTES).fixed(record.previous_hash, HASH_BYTES)
    body = out.fixed(record.public_key, PUBLIC_KEY_BYTES).fixed(record.signature, SIGNATURE_BYTES).finish()
    decode_record(body)
    return body


def decode_record(body: bytes) -> CustodyRecord:
    """Return the record that `encode_record` wrote. The signature is not checked here: see `check_chain`.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed: as order/FORMAT.md lists.
    """
    source = Decoder(_WHAT, body, MAGIC, VERSION)
    event = source.uint(1)
    if event not in {*Event}:
        raise source.refuse(f"{event} is not an event")
    source.zeros(1)
    record = CustodyRecord(
        event=Event(event),
        seq=source.uint(4),
        at=_moment(source),
        order=_padded_text(source, ORDER_BYTES, "its order"),
        device=DeviceId(source.take(UUID_BYTES)),
        party=_padded_text(source, PARTY_BYTES, "its party"),
        detail_hash=source.take(HASH_BYTES),
        previous_hash=source.take(HASH_BYTES),
        public_key=source.take(PUBLIC_KEY_BYTES),
        signature=source.take(SIGNATURE_BYTES),
    )
    source.finish()
    if not is_name(record.order):
        raise source.refuse("its order is not the name of an order")
    if record.seq == 0 or (record.seq == 1) != (record.previous_hash == NO_RECORD):
        raise source.refuse("the first record has number 1 and no predecessor, every other one has both")
    return record


def record_hash(record: CustodyRecord) -> bytes:
    """Return the BLAKE3 of the encoded record, signature included: what the next record names."""
    return blake3(encode_record(record)).digest()


def check_chain(records: Sequence[CustodyRecord], trusted: frozenset[bytes] | None = None) -> None:
    """Return when the records are one unbroken chain from its start on; an empty one is.

    `trusted` are the public keys whose word counts; None takes each record's own key, which proves only that nothing
    was changed since it was signed.

    Raises:
        Corrupt: names the first record that breaks the chain, and why.
    """
    previous = NO_RECORD
    for number, record in enumerate(records, start=1):
        first = records[0]
        reasons = (
            (record.seq != number, f"it says it is number {record.seq}"),
            (record.previous_hash != previous, "it does not follow the record before it"),
            ((record.order, record.device) != (first.order, first.device), "it is about another order or device"),
            (trusted is not None and record.public_key not in trusted, "it is signed with a key nobody vouches for"),
        )
        for broken, why in reasons:
            if broken:
                raise Corrupt("the chain of custody", f"record {number} ({record.event.words}): {why}")
        body = encode_record(record)
        try:
            verify(record.public_key, CUSTODY, body[:-SIGNATURE_BYTES], record.signature)
        except Corrupt as error:
            where = f"record {number} ({record.event.words}): {error.where}"
            raise Corrupt("the chain of custody", where) from None
        previous = blake3(body).digest()


def check_parties(records: Sequence[CustodyRecord], parties: Mapping[bytes, str]) -> None:
    """Return when every record is by the party that its key stands for; `parties` are public key -> party.

    Raises:
        Corrupt: names the first record that breaks the chain (`check_chain`), or is by another party than it says.
    """
    check_chain(records, frozenset(parties))
    for number, record in enumerate(records, start=1):
        if record.party != parties[record.public_key]:
            where = f"record {number} ({record.event.words}): it says it is by {record.party}"
            raise Corrupt("the chain of custody", f"{where}, and its key is that of {parties[record.public_key]}")


def _moment(source: Decoder) -> datetime:
    count = source.int64()
    if count % 1000:
        raise source.refuse("its moment is not in whole microseconds")
    return from_ns(count)


def _padded_text(source: Decoder, size: int, field: str) -> str:
    """Return text padded with zeros to `size` bytes: not empty, no control characters, nothing after the first zero."""
    text, _, rest = source.take(size).partition(b"\0")
    try:
        shown = text.decode()
    except UnicodeDecodeError:
        raise source.refuse(f"{field} is not UTF-8") from None
    if not shown or any(rest) or any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown):
        raise source.refuse(f"{field} is empty, has a control character, or is followed by something")
    return shown
