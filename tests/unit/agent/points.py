"""Small recovery points, made with the real codecs, in a vault that lives in memory and can only be read."""

import secrets
import stat as modes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from unit.pack.packing import WholeWriter
from wain.agent.browse import PointView
from wain.base.errors import Missing, Truncated
from wain.base.ids import NO_POINT, NO_SEED, ChunkId, PackId, PointId, RegistrationId, SeedId
from wain.chunk.names import ChunkType, Namer
from wain.keys.secret import Secret, restore_key, write_keys
from wain.keys.signing import public_key
from wain.pack.cipher import PackKey
from wain.pack.index import Location, encode_index
from wain.pack.segment import Compressor
from wain.pack.writer import PackFor, SealedPack
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.format import PieceBuilder, encode_entry, encode_piece
from wain.tree.lists import encode_list
from wain.tree.manifest import Counts, Details, Manifest, PackRef, point_id, seal_details, sign_manifest
from wain.wire.vault import PointState, Presence, ProtectionState, RecoveryPoint, Registration

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RID = RegistrationId(bytes(range(16)))
SECRET = Secret(bytes(range(32)))
SIGN_SEED = Secret(bytes(range(1, 33)))
KEYS = write_keys(SECRET)
KEY = restore_key(SECRET)
NAMER = Namer(KEYS.chunk_keys)
SEGMENT_BYTES = 64 << 10


@dataclass
class ReadableVault:
    """The reading half of `VaultApi`, on dictionaries. `reads` records what was asked for."""

    packs: dict[PackId, bytes] = field(default_factory=dict)
    travelling: set[PackId] = field(default_factory=set)
    manifests: dict[PointId, bytes] = field(default_factory=dict)
    listing: list[RecoveryPoint] = field(default_factory=list)
    reads: list[tuple[PackId, int, int]] = field(default_factory=list)
    before_read: Callable[[], None] = lambda: None

    def registration(self, rid: RegistrationId) -> Registration:
        if rid != RID:
            raise Missing("the registration")
        return Registration(
            RID, "server", public_key(SIGN_SEED), KEYS.restore_public, ProtectionState.PROTECTED, NOW
        )  # fmt: skip

    def presence(self, rid: RegistrationId, packs: Sequence[PackId]) -> list[Presence]:
        return [
            Presence.IN_TRANSIT if pack in self.travelling
            else Presence.IN_VAULT if pack in self.packs
            else Presence.ABSENT
            for pack in packs
        ]  # fmt: skip

    def points(self, rid: RegistrationId) -> list[RecoveryPoint]:
        return list(self.listing)

    def manifest(self, rid: RegistrationId, point: PointId) -> bytes:
        if point not in self.manifests:
            raise Missing(f"point {point.hex()}")
        return self.manifests[point]

    def pack_size(self, rid: RegistrationId, pack: PackId) -> int:
        return len(self._stored(pack))

    def read_pack(self, rid: RegistrationId, pack: PackId, offset: int, length: int) -> bytes:
        self.before_read()
        self.reads.append((pack, offset, length))
        body = self._stored(pack)[offset : offset + length]
        if len(body) != length:
            raise Truncated(f"pack {pack.hex()}", want=offset + length, have=offset + len(body))
        return body

    def _stored(self, pack: PackId) -> bytes:
        if pack not in self.packs or pack in self.travelling:
            raise Missing(f"pack {pack.hex()}")
        return self.packs[pack]

    def flip(self, pack: PackId, at: int) -> None:
        """Change one bit of a stored pack."""
        body = bytearray(self.packs[pack])
        body[at] ^= 1
        self.packs[pack] = bytes(body)


def stat(size: int = 0, mode: int = 0o644, **over: int) -> Stat:
    """A plain stat, owned by root, with a time that is no round number."""
    base = Stat(mode, 0, 0, size, 1_600_000_000_123_456_789, 1_600_000_001_000_000_000, 77, 0, 1)
    return replace(base, **over)


