"""Takes a seed in: storage account -> vault (reliability.md 4.2). Every step is idempotent; a killed import goes on.

What the account does not give whole (`DataError`) is repaired from parity that came with it; what that cannot repair
is a deficit: named, recorded, and no reason to stop. A fault of
the vault's own storage, or an account that cannot be reached, is an error: it says nothing about the seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wain.base.errors import Corrupt, DataError, Missing, Refused, Truncated
from wain.base.ids import PackId, PointId, RegistrationId, SeedId
from wain.base.progress import Progress
from wain.base.sizes import PAGE_BYTES
from wain.device.journal import JournalPack
from wain.device.seal import Seal, check_seal, seal_hash
from wain.keys import signing
from wain.pageblob.names import MANIFEST_BLOB, SEAL_BLOB
from wain.pageblob.paged import decode_paged, paged_bytes
from wain.storage.api import PageBlobs
from wain.tree.manifest import check_signature, decode_manifest, point_id
from wain.tree.receipt import Receipt as ReceiptBody
from wain.tree.receipt import encode_receipt
from wain.vault import rows
from wain.vault.adopting import adopt, adopt_one, keep
from wain.vault.arriving import ArrivingPacks
from wain.vault.catalog import fill_asked, seeds
from wain.vault.objects import deficits_name, receipt_name, release_name, seal_name
from wain.vault.points import commit_point, find_point
from wain.vault.reading import read_ahead
from wain.vault.records import MAX_WHERE_BYTES, Deficits, Released, decode, encode
from wain.vault.rows import SeedState
from wain.vault.site import Site
from wain.vault.storing import take_pack
from wain.wire.vault import Deficit, ImportReport, Receipt, RecoveryPoint


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data copy put a seed: a container of a storage account."""

    blobs: PageBlobs
    container: str


@dataclass(slots=True)
class _Tally:
    new_packs: int = 0
    new_bytes: int = 0
    repaired: int = 0


def announce_seed(site: Site, rid: RegistrationId, body: bytes) -> Seal:
    """Keep a device's seal: its packs are in transit from now on. The same seal again changes nothing.

    Raises:
        Corrupt: the signature is not the registration's.
        Refused: it speaks of another registration, or another seal was announced for this seed.
    """
    seal = check_seal(body, site.row(rid).sign_key)
    if seal.registration != rid:
        raise Refused("the seal belongs to another registration")
    with site.writing(adopt):
        adopt_one(site, rid, [])
        known = seed_row(site, rid, seal.seed)
        if known is None:
            keep(site, seal_name(rid, seal.seed), body)
        elif known.seal_hash != seal_hash(body):
            raise Refused(f"another seal was announced for seed {seal.seed.hex()}")
    return seal


def release_seed(site: Site, rid: RegistrationId, seed: SeedId) -> None:
    """Record that a seed will not arrive. Again: nothing changes. If it arrives all the same, it may be imported.

    Raises:
        Missing: no such seed was announced.
        Refused: it has arrived.
    """
    site.row(rid)
    with site.writing(adopt):
        adopt_one(site, rid, [])
        known = seed_row(site, rid, seed)
        if known is None:
            raise Missing(f"seed {seed.hex()}")
        if known.state == SeedState.IN_VAULT.value:
            raise Refused(f"seed {seed.hex()} has arrived: it is in the vault")
        if known.released_at is None:
            keep(site, release_name(rid, seed), encode(Released(rid, seed, site.clock()), site.signer))


def import_seed(site: Site, rid: RegistrationId, source: Source, progress: Progress) -> ImportReport:
    """Take a seed in. See `VaultApi.import_seed`.

    Raises:
        DataError: the account has no seal that can be read, and none was announced for this container.
        Refused: the seal is another registration's, or the seed's manifest has no place in the chain.
        RemoteError, OutOfSpace: the account or the vault's storage failed; the same call goes on from there.
    """
    body = _find_seal(site, rid, source)
    seal = announce_seed(site, rid, body)
    tally = _Tally()
    deficits = _take_packs(site, seal, source, progress, tally)
    point: RecoveryPoint | None = None
    with site.writing(adopt):
        adopt_one(site, rid, [])
        receipt = kept_receipt(site, rid, seal.seed)
        if receipt is None and not deficits and not seal.goes_on:
            point, deficits = _commit(site, seal, source)
        if receipt is None and not deficits:
            receipt = _write_receipt(site, seal, seal_hash(body), point)
        if receipt is None:
            _record_deficits(site, seal, deficits)
    here = find_point(site, rid, PointId(seal.manifest_hash))
    return ImportReport(
        seed=seal.seed,
        packs=len(seal.packs),
        new_packs=tally.new_packs,
        new_bytes=tally.new_bytes,
        deficits=tuple(deficits),
        point=here.id if here is not None and receipt is not None else None,
        receipt=receipt,
        repaired=tally.repaired,
    )


def seed_row(site: Site, rid: RegistrationId, seed: SeedId) -> Any | None:
    """Return a seed's row, or None."""
    with site.catalog.read() as connection:
        return connection.row(f"{seeds.selection} WHERE registration = :rid AND seed = :seed", rid=rid, seed=seed)


def kept_receipt(site: Site, rid: RegistrationId, seed: SeedId) -> Receipt | None:
    """Return the receipt of a seed, or None while there is none."""
    row = seed_row(site, rid, seed)
    if row is None or row.received_at is None:
        return None
    return decode(Receipt, site.objects.read(receipt_name(rid, seed)))


