"""The vault in-process: `wire.vault.VaultApi` for agents, and the operator's verbs.

Objects are the truth, the catalog is a cache. Reading verbs take no lock; writing verbs take the vault's lock for
short steps, so that an import of hours keeps nobody waiting. Every verb is idempotent: after a kill anywhere the same
call gives the same end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from wain.base.errors import Missing, Refused
from wain.base.ids import DeviceId, PackId, PointId, RegistrationId, SeedId
from wain.base.moment import from_ns
from wain.base.progress import Progress, Silent
from wain.keys import signing
from wain.pack.slices import WHOLE, Slice
from wain.policy.retention import Retention
from wain.storage.api import Objects, PageBlobs
from wain.storage.directory import DirectoryObjects
from wain.storage.durable import make_dirs
from wain.tree.receipt import decode_receipt
from wain.vault import attesting, enrolling, expiring, importing, points, storing
from wain.vault.adopting import adopt, keep
from wain.vault.catalog import Catalog, seeds
from wain.vault.checking import Check, CheckReport
from wain.vault.collect import CollectOptions, CollectReport, collect
from wain.vault.columns import CatalogDamaged, our_row
from wain.vault.comparing import check_schema
from wain.vault.key import load_signer
from wain.vault.lock import LOCK_FILE, WriteLock
from wain.vault.objects import countersigned_name, pack_name
from wain.vault.rebuild import CATALOG_FILE, RebuildReport, rebuild, set_catalog_aside
from wain.vault.records import Countersigned, Expired, decode, encode
from wain.vault.rows import SeedState
from wain.vault.site import Site
from wain.vault.strays import OBJECTS_DIR
from wain.wire.vault import ImportReport, Presence, Receipt, RecoveryPoint, Registration, SeedRef


@dataclass(frozen=True, slots=True)
class SeedStatus:
    """A seed as the vault knows it, for operators. Sizes in bytes."""

    seed: SeedId
    device: DeviceId
    order: str
    container: str
    state: SeedState
    packs: int
    stored_bytes: int
    deficits: int
    received_at: datetime | None
    countersigned_at: datetime | None
    """From then on the device may be erased and the account's container deleted."""


def no_accounts(name: str) -> PageBlobs:
    """Stand in for the storage accounts of a vault that imports no seeds."""
    raise Refused(f"storage account {name!r} is not known here", "Name the Data Box service that this vault uses.")


def _now() -> datetime:
    return datetime.now(UTC)


