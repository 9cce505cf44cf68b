"""Verifies recovery points: without keys down to the leaf, with the restore key down to every chunk of every file.

Four questions, each adding to the one before: are the points the ones that were signed, in one unbroken chain; is every
pack there with the right size and its footer page; is every byte of it right (`read_data`); and, with the restore key,
does every segment open, does every chunk give its name, and does every file find all its chunks.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from wain.agent.browse import PointView
from wain.agent.pack_checks import CheckLog
from wain.agent.point_packs import StillTravelling
from wain.agent.unlock import OpenKeys
from wain.base.errors import Corrupt, DataError, Malformed, Missing, Refused, RemoteError, WainError
from wain.base.ids import ChunkId, PackId, PointId, RegistrationId
from wain.base.progress import Progress
from wain.base.sizes import MIB
from wain.pack.format import FOOTER_BYTES, LEAF_BYTES, Footer
from wain.pack.index import Location
from wain.pack.reader import PackReader
from wain.pack.slices import WHOLE, Slice
from wain.pack.verify import check_footer, leaf_words, pack_words
from wain.tree.entry import Entry, Kind
from wain.tree.manifest import Manifest, PackRef, check_signature, point_id
from wain.wire.vault import Presence, RecoveryPoint, VaultApi

READ_BYTES: Final = 8 * MIB
"""Read at once: whole leaves."""
ASK_PACKS: Final = 1000
MAX_UNREADABLE: Final = 16
"""So many failed reads in a row mean that the vault, not a pack, is in trouble."""
_INDEXES: Final = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `start` and `end` are the byte range in the pack, `end` excluded."""

    what: str
    """The whole sentence."""
    point: PointId | None = None
    pack: PackId | None = None
    leaf: int | None = None
    start: int = 0
    end: int = 0
    path: bytes = b""
    """The file or directory that suffers, when the restore key was given."""


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to verify: these points (all when none are named).

    With `read_data`, the packs of `part` are read in full, and `checks` is told how each was found. `sign_key` is the
    agent's raw Ed25519 public key where it is known better than from the vault. `head` is the newest (seq, point) that
    the agent remembers: a vault that shows less has lost points or was rolled back.
    """

    points: tuple[PointId, ...] = ()
    read_data: bool = False
    part: Slice = WHOLE
    checks: CheckLog | None = None
    keys: OpenKeys | None = None
    sign_key: bytes | None = None
    head: tuple[int, PointId] | None = None

    def reads(self, pack: PackId) -> bool:
        """Tell whether a pack is to be read in full."""
        return self.read_data and self.part.holds(pack)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked and what was found. Packs in transit are counted and are no finding."""

    points: int
    packs: int
    in_transit: int
    read_packs: int
    """Read in full."""
    read_bytes: int
    segments: int
    """Opened with the restore key."""
    files: int
    """Whose chunks were all looked for."""
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """Return 4 when anything is wrong, otherwise 0."""
        return 4 if self.findings else 0


def verify(vault: VaultApi, rid: RegistrationId, request: VerifyRequest, progress: Progress) -> VerifyReport:
    """Verify recovery points of one registration. Damage is reported, never raised.

    Raises:
        Refused: a named point is not in the vault. RemoteError: the vault cannot be read.
    """
    run = _Verification(vault, rid, request, progress)
    refs = run.chain()
    if request.checks is not None and not request.points and not run.report().findings:
        request.checks.forget_others(refs)
    total = sum(ref.stored_bytes for ref in refs.values() if request.reads(ref.id))
    progress.phase("verify packs", total if request.read_data else None)
    run.packs(refs.values())
    if request.keys is not None:
        for point in run.chosen:
            progress.phase("verify files")
            run.tree(point, request.keys)
    return run.report()


