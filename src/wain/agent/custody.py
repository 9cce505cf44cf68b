"""The agent's part of the chain of custody: what it did with the device, signed, and handed to whoever keeps the chain.

What happened is written down here when it happens; it is signed and handed in when the keeper can be reached, in the
same run or a later one. The end of the chain is remembered: a chain that was cut or changed since is recognised.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from blake3 import blake3

from wain.agent.home import AgentHome, SeedRecord
from wain.agent.write_keys import AgentKeys
from wain.base.errors import Corrupt, WainError
from wain.base.ids import DeviceId, RegistrationId, SeedId
from wain.keys.signing import public_key
from wain.order.custody import (
    NO_RECORD,
    PARTY_BYTES,
    CustodyRecord,
    Event,
    Handling,
    append,
    decode_record,
    encode_record,
    record_hash,
)
from wain.wire.databox import Chain, CustodyApi, CustodyMoved, check_chain_of

VERSION: Final = 1
TRIES: Final = 8
"""How often others may be faster: a device holds the seeds of many servers."""


class Witness(Protocol):
    """A vault that says itself what it took in."""

    def attest_import(self, rid: RegistrationId, seed: SeedId, tail: bytes) -> bytes:
        """Return the record that follows `tail`, signed by the vault: it has taken this seed in.

        Raises:
            Missing: it has not.
        """


@dataclass(frozen=True, slots=True)
class Noted:
    """One step that this server knows of. `handed_in` once the keeper of the chain has it."""

    event: Event
    at: datetime
    detail: bytes
    handed_in: bool = False


@dataclass(frozen=True, slots=True)
class Notes:
    """The steps of one seed's device, and the end of the chain as this server last saw it (0: never)."""

    order: str
    device: DeviceId
    steps: tuple[Noted, ...] = ()
    seq: int = 0
    hash: bytes = b""

    def noted(self, event: Event, at: datetime, detail: bytes) -> "Notes":
        """Return the notes with a step; one that is there already stays as it is."""
        if any((step.event, step.detail) == (event, detail) for step in self.steps):
            return self
        return replace(self, steps=(*self.steps, Noted(event, at, detail)))

    @property
    def waiting(self) -> bool:
        """Whether the keeper lacks a step."""
        return not all(step.handed_in for step in self.steps)


def notes_file(seed: str) -> str:
    """Return the name of a seed's notes in the agent's home; `seed` in hex."""
    return f"custody-{seed}.json"


def read_notes(home: AgentHome, seed: str) -> Notes | None:
    """Return what is noted of a seed (hex), or None.

    Raises:
        Refused: the file is not one of ours.
    """
    return home.decoded(notes_file(seed), _decode)


def notes_of_order(home: AgentHome, order: str) -> Notes | None:
    """Return what is noted of the device that came with an order, or None.

    Raises:
        Refused: as `read_notes`.
    """
    seed = home.seed()
    ids = () if seed is None else (one.id for one in (seed, *seed.earlier) if one.order == order)
    found = (read_notes(home, one) for one in ids)
    return next((notes for notes in found if notes is not None and notes.order == order), None)


def note(home: AgentHome, seed: SeedRecord, at: datetime, *steps: tuple[Event, bytes]) -> None:
    """Write steps of a seed's device down, durably; one that is noted already changes nothing.

    Notes that cannot be read stay as they are, and hinder nobody: whoever hands in next names them.
    """
    device = DeviceId(bytes.fromhex(seed.device))
    try:
        known = read_notes(home, seed.id)
    except WainError:
        return
    notes = known if known is not None and (known.order, known.device) == (seed.order, device) else None
    fresh = notes or Notes(seed.order, device)
    for event, detail in steps:
        fresh = fresh.noted(event, at, detail)
    if fresh != known:
        home.save_record(notes_file(seed.id), _encode(fresh))