class PointBuilder:
    """Collects chunks into packs. Make entries with `file` and the like, then `finish` with those of `/`."""

    def __init__(self, vault: ReadableVault | None = None, pack_bytes: int = 64 << 20) -> None:
        self.vault = vault or ReadableVault()
        self._owner = PackFor(RID, KEYS.restore_public, pack_bytes)
        self._compressor = Compressor()
        self._open: dict[ChunkType, WholeWriter] = {}
        self._gathered: dict[ChunkType, list[tuple[ChunkId, bytes]]] = {kind: [] for kind in ChunkType}
        self._known: set[ChunkId] = set()
        self.sealed: list[SealedPack] = []
        self._inode = 1000

    # Chunks

    def chunk(self, kind: ChunkType, body: bytes, chunk: ChunkId | None = None) -> ChunkId:
        """Store a chunk; under a false name when one is given."""
        name = chunk or NAMER.name(kind, body)
        if name not in self._known:
            self._known.add(name)
            self._gathered[kind].append((name, body))
            if sum(len(one) for _, one in self._gathered[kind]) >= SEGMENT_BYTES:
                self._close_segment(kind)
        return name

    def _close_segment(self, kind: ChunkType) -> None:
        gathered = self._gathered[kind]
        if not gathered:
            return
        segment = self._compressor.compress(
            [body for _, body in gathered], tuple((name, len(body)) for name, body in gathered)
        )
        self._gathered[kind] = []
        if kind in self._open and not self._open[kind].has_room(segment):
            self._close_pack(kind)
        if kind not in self._open:
            key = PackKey(secrets.token_bytes(32))
            self._open[kind] = WholeWriter(kind, self._owner, key, secrets.token_bytes(32))
        self._open[kind].add(segment)

    def _close_pack(self, kind: ChunkType) -> None:
        self._close_segment(kind)
        writer = self._open.pop(kind, None)
        if writer is not None:
            pack = writer.finish(_Believing())
            self.sealed.append(pack)
            self.vault.packs[pack.id] = pack.stored

    # Entries

    def file(self, name: bytes, body: bytes = b"", cut: int = 1 << 20, **over: int) -> Entry:
        """A dense file, cut into chunks of `cut` bytes."""
        chunks = tuple(self.chunk(ChunkType.DATA, body[at : at + cut]) for at in range(0, len(body), cut))
        return Entry(name, Kind.FILE, self._stat(len(body), **over), Content(chunks))

    def listed(self, name: bytes, body: bytes, cut: int, **over: int) -> Entry:
        """A file whose chunk ids lie in lists of 3."""
        chunks = self.file(name, body, cut).content.chunks
        lists = [self.chunk(ChunkType.TREE, encode_list(chunks[at : at + 3])) for at in range(0, len(chunks), 3)]
        return Entry(name, Kind.FILE, self._stat(len(body), **over), Content(tuple(lists), listed=True))

    def sparse(self, name: bytes, size: int, runs: dict[int, bytes], cut: int = 1 << 20) -> Entry:
        """A file with holes: `runs` maps offsets to data."""
        data = b"".join(runs[at] for at in sorted(runs))
        extents = tuple((at, len(runs[at])) for at in sorted(runs)) or ((size, 0),)
        chunks = tuple(self.chunk(ChunkType.DATA, data[at : at + cut]) for at in range(0, len(data), cut))
        return Entry(name, Kind.FILE, self._stat(size), Content(chunks, extents))

    def directory(self, name: bytes, entries: Sequence[Entry], mode: int = 0o755, **over: int) -> Entry:
        """A directory; entries may come in any order."""
        return Entry(name, Kind.DIRECTORY, self._stat(0, mode=mode, **over), Content(self.pieces(entries)))

    def symlink(self, name: bytes, target: bytes, **over: int) -> Entry:
        """A symbolic link."""
        return Entry(name, Kind.SYMLINK, self._stat(len(target), mode=0o777, **over), target=target)

    def node(self, name: bytes, kind: Kind, rdev: tuple[int, int] = (0, 0), **over: int) -> Entry:
        """A FIFO, socket or device."""
        return Entry(name, kind, self._stat(0, **over), rdev=rdev)

    def _stat(self, size: int, **over: int) -> Stat:
        self._inode += 1
        return stat(size, **{"inode": self._inode, **over})

    def pieces(self, entries: Sequence[Entry]) -> tuple[ChunkId, ...]:
        """Store a directory's pieces."""
        builder = PieceBuilder()
        for entry in sorted(entries, key=lambda entry: entry.name):
            builder.add(encode_entry(entry))
        return tuple(self.chunk(ChunkType.TREE, piece) for piece in builder.finish())

    def small_pieces(self, name: bytes, entries: Sequence[Entry], each: int) -> Entry:
        """A directory split into pieces of `each` entries, as a very large one would be."""
        ordered = [encode_entry(entry) for entry in sorted(entries, key=lambda entry: entry.name)]
        chunks = [
            self.chunk(ChunkType.TREE, encode_piece(ordered[at : at + each])) for at in range(0, len(ordered), each)
        ]
        return Entry(name, Kind.DIRECTORY, self._stat(0, mode=0o755), Content(tuple(chunks)))

    # The point

    def finish(
        self, entries: Sequence[Entry], seed: SeedId = NO_SEED, drop: frozenset[ChunkId] = frozenset()
    ) -> PointId:
        """Seal everything and commit the point. Chunks in `drop` are left out of the index."""
        root = self.pieces(entries)
        for kind in (ChunkType.DATA, ChunkType.TREE):
            self._close_pack(kind)
        table = encode_index(
            (one.chunk, Location(pack.id, one.segment, one.offset, one.length))
            for pack in self.sealed if pack.kind is not ChunkType.INDEX
            for one in pack.chunks if one.chunk not in drop
        )  # fmt: skip
        index = tuple(self.chunk(ChunkType.INDEX, table[at : at + 4096]) for at in range(0, len(table), 4096))
        self._close_pack(ChunkType.INDEX)
        details = Details(root, (index,), "server", (b"/",), Counts(), "test")
        return self._commit(details, seed)

    def _commit(self, details: Details, seed: SeedId) -> PointId:
        listing = self.vault.listing
        packs = sorted((PackRef(pack.id, pack.kind, len(pack.stored)) for pack in self.sealed), key=lambda ref: ref.id)
        previous = listing[-1].id if listing else NO_POINT
        sealed = seal_details(details, KEYS.restore_public)
        manifest = Manifest(RID, len(listing) + 1, previous, NOW, seed, tuple(packs), sealed)
        body = sign_manifest(manifest, SIGN_SEED)
        point = point_id(body)
        self.vault.manifests[point] = body
        size = sum(ref.stored_bytes for ref in packs)
        row = RecoveryPoint(point, manifest.seq, PointState.COMPLETE, NOW, NOW, len(packs), size, None)
        listing.append(row)
        return point

    def view(self, entries: Sequence[Entry], **over: object) -> PointView:
        """Finish, and open the point."""
        return PointView(self.vault, RID, self.finish(entries, **over), KEY, NAMER)

    def packs_of(self, kind: ChunkType) -> list[SealedPack]:
        """The sealed packs of one kind."""
        return [pack for pack in self.sealed if pack.kind is kind]


class _Believing(Namer):
    """Lets a hostile writer seal a chunk under a false name: names what it was told to."""

    def __init__(self) -> None:
        super().__init__(KEYS.chunk_keys)

    def name(self, kind: ChunkType, body: bytes | memoryview) -> ChunkId:
        return _FALSE.get(bytes(body)) or super().name(kind, body)


_FALSE: dict[bytes, ChunkId] = {}


def falsely(body: bytes, chunk: ChunkId) -> None:
    """From now on the sealing side believes that `body` is called `chunk`."""
    _FALSE[body] = chunk


def permissions(mode: int) -> int:
    """The permission bits of a mode."""
    return modes.S_IMODE(mode)
