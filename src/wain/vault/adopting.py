"""Takes facts (small objects) into the catalog: at once by the verb that wrote them, or later by `adopt`.

A verb writes its object, then calls `keep` or `take_in`. When it was killed in between, the object is found by its
name, which the catalog does not list, and is taken in by the same code. `rebuild` is nothing else, from the start.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from wain.base.errors import Corrupt, DataError, Malformed
from wain.base.ids import PackId, RegistrationId, SeedId
from wain.base.moment import to_ns
from wain.device.seal import check_seal, seal_hash
from wain.keys import signing
from wain.keys.slots import decode_slots
from wain.storage.sql import Connection
from wain.tree.manifest import check_signature, decode_manifest, point_id
from wain.tree.receipt import decode_receipt
from wain.vault import rows
from wain.vault.catalog import facts, registrations
from wain.vault.columns import CatalogDamaged
from wain.vault.objects import PREFIXES, Fact, Kind, expired_name, pack_name, parse_fact, point_name, seal_name
from wain.vault.records import (
    Countersigned,
    Deficits,
    Expired,
    KeptPoint,
    KeptSlots,
    Loss,
    Registered,
    Released,
    RetentionSet,
    decode,
)
from wain.vault.site import Site
from wain.wire.vault import Receipt

Change: TypeAlias = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """An object that cannot be taken in. `where` says what is wrong with it."""

    name: str
    where: str


def keep(site: Site, name: str, body: bytes) -> None:
    """Store a fact durably, then take it in. When it exists already, what exists counts."""
    if not site.objects.create(name, body):
        body = site.objects.read(name)
    take_in(site, name, body)


def take_in(site: Site, name: str, body: bytes) -> None:
    """Apply one fact to the catalog, in one transaction with the note that it was applied.

    Raises:
        DataError: the object is damaged, or contradicts its name or its registration.
    """
    fact = parse_fact(name)
    assert fact is not None, name
    change = _READERS[fact.kind](site, fact, body)
    with site.catalog.write() as connection:
        here = "SELECT name FROM facts WHERE registration = :rid AND name = :name"
        if connection.value(here, rid=fact.registration, name=name) is None:
            change(connection)
            connection.execute(facts.insertion(), {"registration": fact.registration, "name": name})


def check_fact(site: Site, fact: Fact) -> None:
    """Read one fact and judge it, changing nothing.

    Raises:
        DataError: as `take_in`.
    """
    _READERS[fact.kind](site, fact, site.objects.read(fact.name))


def stored_facts(site: Site, rid: RegistrationId) -> list[Fact]:
    """Return the facts of a registration that lie in the store, in order."""
    found = (parse_fact(name) for prefix in PREFIXES for name in site.objects.names(f"{prefix}/{rid.hex()}/"))
    return sorted(fact for fact in found if fact is not None)


def adopt(site: Site) -> list[Problem]:
    """Take in every fact the catalog does not know. Return the objects that cannot be taken in.

    When there was any, the catalog is older than the objects: condemned packs begin their wait anew, because an old
    catalog may not know that one was asked for again. A loss alone is what a killed collection leaves, which goes on.
    """
    problems: list[Problem] = []
    news = 0
    for rid in stored_ids(site):
        news += adopt_one(site, rid, problems)
    if news:
        with site.catalog.write() as connection:
            connection.execute("DELETE FROM condemned")
    return problems


def adopt_one(site: Site, rid: RegistrationId, problems: list[Problem]) -> int:
    """The same for one registration. Return how many facts were new, losses not counted."""
    new = unknown_facts(site, rid)
    if new and new[0].kind is not Kind.REGISTRATION and rid not in site.ids():
        return 0  # What a killed registration left: it begins anew.
    done = 0
    for fact in new:
        try:
            take_in(site, fact.name, site.objects.read(fact.name))
            done += fact.kind is not Kind.LOSS
        except CatalogDamaged:
            raise  # The object is not at fault.
        except DataError as error:
            problems.append(Problem(fact.name, str(error)))
            if fact.kind is Kind.REGISTRATION:
                break
    return done


def unknown_facts(site: Site, rid: RegistrationId) -> list[Fact]:
    """Return the stored facts of a registration that the catalog has not taken in, in order."""
    with site.catalog.read() as connection:
        known = set(connection.column("SELECT name FROM facts WHERE registration = :rid", rid=rid))
        gone = connection.column("SELECT seq FROM expired WHERE registration = :rid", rid=rid)
        known.update(point_name(rid, seq) for seq in gone)
    stored = stored_facts(site, rid)
    names = {fact.name for fact in stored}
    known.update(fact.name for fact in stored if fact.kind is Kind.POINT and expired_name(rid, fact.number) in names)
    return [fact for fact in stored if fact.name not in known]


def stored_ids(site: Site) -> list[RegistrationId]:
    """Return the registrations whose record lies in the store, sorted."""
    found = (parse_fact(name) for name in site.objects.names("registrations/"))
    return [fact.registration for fact in found if fact is not None and fact.kind is Kind.REGISTRATION]


def _same(what: str, *pairs: tuple[object, object]) -> None:
    if any(one != other for one, other in pairs):
        raise Malformed(what, "it belongs under another name")


def _registration(_site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(Registered, body)
    _same("registration record", (record.registration, fact.registration))
    row = {
        "id": record.registration,
        "name": record.name,
        "sign_key": record.sign_key,
        "restore_key": record.restore_key,
        "registered_at": to_ns(record.registered_at),
        "key_epoch": 0,
        "retention_number": 0,
        "generation": 0,
    }
    return _doing(registrations.insertion(), registrations.filled(**row))


def _keys(_site: Site, fact: Fact, body: bytes) -> Change:
    slots = decode_slots(decode(KeptSlots, body).slots)
    _same("key slots", (slots.registration, fact.registration), (slots.epoch, fact.number))
    newer = "UPDATE registrations SET key_epoch = :number WHERE id = :rid AND key_epoch < :number"
    return _doing(newer, {"rid": fact.registration, "number": fact.number})


def _retention(_site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(RetentionSet, body)
    _same("retention record", (record.registration, fact.registration))
    rule = record.retention
    newer = """
        UPDATE registrations SET retention_number = :number,
            daily = :daily, weekly = :weekly, monthly = :monthly, yearly = :yearly
        WHERE id = :rid AND retention_number < :number
        """
    numbers = {"daily": rule.daily, "weekly": rule.weekly, "monthly": rule.monthly, "yearly": rule.yearly}
    return _doing(newer, {"rid": fact.registration, "number": fact.number, **numbers})


def _loss(site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(Loss, body)
    _same("loss record", (record.registration, fact.registration))
    rid = fact.registration
    newer = "UPDATE registrations SET generation = :number WHERE id = :rid AND generation < :number"

    def change(connection: Connection) -> None:
        # A pack may have been stored again since: only what is not there now is lost.
        gone = [pack for pack in record.packs if site.objects.size(pack_name(rid, pack)) is None]
        rows.drop_packs(connection, rid, gone, _needed(site, rid, gone) if gone else {})
        connection.change(newer, rid=rid, number=fact.number)

    return change


def _needed(site: Site, rid: RegistrationId, gone: list[PackId]) -> dict[int, list[PackId]]:
    """Return which of these packs each point needs, by its place in the chain."""
    lost = frozenset(gone)
    needed: dict[int, list[PackId]] = {}
    for seq, _ in site.seqs(rid):
        # A point whose object is damaged itself is the scrub's finding; it must not keep this loss from being seen.
        with suppress(DataError):
            ids = [ref.id for ref in decode_manifest(site.kept(rid, seq).manifest).packs if ref.id in lost]
            if ids:
                needed[seq] = ids
    return needed


def _seal(site: Site, fact: Fact, body: bytes) -> Change:
    seal = check_seal(body, _sign_key(site, fact.registration))
    _same("seal", (seal.registration, fact.registration), (seal_name(seal.registration, seal.seed), fact.name))
    row = {
        "registration": seal.registration,
        "seed": seal.seed,
        "device": seal.device,
        "order_name": seal.order,
        "container": seal.container,
        "seal_hash": seal_hash(body),
        "manifest_hash": seal.manifest_hash,
        "packs": len(seal.packs),
        "stored_bytes": seal.stored_bytes,
    }
    return lambda connection: rows.add_seed(connection, row, (pack.id for pack in seal.packs))


def _deficits(_site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(Deficits, body)
    _same("deficit record", (record.registration, fact.registration), (record.seed, _seed(fact)))
    values = {
        "deficit_number": fact.number,
        "deficits": len(record.deficits),
        "deficits_at": to_ns(record.found_at),
    }
    return lambda connection: rows.update_seed(connection, fact.registration, record.seed, values)


def _release(_site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(Released, body)
    _same("release record", (record.registration, fact.registration), (record.seed, _seed(fact)))
    values = {"released_at": to_ns(record.released_at)}
    return lambda connection: rows.update_seed(connection, fact.registration, record.seed, values)


def _receipt(_site: Site, fact: Fact, body: bytes) -> Change:
    kept = decode(Receipt, body)
    signing.verify(kept.vault_key, signing.RECEIPT, kept.body, kept.signature)
    receipt = decode_receipt(kept.body)
    _same("receipt", (receipt.registration, fact.registration), (receipt.seed, _seed(fact)))
    values = {"received_at": to_ns(receipt.received_at)}
    return lambda connection: rows.update_seed(connection, fact.registration, receipt.seed, values)


def _countersigned(site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(Countersigned, body)
    signing.verify(_sign_key(site, fact.registration), signing.COUNTERSIGN, record.body, record.signature)
    receipt = decode_receipt(record.body)
    _same("countersignature", (receipt.registration, fact.registration), (receipt.seed, _seed(fact)))
    values = {"countersigned_at": to_ns(record.signed_at)}
    return lambda connection: rows.update_seed(connection, fact.registration, receipt.seed, values)


def _expired(_site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(Expired, body)
    _same("tombstone", (record.registration, fact.registration), (record.seq, fact.number))
    rid, name = fact.registration, point_name(fact.registration, fact.number)

    def change(connection: Connection) -> None:
        rows.expire_point(connection, record)
        connection.change("DELETE FROM facts WHERE registration = :rid AND name = :name", rid=rid, name=name)

    return change


def _point(site: Site, fact: Fact, body: bytes) -> Change:
    record = decode(KeptPoint, body)
    manifest = check_signature(record.manifest, _sign_key(site, fact.registration))
    _same("kept point", (manifest.registration, fact.registration), (manifest.seq, fact.number))
    point = point_id(record.manifest)
    return lambda connection: rows.add_point(connection, record.received_at, manifest, point)


def _seed(fact: Fact) -> SeedId:
    """Return the seed that a fact's name speaks of."""
    return SeedId(bytes.fromhex(fact.name.split("/")[2][:32]))


def _sign_key(site: Site, rid: RegistrationId) -> bytes:
    key = site.row(rid).sign_key
    if not isinstance(key, bytes):
        raise Corrupt("the vault's catalog", f"the signing key of registration {rid.hex()}")
    return key


def _doing(statement: str, values: Mapping[str, object]) -> Change:
    """Return the change that one statement makes."""

    def change(connection: Connection) -> None:
        connection.execute(statement, values)

    return change


_READERS: Final[Mapping[Kind, Callable[[Site, Fact, bytes], Change]]] = {
    Kind.REGISTRATION: _registration,
    Kind.KEYS: _keys,
    Kind.RETENTION: _retention,
    Kind.LOSS: _loss,
    Kind.SEAL: _seal,
    Kind.DEFICITS: _deficits,
    Kind.RELEASE: _release,
    Kind.RECEIPT: _receipt,
    Kind.COUNTERSIGNED: _countersigned,
    Kind.EXPIRED: _expired,
    Kind.POINT: _point,
}
