"""A protected server, its packs and devices, and a vault with a clock that a test sets: real bytes, no mocks."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unit.pack.packing import WholeWriter
from unit.pageblob.groups import record_of, stored_record
from wain.base.errors import WriteFailed
from wain.base.ids import NO_POINT, NO_SEED, NO_SERIES, DeviceId, PackId, PointId, RegistrationId, SeedId, SeriesId
from wain.chunk.names import ChunkType, Namer
from wain.device.journal import JournalPack
from wain.device.seal import Seal, encode_seal, seal_part
from wain.keys import signing
from wain.keys.secret import Secret, write_keys
from wain.keys.slots import KeySlots, encode_slots, recovery_slot
from wain.pack.cipher import PackKey
from wain.pack.segment import Compressor
from wain.pack.writer import PackFor, SealedPack
from wain.pageblob.layout import Layout
from wain.pageblob.names import MANIFEST_BLOB, SEAL_BLOB, container_name, packs_blob, parity_blob
from wain.pageblob.paged import encode_paged
from wain.pageblob.parity import Strength
from wain.storage.memory import MemoryDraft, MemoryObjects, MemoryPageBlobs, StoredBytes
from wain.tree.manifest import Manifest, PackRef, point_id, sign_manifest
from wain.vault.catalog import FACT_TABLES
from wain.vault.service import Vault
from wain.wire.vault import ProtectionState, Registration, SeedRef

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = "seedaccount"


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **words: float) -> None:
        self.now += timedelta(**words)


class Server:
    """One protected server. `number` makes its keys; packs are of random bytes, as sealed ones are anyway."""

    def __init__(self, number: int = 1) -> None:
        secret = Secret(bytes([number]) * 32)
        self.keys = write_keys(secret)
        self.sign_seed = Secret(bytes([number + 100]) * 32)
        self.rid = RegistrationId(bytes([number]) * 16)
        self.namer = Namer(self.keys.chunk_keys)
        slot = recovery_slot(secret, Secret(bytes([number + 50]) * 32), bytes(16), self.rid)
        self.slots = encode_slots(KeySlots(self.rid, 1, self.keys.restore_public, (slot,)))
        self.registration = Registration(
            self.rid,
            f"server-{number}",
            signing.public_key(self.sign_seed),
            self.keys.restore_public,
            ProtectionState.PROTECTED,
            START - timedelta(days=999),
        )

    def pack(self, size: int = 3000, kind: ChunkType = ChunkType.DATA) -> SealedPack:
        body = os.urandom(size)
        key = PackKey(os.urandom(32))
        writer = WholeWriter(kind, PackFor(self.rid, self.keys.restore_public), key, os.urandom(32))
        step = 1 << 20
        for at in range(0, size, step):
            piece = body[at : at + step]
            writer.add(Compressor().compress([piece], ((self.namer.name(kind, piece), len(piece)),)))
        sealed = writer.finish(self.namer)
        return replace(sealed, stored=memoryview(bytes(sealed.stored)))  # Read-only, so that a pack can be a key.

    def packs(self, count: int, size: int = 3000) -> list[SealedPack]:
        return [self.pack(size) for _ in range(count)]

    def manifest(
        self,
        packs: Sequence[SealedPack],
        seq: int = 1,
        previous: bytes = NO_POINT,
        seed: SeedId = NO_SEED,
        series: bytes = NO_SERIES,
    ) -> bytes:
        refs = tuple(sorted((PackRef(p.id, p.kind, len(p.stored)) for p in packs), key=lambda ref: ref.id))
        bare = Manifest(self.rid, seq, PointId(previous), START, seed, refs, b"sealed details", series=SeriesId(series))
        return sign_manifest(bare, self.sign_seed)


@dataclass
class Shipment:
    """A sealed device, as the data copy finds it."""

    server: Server
    packs: list[SealedPack]
    seed: SeedId = field(default_factory=lambda: SeedId(os.urandom(16)))
    seq: int = 1
    previous: bytes = NO_POINT
    blob_limit: int = 1 << 20
    parity: Strength | None = None
    """With it, all packs are one group."""

    def __post_init__(self) -> None:
        self.manifest = self.server.manifest(self.packs, self.seq, self.previous, self.seed)
        self.container = container_name(self.server.rid, self.seed)
        layout = Layout(self.blob_limit)
        self.places = {pack.id: layout.place(len(pack.stored)) for pack in self.packs}
        bare = Seal(
            DeviceId(b"d" * 16), self.seed, self.server.rid, "order-1", self.container, START,
            self.server.registration.sign_key, point_id(self.manifest), len(self.manifest), bytes(32),
            tuple(JournalPack(pack.id, pack.kind, self.places[pack.id]) for pack in self.packs),
        )  # fmt: skip
        signature = signing.sign(self.server.sign_seed, signing.SEAL, seal_part(bare))
        self.seal = encode_seal(replace(bare, signature=signature))
        self.point = point_id(self.manifest)

    def arrive(self, blobs: MemoryPageBlobs, container: str = "") -> SeedRef:
        """Be copied into an account."""
        into = container or self.container
        lengths: dict[int, int] = {}
        for place in self.places.values():
            lengths[place.blob] = max(lengths.get(place.blob, 0), place.offset + place.length)
        for number, length in lengths.items():
            blobs.create(into, packs_blob(number), length)
        for pack in self.packs:
            place = self.places[pack.id]
            for at in range(0, place.length, 1 << 22):
                body = pack.stored[at : at + (1 << 22)]
                blobs.write_pages(into, packs_blob(place.blob), place.offset + at, body)
        smalls = {SEAL_BLOB: encode_paged(self.seal), MANIFEST_BLOB: encode_paged(self.manifest)}
        if self.parity is not None:
            smalls[parity_blob(0)] = stored_record(*record_of(self.packs, self.parity))
        for name, body in smalls.items():
            blobs.create(into, name, len(body))
            for at in range(0, len(body), 1 << 22):
                blobs.write_pages(into, name, at, body[at : at + (1 << 22)])
        return SeedRef(ACCOUNT, into)

    def spoil(self, blobs: MemoryPageBlobs, pack: SealedPack, at: int = 5000) -> None:
        """Change one byte of a pack in the account."""
        place = self.places[pack.id]
        page = at // 512 * 512
        body = bytearray(blobs.read(self.container, packs_blob(place.blob), place.offset + page, 512))
        body[at - page] ^= 0x40
        blobs.write_pages(self.container, packs_blob(place.blob), place.offset + page, bytes(body))


class Failing:
    """Objects that fail at the `at`-th call (of those in `calls`), before or after the call took effect."""

    def __init__(self, inner: MemoryObjects, at: int, *, after: bool) -> None:
        self._inner, self._left, self._after = inner, at, after
        self.struck = False

    def disarm(self) -> None:
        self._left = 0

    def _call(self, name: str, *args: object) -> object:
        self._left -= 1
        strike = self._left == 0
        if strike and not self._after:
            self.struck = True
            raise WriteFailed("the test's objects", f"{name} was cut before it began")
        answer = getattr(self._inner, name)(*args)
        if strike:
            self.struck = True
            raise WriteFailed("the test's objects", f"{name} was cut after it ended")
        return answer

    def create(self, name: str, body: bytes) -> bool:
        return bool(self._call("create", name, body))

    def draft(self) -> MemoryDraft:
        return MemoryDraft(self)

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def set_aside(self, name: str) -> None:
        self._call("set_aside", name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return bytes(self._call("read", name, offset, length))  # type: ignore[call-overload]

    def uncached(self, name: str) -> StoredBytes:
        return self._call("uncached", name)

    def size(self, name: str) -> int | None:
        return self._inner.size(name)

    def names(self, prefix: str) -> Iterator[str]:
        return self._inner.names(prefix)


class Ground:
    """A vault in a directory, with objects in memory that outlive it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = MemoryObjects()
        self.blobs = MemoryPageBlobs()
        self.clock = Clock()
        self.server = Server()
        self._open: list[Vault] = []

    def vault(self, objects: object = None) -> Vault:
        vault = Vault.open(self.root, lambda _: self.blobs, self.clock, objects or self.objects)
        self._open.append(vault)
        return vault

    def enrolled(self) -> Vault:
        vault = self.vault()
        vault.register(self.server.registration, self.server.slots)
        return vault

    def close(self) -> None:
        for vault in self._open:
            vault.close()

    def facts(self) -> dict[str, list[tuple[object, ...]]]:
        """Return every row of the tables that must follow from the objects."""
        with closing(sqlite3.connect(f"file:{self.root / 'catalog.sqlite'}?mode=ro", uri=True)) as base:
            return {table.name: sorted(base.execute(f"SELECT * FROM {table.name}"), key=repr) for table in FACT_TABLES}


