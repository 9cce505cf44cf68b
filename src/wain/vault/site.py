"""Where a vault stands: its objects, catalog, lock, clock and key, and the few questions every verb asks of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wain.base.errors import Missing, Refused, Truncated
from wain.base.ids import PackId, PointId, RegistrationId
from wain.pack.format import FOOTER_BYTES, MAX_PACK_BYTES
from wain.pack.verify import LeafVerifier, pack_words
from wain.storage.api import Objects
from wain.tree.manifest import Manifest, decode_manifest
from wain.vault import rows
from wain.vault.catalog import Catalog, registrations
from wain.vault.lock import WriteLock
from wain.vault.objects import pack_name, point_name
from wain.vault.records import KeptPoint, Signer, decode

MAX_STORED_BYTES = MAX_PACK_BYTES + FOOTER_BYTES


@dataclass(eq=False, slots=True)
class Site:
    """The parts of an open vault. `clock` is the only time it knows; no client's moment decides anything."""

    objects: Objects
    catalog: Catalog
    lock: WriteLock
    clock: Callable[[], datetime]
    signer: Signer
    unsure: bool = True
    """A verb failed half-way (or nothing was checked yet): objects may exist that the catalog does not know."""

    @contextmanager
    def writing(self, adopt: Callable[["Site"], object]) -> Iterator[None]:
        """Hold the right to write. What an earlier, broken verb left is adopted first.

        Raises:
            KeyDamaged: the vault's key cannot sign. No verb does half of its work first.
        """
        self.signer.check()
        with self.mending(adopt):
            yield

    @contextmanager
    def mending(self, adopt: Callable[["Site"], object]) -> Iterator[None]:
        """Hold the same right for what signs nothing: bringing the catalog up to the objects."""
        with self.lock:
            if self.unsure:
                adopt(self)
                self.unsure = False
            try:
                yield
            except Refused:
                raise
            except BaseException:
                self.unsure = True
                raise

    def row(self, rid: RegistrationId) -> Any:
        """Return a registration's row.

        Raises:
            Missing: this vault has no such registration.
        """
        with self.catalog.read() as connection:
            found = connection.row(f"{registrations.selection} WHERE id = :rid", rid=rid)
        if found is None:
            raise Missing(f"registration {rid.hex()}")
        return found

    def ids(self) -> list[RegistrationId]:
        """Return every registration, oldest first."""
        with self.catalog.read() as connection:
            return [
                RegistrationId(rid)
                for rid in connection.column("SELECT id FROM registrations ORDER BY registered_at, id")
            ]

    def has_pack(self, rid: RegistrationId, pack: PackId) -> bool:
        """Tell whether a pack counts as present."""
        here = "SELECT pack FROM packs WHERE registration = :rid AND pack = :pack"
        with self.catalog.read() as connection:
            return connection.value(here, rid=rid, pack=pack) is not None

    def kept(self, rid: RegistrationId, seq: int) -> KeptPoint:
        """Return a recovery point as its object holds it.

        Raises:
            DataError: it is missing or damaged.
        """
        return decode(KeptPoint, self.objects.read(point_name(rid, seq)))

    def seqs(self, rid: RegistrationId) -> list[tuple[int, PointId]]:
        """Return the recovery points there are, in the order of the chain."""
        every = "SELECT seq, point FROM points WHERE registration = :rid ORDER BY seq"
        with self.catalog.read() as connection:
            return [(seq, PointId(point)) for seq, point in connection.rows(every, rid=rid)]

    def manifests(self, rid: RegistrationId) -> Iterator[Manifest]:
        """Yield the manifest of every recovery point, one at a time in memory.

        Raises:
            DataError: one is missing or damaged: nobody may judge then which packs are needed.
        """
        for seq, _ in self.seqs(rid):
            yield decode_manifest(self.kept(rid, seq).manifest)

    def count_pack(self, rid: RegistrationId, pack: PackId, stored_bytes: int) -> None:
        """Count a pack as present from now on; its object is durable and was verified."""
        with self.catalog.write() as connection:
            rows.add_pack(connection, rid, pack, stored_bytes)

    def verify_stored(self, rid: RegistrationId, pack: PackId) -> int:
        """Read a pack from the medium, check every bit of it, and return its stored size.

        Raises:
            DataError: missing or damaged; names the leaf.
        """
        try:
            stored = self.objects.uncached(pack_name(rid, pack))
        except Missing:
            raise Missing(pack_words(pack)) from None
        with stored:
            if stored.size > MAX_STORED_BYTES:
                raise Truncated(pack_words(pack), want=MAX_STORED_BYTES, have=stored.size)
            verifier = LeafVerifier(pack, stored.size)
            for piece in stored.pieces(0, stored.size):
                verifier.feed(piece)
            verifier.finish()
            return stored.size