def _find_seal(site: Site, rid: RegistrationId, source: Source) -> bytes:
    """Return the seal in the account, or, when that one is damaged, the one that was announced."""
    row = site.row(rid)
    try:
        body = _read_paged(source, SEAL_BLOB)
        if check_seal(body, row.sign_key).registration != rid:
            raise Refused("the seal in the account belongs to another registration")
    except DataError:
        known = _announced(site, rid, source)
        if known is None:
            raise
        return site.objects.read(seal_name(rid, known))
    return body


def _announced(site: Site, rid: RegistrationId, source: Source) -> SeedId | None:
    """Return the seed announced for a container.

    A container without any blob is not a damaged seed: the account may not be the right one, or was cleaned after
    the import; then only a seed that is in the vault is meant.
    """
    with site.catalog.read() as connection:
        here = "SELECT seed, state FROM seeds WHERE registration = :rid AND container = :container"
        found = connection.row(here, rid=rid, container=source.container)
    if found is None or (found.state != SeedState.IN_VAULT.value and not source.blobs.blobs(source.container)):
        return None
    return SeedId(found.seed)


def _read_paged(source: Source, blob: str) -> bytes:
    first = source.blobs.read(source.container, blob, 0, PAGE_BYTES)
    whole = source.blobs.read(source.container, blob, 0, paged_bytes(first, blob))
    return decode_paged(whole, blob)


def _take_packs(site: Site, seal: Seal, source: Source, progress: Progress, tally: _Tally) -> list[Deficit]:
    rid = seal.registration
    with site.catalog.write() as connection:
        fill_asked(connection, (pack.id for pack in seal.packs))
        here = rows.asked_present(connection, rid)
    wanted = [pack for pack in seal.packs if pack.id not in here]
    progress.phase("import", sum(pack.placement.length for pack in wanted))
    deficits: list[Deficit] = []
    for pack, arrival in _arrivals(ArrivingPacks(source.blobs, source.container, seal), wanted):
        if isinstance(arrival, Deficit):
            deficits.append(arrival)
        elif take_pack(site, rid, pack.id, arrival.body):
            tally.new_packs += 1
            tally.new_bytes += len(arrival.body)
            tally.repaired += arrival.repaired
        progress.advance(pack.placement.length, 1)
    return deficits


@dataclass(frozen=True, slots=True)
class _Arrival:
    body: bytes
    repaired: bool = False


def _arrivals(source: ArrivingPacks, wanted: list[JournalPack]) -> Iterator[tuple[JournalPack, _Arrival | Deficit]]:
    """Yield each pack as the account gives it, or as parity makes it; or what is wrong with it."""

    def read(pack: JournalPack) -> _Arrival | Deficit:
        try:
            return _Arrival(source.whole(pack))
        except DataError as error:
            damage = error
        try:
            return _Arrival(source.repaired(pack), repaired=True)
        except DataError:
            return _deficit(pack.id, damage)

    return read_ahead(wanted, read)


def _deficit(pack: PackId, error: DataError, prefix: str = "") -> Deficit:
    words = prefix + (error.where if isinstance(error, Corrupt) else str(error))
    return Deficit(pack, words.encode()[:MAX_WHERE_BYTES].decode(errors="ignore"))


def _commit(site: Site, seal: Seal, source: Source) -> tuple[RecoveryPoint | None, list[Deficit]]:
    """Commit the seed's manifest. One that did not arrive whole is a deficit under the manifest's own hash."""
    rid = seal.registration
    point = PointId(seal.manifest_hash)
    there = find_point(site, rid, point)
    if there is not None:
        return there, []
    try:
        body = _read_paged(source, MANIFEST_BLOB)
        if len(body) != seal.manifest_bytes:
            raise Truncated("manifest", want=seal.manifest_bytes, have=len(body))
        if point_id(body) != point:
            raise Corrupt("manifest", "it is not the one that was sealed")
        check_signature(body, seal.sign_key)
    except DataError as error:
        return None, [_deficit(PackId(seal.manifest_hash), error, "manifest: ")]
    absent = _absent(site, rid, body)
    return (None, absent) if absent else (commit_point(site, rid, body), [])


def _absent(site: Site, rid: RegistrationId, manifest: bytes) -> list[Deficit]:
    """Return the packs that an earlier device of the seed should have brought, and did not."""
    with site.catalog.write() as connection:
        fill_asked(connection, (ref.id for ref in decode_manifest(manifest).packs))
        absent = rows.asked_absent(connection, rid)
    return [Deficit(PackId(pack), "it was to come before, and is neither here nor on its way") for pack in absent]


def _write_receipt(site: Site, seal: Seal, sealed: bytes, made: RecoveryPoint | None) -> Receipt:
    rid, point = seal.registration, PointId(seal.manifest_hash)
    now = site.clock() if made is None else max(site.clock(), made.received_at)
    body = encode_receipt(ReceiptBody(rid, seal.seed, sealed, point, len(seal.packs), seal.stored_bytes, now))
    receipt = Receipt(body, site.signer.sign(signing.RECEIPT, body), site.signer.public)
    keep(site, receipt_name(rid, seal.seed), encode(receipt, site.signer))
    return decode(Receipt, site.objects.read(receipt_name(rid, seal.seed)))


def _record_deficits(site: Site, seal: Seal, deficits: list[Deficit]) -> None:
    """Keep what is missing, unless the newest record says the same."""
    rid, seed = seal.registration, seal.seed
    found = tuple(sorted(deficits, key=lambda one: one.pack))
    row = seed_row(site, rid, seed)
    number = 0 if row is None else row.deficit_number
    if number and decode(Deficits, site.objects.read(deficits_name(rid, seed, number))).deficits == found:
        return
    record = Deficits(rid, seed, site.clock(), found)
    keep(site, deficits_name(rid, seed, number + 1), encode(record, site.signer))