class _Verification:
    def __init__(self, vault: VaultApi, rid: RegistrationId, request: VerifyRequest, progress: Progress) -> None:
        self._vault = vault
        self._rid = rid
        self._request = request
        self._progress = progress
        self._findings: list[Finding] = []
        self._bad: set[tuple[PackId, int]] = set()
        """Segments that do not open, or hold a chunk that does not give its name."""
        self._gone: set[PackId] = set()
        self._indexes: OrderedDict[PackId, dict[ChunkId, Location]] = OrderedDict()
        self._packs = self._in_transit = self._read_packs = self._read_bytes = self._segments = self._files = 0
        self._unreadable = 0
        self.chosen: list[PointId] = []

    def report(self) -> VerifyReport:
        return VerifyReport(
            points=len(self.chosen),
            packs=self._packs,
            in_transit=self._in_transit,
            read_packs=self._read_packs,
            read_bytes=self._read_bytes,
            segments=self._segments,
            files=self._files,
            findings=tuple(self._findings),
        )

    # Points

    def chain(self) -> dict[PackId, PackRef]:
        """Check all manifests and their chain; return the packs of the chosen points."""
        listing = sorted(self._vault.points(self._rid), key=lambda row: row.seq)
        wanted = set(self._request.points) or {row.id for row in listing}
        for point in wanted - {row.id for row in listing}:
            raise Refused(f"point {point.hex()} is not in the vault", "List what there is with: wain points")
        sign_key = self._request.sign_key or self._vault.registration(self._rid).sign_key
        refs: dict[PackId, PackRef] = {}
        before: RecoveryPoint | None = None
        for row in listing:
            manifest = self._manifest(row, before, sign_key)
            before = row
            if row.id not in wanted:
                continue
            self.chosen.append(row.id)
            if manifest is not None:
                refs.update((ref.id, ref) for ref in manifest.packs)
        self._check_head(listing)
        return refs

    def _manifest(self, row: RecoveryPoint, before: RecoveryPoint | None, sign_key: bytes) -> Manifest | None:
        what = f"point {row.seq} ({row.id.hex()})"
        try:
            body = self._vault.manifest(self._rid, row.id)
            if point_id(body) != row.id:
                raise Corrupt(f"the manifest of {what}", "its bytes do not hash to the point's id")
            manifest = check_signature(body, sign_key)
            if manifest.registration != self._rid or manifest.seq != row.seq:
                raise Malformed(f"the manifest of {what}", "it belongs to another registration or another place")
            # Points between may have expired; neighbours must name each other.
            if before is not None and before.seq == row.seq - 1 and manifest.previous != before.id:
                raise Corrupt(what, "it does not follow the point before it: the chain was changed")
        except DataError as error:
            self._find(Finding(str(error), point=row.id))
            return None
        return manifest

    def _check_head(self, listing: list[RecoveryPoint]) -> None:
        if self._request.head is None:
            return
        seq, point = self._request.head
        newest = listing[-1].seq if listing else 0
        at = next((row for row in listing if row.seq == seq), None)
        if newest < seq:
            what = f"the vault ends at point {newest}, this agent made point {seq}: points were lost or hidden"
            self._find(Finding(what, point=point))
        elif at is not None and at.id != point:
            self._find(Finding(f"point {seq} is not the one this agent made: the vault shows another history", at.id))

    # Packs

    def packs(self, refs: Iterable[PackRef]) -> None:
        """Check every pack, in the order of ids."""
        for ref, presence in self._presence(sorted(refs, key=lambda ref: ref.id)):
            self._packs += 1
            if presence is Presence.IN_TRANSIT:
                self._in_transit += 1
            elif presence is Presence.ABSENT:
                self._lose(ref.id, f"{pack_words(ref.id)} is missing")
            else:
                before = len(self._findings)
                self._pack(ref)
                if self._request.reads(ref.id):
                    self._read_packs += 1
                    if self._request.checks is not None:
                        self._request.checks.note(ref.id, whole=len(self._findings) == before)
            self._progress.advance(ref.stored_bytes if self._request.reads(ref.id) else 0, 1)

    def _presence(self, refs: list[PackRef]) -> Iterator[tuple[PackRef, Presence]]:
        for first in range(0, len(refs), ASK_PACKS):
            some = refs[first : first + ASK_PACKS]
            yield from zip(some, self._vault.presence(self._rid, [ref.id for ref in some]), strict=True)

    def _pack(self, ref: PackRef) -> None:
        try:
            size = self._vault.pack_size(self._rid, ref.id)
            if size != ref.stored_bytes:
                raise Corrupt(pack_words(ref.id), f"it is {size} bytes where {ref.stored_bytes} were signed for")
            page = self._vault.read_pack(self._rid, ref.id, size - FOOTER_BYTES, FOOTER_BYTES)
            footer = check_footer(page, ref.id)
            if footer.body_bytes + FOOTER_BYTES != size or footer.kind is not ref.kind:
                raise Malformed(pack_words(ref.id), "its footer tells another size or type than the manifest")
        except DataError as error:
            self._lose(ref.id, str(error))
            return
        if self._request.reads(ref.id):
            stored = self._read_all(ref.id, footer, page)
            if self._request.keys is not None:
                self._open(ref, memoryview(stored), self._request.keys)

    def _lose(self, pack: PackId, what: str) -> None:
        self._gone.add(pack)
        self._find(Finding(what, pack=pack))

    def _read_all(self, pack: PackId, footer: Footer, page: bytes) -> bytearray:
        """Read a pack and judge each leaf; what cannot be read counts as zeros. The footer page was read before."""
        body = bytearray(footer.body_bytes + FOOTER_BYTES)
        body[footer.body_bytes :] = page
        for start in range(0, footer.body_bytes, READ_BYTES):
            end = min(start + READ_BYTES, footer.body_bytes)
            piece = self._read(pack, start, end)
            if piece is not None:
                body[start:end] = piece
                continue
            for at in range(start, end, LEAF_BYTES):
                stop = min(at + LEAF_BYTES, end)
                leaf = self._read(pack, at, stop)
                if leaf is not None:
                    body[at:stop] = leaf
        with memoryview(body) as view:
            for number, wanted in enumerate(footer.leaves):
                start = number * LEAF_BYTES
                end = min(start + LEAF_BYTES, footer.body_bytes)
                if blake3(view[start:end]).digest() != wanted:
                    what = f"{pack_words(pack)} is damaged: {leaf_words(number)}"
                    self._find(Finding(what, pack=pack, leaf=number, start=start, end=end))
        return body

    def _read(self, pack: PackId, start: int, end: int) -> bytes | None:
        try:
            piece = self._vault.read_pack(self._rid, pack, start, end - start)
        except DataError:
            return None
        except RemoteError:
            # One unreadable place is a finding; a vault that reads nothing at all is an error.
            self._unreadable += 1
            if self._unreadable > MAX_UNREADABLE:
                raise
            return None
        self._unreadable = 0
        self._read_bytes += len(piece)
        return piece if len(piece) == end - start else None

    def _open(self, ref: PackRef, stored: memoryview, keys: OpenKeys) -> None:
        """Open every segment of a pack that is in memory, and name every chunk again."""
        try:
            reader = PackReader(lambda at, size: stored[at : at + size], len(stored), ref.id, keys.key)
            index = reader.index
        except WainError as error:
            self._lose(ref.id, str(error))
            return
        chunks: list[list[tuple[ChunkId, int, int]]] = [[] for _ in index.segments]
        for one in index.chunks:
            chunks[one.segment].append((one.chunk, one.offset, one.length))
        for number, row in enumerate(index.segments):
            try:
                plain = memoryview(reader.segment(number))
                for chunk, offset, length in chunks[number]:
                    if keys.namer.name(ref.kind, plain[offset : offset + length]) != chunk:
                        where = f"in segment {number}, the bytes at {offset} are not chunk {chunk.hex()}"
                        raise Corrupt(pack_words(ref.id), where)
            except DataError as error:
                self._bad.add((ref.id, number))
                leaf, end = row.offset // LEAF_BYTES, row.offset + row.stored
                self._find(Finding(str(error), pack=ref.id, leaf=leaf, start=row.offset, end=end))
            self._segments += 1

    # Files

    def tree(self, point: PointId, keys: OpenKeys) -> None:
        """Look for every chunk of every file of a point."""
        try:
            view = PointView(self._vault, self._rid, point, keys.key, keys.namer)
        except DataError as error:
            self._find(Finding(f"point {point.hex()} cannot be opened: {error}", point=point))
            return
        with view:
            view.index.load()
            for damage in view.index_damage:
                if not isinstance(damage, StillTravelling):
                    self._find(Finding(f"the index of the point is not whole: {damage}", point=point))
            for path, entry in view.walk(b"/", lambda path, error: self._listing(point, path, error)):
                if entry.kind is Kind.FILE:
                    self._file(view, path, entry)

    def _listing(self, point: PointId, path: bytes, error: WainError) -> None:
        if not isinstance(error, StillTravelling):
            self._find(Finding(f"the listing of a directory cannot be read: {error}", point=point, path=path))

    def _file(self, view: PointView, path: bytes, entry: Entry) -> None:
        self._files += 1
        if self._files % 1000 == 0:
            self._progress.advance(0, 1000)
        extents = entry.content.extents
        want = sum(length for _, length in extents) if extents else entry.stat.size
        have = 0
        try:
            for chunk in view.file_chunks(entry):
                home = view.locate(chunk)
                self._check_home(view, chunk, home)
                have += home.length
            if have != want:
                raise Corrupt("the file", f"its chunks hold {have} bytes where it has {want}")
        except StillTravelling:
            return
        except DataError as error:
            self._find(Finding(str(error), point=view.point, path=path))

    def _check_home(self, view: PointView, chunk: ChunkId, home: Location) -> None:
        """Refuse a chunk whose pack is lost, whose segment is bad, or that lies elsewhere than the index says."""
        if home.pack in self._gone:
            raise Missing(f"{pack_words(home.pack)}, which holds chunk {chunk.hex()},")
        if (home.pack, home.segment) in self._bad:
            raise Corrupt(pack_words(home.pack), f"segment {home.segment}, which holds chunk {chunk.hex()}")
        if self._index_of(view, home.pack).get(chunk) != home:
            raise Corrupt("the index", f"chunk {chunk.hex()} is not where it says in {pack_words(home.pack)}")

    def _index_of(self, view: PointView, pack: PackId) -> dict[ChunkId, Location]:
        found = self._indexes.get(pack)
        if found is None:
            chunks = view.packs.reader(pack).index.chunks
            found = {one.chunk: Location(pack, one.segment, one.offset, one.length) for one in chunks}
            self._indexes[pack] = found
            if len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(pack)
        return found

    def _find(self, finding: Finding) -> None:
        self._findings.append(finding)