class Vault:
    """One vault in a directory. May be used by several threads; several processes may have it open."""

    def __init__(self, site: Site, root: Path, accounts: Callable[[str], PageBlobs]) -> None:
        """Use `Vault.open`."""
        self._site = site
        self._root = root
        self._accounts = accounts

    @classmethod
    def open(
        cls,
        root: Path,
        accounts: Callable[[str], PageBlobs] = no_accounts,
        clock: Callable[[], datetime] = _now,
        objects: Objects | None = None,
    ) -> Self:
        """Open the vault in `root`, made if it is not there. `objects` defaults to the directory `objects` in it.

        A catalog that is missing, was never filled or cannot be read is rebuilt; facts it does not know are adopted.

        Raises:
            Refused, OutOfSpace, RemoteError: the directory cannot be used.
        """
        root = Path(root)
        make_dirs(root)
        stored = DirectoryObjects(root / OBJECTS_DIR) if objects is None else objects
        lock = WriteLock(root / LOCK_FILE)
        with lock:
            signer = load_signer(root)
            try:
                site = _opened(Site(stored, Catalog(root / CATALOG_FILE), lock, clock, signer), root)
            except CatalogDamaged:
                set_catalog_aside(root)
                site = _opened(Site(stored, Catalog(root / CATALOG_FILE), lock, clock, signer), root)
        return cls(site, root, accounts)

    def close(self) -> None:
        """Close the catalog."""
        self._site.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def public_key(self) -> bytes:
        """The vault's raw Ed25519 public key, which its receipts name."""
        return self._site.signer.public

    # Verbs of `VaultApi`; docstrings there.

    def register(self, registration: Registration, key_slots: bytes) -> Registration:
        """Enrol a server."""
        return enrolling.register(self._site, registration, key_slots)

    def registration(self, rid: RegistrationId) -> Registration:
        """Return one registration."""
        return enrolling.registration(self._site, rid)

    def registrations(self) -> list[Registration]:
        """Return every registration, oldest first."""
        return enrolling.list_registrations(self._site)

    def key_slots(self, rid: RegistrationId) -> bytes:
        """Return the newest key slots."""
        return enrolling.stored_slots(self._site, rid)

    def set_retention(self, rid: RegistrationId, retention: Retention) -> None:
        """Keep points by this rule from now on; what it keeps less than before, from `expiring.CUT_DELAY` on."""
        expiring.set_retention(self._site, rid, retention)

    def generation(self, rid: RegistrationId) -> int:
        """Return a number that grows whenever the vault gives up packs."""
        return int(self._site.row(rid).generation)

    def presence(self, rid: RegistrationId, packs: Sequence[PackId]) -> list[Presence]:
        """Say for each pack where it is, and pin those that are here for `storing.LEASE`."""
        return storing.presence(self._site, rid, packs)

    def upload(self, rid: RegistrationId) -> storing.PackUpload:
        """Begin to take in a pack."""
        return storing.PackUpload(self._site, rid)

    def announce_seed(self, rid: RegistrationId, seal: bytes) -> None:
        """Take note of the packs that travel on a sealed device."""
        importing.announce_seed(self._site, rid, seal)

    def release_seed(self, rid: RegistrationId, seed: SeedId) -> None:
        """Take note that a seed will not arrive."""
        importing.release_seed(self._site, rid, seed)

    def import_seed(self, rid: RegistrationId, seed: SeedRef, progress: Progress) -> ImportReport:
        """Take a seed in: account -> vault."""
        source = importing.Source(self._accounts(seed.account), seed.container)
        return importing.import_seed(self._site, rid, source, progress)

    def commit_point(self, rid: RegistrationId, manifest: bytes) -> RecoveryPoint:
        """Make a recovery point."""
        return points.commit_point(self._site, rid, manifest)

    def points(self, rid: RegistrationId) -> list[RecoveryPoint]:
        """Return the recovery points, oldest first."""
        self._site.row(rid)
        return points.list_points(self._site, rid)

    def manifest(self, rid: RegistrationId, point: PointId) -> bytes:
        """Return the manifest of a point, as the agent signed it."""
        return self._site.kept(rid, points.get_point(self._site, rid, point).seq).manifest

    def pack_size(self, rid: RegistrationId, pack: PackId) -> int:
        """Return the stored size of a pack in bytes."""
        size = self._site.objects.size(pack_name(rid, pack))
        if size is None:
            raise Missing(f"pack {pack.hex()}")
        return size

    def read_pack(self, rid: RegistrationId, pack: PackId, offset: int, length: int) -> bytes:
        """Return exactly `length` stored bytes of a pack from `offset`."""
        try:
            return self._site.objects.read(pack_name(rid, pack), offset, length)
        except Missing:
            raise Missing(f"pack {pack.hex()}") from None

    def countersign(self, rid: RegistrationId, receipt: bytes, signature: bytes) -> None:
        """Record the agent's signature under a receipt body.

        Raises:
            Missing: the vault gave no such receipt.
            Corrupt: the signature is not the registration's.
        """
        seed = decode_receipt(receipt).seed
        key = self._site.row(rid).sign_key
        with self._site.writing(adopt):
            kept = importing.kept_receipt(self._site, rid, seed)
            if kept is None or kept.body != receipt:
                raise Missing(f"the receipt of seed {seed.hex()}")
            signing.verify(key, signing.COUNTERSIGN, receipt, signature)
            record = Countersigned(receipt, signature, self._site.clock())
            keep(self._site, countersigned_name(rid, seed), encode(record, self._site.signer))

    def attest_import(self, rid: RegistrationId, seed: SeedId, tail: bytes) -> bytes:
        """Say in the chain of custody that a seed is here (see `attesting.attest_import`)."""
        return attesting.attest_import(self._site, rid, seed, tail)

    # Verbs of the operator.

    def seeds(self, rid: RegistrationId) -> list[SeedStatus]:
        """Return the seeds of a registration, in no particular order."""
        self._site.row(rid)
        with self._site.catalog.read() as connection:
            found = connection.rows(f"{seeds.selection} WHERE registration = :rid ORDER BY seed", rid=rid)
        with our_row():
            return [
                SeedStatus(
                    SeedId(row.seed),
                    DeviceId(row.device),
                    row.order_name,
                    row.container,
                    SeedState(row.state),
                    row.packs,
                    row.stored_bytes,
                    row.deficits,
                    None if row.received_at is None else from_ns(row.received_at),
                    None if row.countersigned_at is None else from_ns(row.countersigned_at),
                )
                for row in found
            ]

    def receipt(self, rid: RegistrationId, seed: SeedId) -> Receipt | None:
        """Return the receipt of a seed, or None while there is none."""
        return importing.kept_receipt(self._site, rid, seed)

    def countersigned(self, rid: RegistrationId, seed: SeedId) -> bytes | None:
        """Return the agent's signature under the receipt of a seed, or None while there is none."""
        try:
            body = self._site.objects.read(countersigned_name(rid, seed))
        except Missing:
            return None
        return decode(Countersigned, body).signature

    def retention(self, rid: RegistrationId) -> Retention | None:
        """Return the retention rule that `expire` would go by now, or None when none was ever set."""
        return expiring.retention_in_force(self._site, rid, self._site.clock())

    def expire(self, now: datetime | None = None) -> tuple[Expired, ...]:
        """Let go of the points that no retention rule keeps, at `now` (by default the vault's clock)."""
        return expiring.expire(self._site, self._site.clock() if now is None else now)

    def gc(self, options: CollectOptions | None = None) -> CollectReport:
        """Condemn unneeded packs, and delete those whose grace has passed."""
        return collect(self._site, CollectOptions() if options is None else options)

    def verify(self, progress: Progress | None = None, part: Slice = WHOLE, *, set_aside: bool = False) -> CheckReport:
        """Read every file from the medium and check every bit; findings are named to the leaf.

        Packs (those of one slice, when one is given), records, the key, the catalog against the objects, and files
        that are no part of a vault.
        """
        return Check(self._site, part, progress or Silent(), set_aside=set_aside).run_whole(self._root)

    def scrub(self, part: Slice, progress: Progress | None = None) -> CheckReport:
        """Check one slice of the packs, and set damaged ones aside so that they can be healed."""
        return Check(self._site, part, progress or Silent(), set_aside=True).run()

    def rebuild(self) -> RebuildReport:
        """Make the catalog again from the objects. One that SQLite finds unsound is set aside first."""
        with self._site.lock:
            try:
                self._site.catalog.check()
                check_schema(self._site, self._root)
                return rebuild(self._site, self._root)
            except CatalogDamaged:
                self._site.catalog.close()
                set_catalog_aside(self._root)
                self._site.catalog = Catalog(self._root / CATALOG_FILE)
                return rebuild(self._site, self._root)


def _opened(site: Site, root: Path) -> Site:
    """Bring the catalog up to the objects."""
    try:
        if not site.catalog.filled:
            rebuild(site, root)
        with site.mending(adopt):
            return site
    except BaseException:
        site.catalog.close()
        raise