def put_pack(vault: Vault, rid: RegistrationId, pack: PackId, body: bytes | memoryview, step: int = 1 << 20) -> bool:
    """Send a pack in pieces, as an agent does."""
    with closing(vault.upload(rid)) as upload:
        for at in range(0, len(body), step):
            upload.write(body[at : at + step])
        return upload.finish(pack)


def put(vault: Vault, server: Server, packs: Sequence[SealedPack]) -> None:
    for pack in packs:
        put_pack(vault, server.rid, pack.id, pack.stored)


def commit(vault: Vault, server: Server, packs: Sequence[SealedPack], seq: int = 1, previous: bytes = NO_POINT):
    put(vault, server, packs)
    return vault.commit_point(server.rid, server.manifest(packs, seq, previous))


def damage(objects: MemoryObjects, server: Server, pack: PackId, at: int = 5000) -> None:
    """Flip one bit of a pack in the vault's storage."""
    name = f"packs/{server.rid.hex()}/{pack.hex()[:2]}/{pack.hex()}"
    body = bytearray(objects._bodies[name])
    body[at] ^= 1
    objects._bodies[name] = bytes(body)


def until_it_passes(verb: Callable[[int], bool], most: int = 400) -> int:
    """Call `verb(1)`, `verb(2)`, ... until it says that its fault was never reached. Return how often it was."""
    for number in range(1, most):
        if not verb(number):
            return number - 1
    raise AssertionError("the fault was always reached")