@dataclass(frozen=True, slots=True)
class HandingIn:
    """Hands in what is noted. `name` is what the server calls itself; `witness` speaks for the vault."""

    home: AgentHome
    keys: AgentKeys
    name: str
    keeper: CustodyApi
    witness: Witness | None

    def run(self, seed: SeedId) -> None:
        """Hand in every step that the keeper lacks, in order.

        Raises:
            RemoteError: the keeper cannot be reached, or others were faster again and again; the next run goes on.
            Corrupt: the chain is not what this server saw before, or not whole; nothing is added to it.
        """
        file = notes_file(seed.hex())
        notes = read_notes(self.home, seed.hex())
        if notes is None or not notes.waiting:
            return
        for number, step in enumerate(notes.steps):
            if not step.handed_in and not (step.event is Event.IMPORTED and self.witness is None):
                record = self._deliver(notes, step, seed)
                steps = (*notes.steps[:number], replace(step, handed_in=True), *notes.steps[number + 1 :])
                notes = replace(notes, steps=steps, seq=record.seq, hash=record_hash(record))
                self.home.save_record(file, _encode(notes))

    def _deliver(self, notes: Notes, step: Noted, seed: SeedId) -> CustodyRecord:
        for _ in range(TRIES):
            chain = self.keeper.chain(notes.order)
            check_seen(notes, chain)
            done = next((one for one in chain.records if self._is(one, step)), None)
            if done is not None:
                return done
            record = self._record(chain.records, notes, step, seed)
            try:
                self.keeper.hand_in(notes.order, encode_record(record))
            except CustodyMoved:
                continue
            return record
        raise CustodyMoved(notes.order)

    def _is(self, record: CustodyRecord, step: Noted) -> bool:
        mine = record.public_key == public_key(self.keys.sign_seed) or step.event is Event.IMPORTED
        return mine and (record.event, record.detail_hash) == (step.event, step.detail)

    def _record(self, chain: tuple[CustodyRecord, ...], notes: Notes, step: Noted, seed: SeedId) -> CustodyRecord:
        if not chain:
            raise Corrupt("the chain of custody", f"order {notes.order} has a device and no record of it")
        if step.event is Event.IMPORTED:
            assert self.witness is not None
            rid = self.keys.registration
            return decode_record(self.witness.attest_import(rid, seed, encode_record(chain[-1])))
        party = self.name.encode()[:PARTY_BYTES].decode(errors="ignore")
        handling = Handling(step.event, notes.order, notes.device, step.at, party, step.detail)
        return append(chain[-1], handling, self.keys.sign_seed)


def check_seen(notes: Notes, chain: Chain) -> None:
    """Check that a chain is whole, and holds what this server saw at its end before.

    Raises:
        Corrupt: names the record that is changed or gone.
    """
    check_chain_of(chain)
    if not notes.seq:
        return
    if len(chain.records) < notes.seq:
        where = f"record {notes.seq}, which this server has seen, is gone: it ends after {len(chain.records)}"
        raise Corrupt("the chain of custody", where)
    if record_hash(chain.records[notes.seq - 1]) != notes.hash:
        record = chain.records[notes.seq - 1]
        where = f"record {notes.seq} ({record.event.words}) is another one than this server has seen"
        raise Corrupt("the chain of custody", where)


def newest(keeper: CustodyApi | None, order: str) -> bytes:
    """Return the hash of the newest record of an order's chain, or zeros when nobody tells it now."""
    if keeper is None:
        return NO_RECORD
    try:
        records = keeper.chain(order).records
    except WainError:
        return NO_RECORD
    return record_hash(records[-1]) if records else NO_RECORD


def check_keys(home: AgentHome, notes: Notes, chain: Chain) -> None:
    """Check that what this server and its vault are said to have signed is signed with their keys.

    Raises:
        Corrupt: names the first record that is not.
    """
    mine, pinned = public_key(home.require_keys().sign_seed), home.pinned_vault_key()
    own = {(step.event, step.detail): pinned if step.event is Event.IMPORTED else mine for step in notes.steps}
    for record in chain.records:
        key = own.get((record.event, record.detail_hash))
        if key is not None and record.public_key != key:
            who = "its vault" if record.event is Event.IMPORTED else "this server"
            where = f"record {record.seq} ({record.event.words}): it is not signed with the key of {who}"
            raise Corrupt("the chain of custody", where)


def try_to_hand_in(handing: HandingIn, seed: SeedId, say: Callable[[str], None]) -> str:
    """Hand in what is noted; what hinders it is said and returned, and hinders no backup. Empty when all is well."""
    try:
        handing.run(seed)
    except WainError as error:
        words = f"the chain of custody: {error}"
        say(words)
        return words
    return ""


def receipt_hash(body: bytes) -> bytes:
    """Return how records name a receipt."""
    return blake3(body).digest()


def _encode(notes: Notes) -> dict[str, Any]:
    steps = [
        {
            "event": step.event.words,
            "at": step.at.isoformat(),
            "detail": step.detail.hex(),
            "handedIn": step.handed_in,
        }
        for step in notes.steps
    ]
    end = {"seq": notes.seq, "hash": notes.hash.hex()}
    return {"version": VERSION, "order": notes.order, "device": notes.device.hex(), "steps": steps, "end": end}


def _decode(body: dict[str, Any]) -> Notes:
    if body["version"] != VERSION:
        raise ValueError(f"version {body['version']}")
    events = {event.words: event for event in Event}
    steps = tuple(
        Noted(
            events[step["event"]],
            datetime.fromisoformat(step["at"]),
            bytes.fromhex(step["detail"]),
            bool(step["handedIn"]),
        )
        for step in body["steps"]
    )
    end = body["end"]
    return Notes(
        str(body["order"]), DeviceId(bytes.fromhex(body["device"])), steps, int(end["seq"]), bytes.fromhex(end["hash"])
    )
