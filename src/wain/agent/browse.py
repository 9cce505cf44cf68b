"""Looks into a recovery point: its directories in path order, any path at once, any chunk by its id.

Nothing is believed that does not prove itself: the manifest by its signature and hash, every chunk by its keyed id.
Memory does not grow with the point: open directories are a stack, a directory is read piece by piece, and so is the
index when it is large.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Final, Self

from wain.agent.point_index import PointIndex
from wain.agent.point_packs import PointPacks, StillTravelling
from wain.base.errors import Corrupt, DataError, Malformed, Missing, Refused, WainError
from wain.base.ids import ChunkId, PointId, RegistrationId
from wain.chunk.names import ChunkType, Namer
from wain.keys.secret import RestoreKey
from wain.pack.index import Location
from wain.pack.verify import pack_words
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.format import decode_piece
from wain.tree.lists import decode_list
from wain.tree.manifest import Details, Manifest, check_signature, open_details, point_id
from wain.wire.vault import VaultApi

CACHED_PIECES: Final = 16
CACHED_ENTRIES: Final = 1 << 15
"""In all cached pieces, about 30 MB, unless the newest one alone has more."""
KNOWN_FIRSTS: Final = 1 << 16
"""So many pieces' first names are remembered, at most 20 MB: a name among millions is found by them."""

Damage = Callable[[bytes, WainError], None]
"""Told of a directory, by its path, that cannot be read in full, and why."""

_AFTER_ALL: Final = b"\xff" * 256
"""Longer than any name, and after all of them."""
_ROOT_STAT: Final = Stat(0o755, 0, 0, 0, 0, 0, 0, 0, 1)


class PointView:
    """One recovery point, opened for reading. Use it from one thread.

    Raises (opening):
        Missing: no such point. Corrupt, Malformed: the manifest is not what was signed.
        CommitmentMismatch: sealed for another key.
        StillTravelling: the packs with its index are on a device.
    Raises (all methods):
        DataError: stored bytes are wrong or missing; StillTravelling, RemoteError: they are not at hand.
    """

    def __init__(self, vault: VaultApi, rid: RegistrationId, point: PointId, key: RestoreKey, namer: Namer) -> None:
        self.point = point
        self.namer = namer
        self.manifest = trusted_manifest(vault, rid, point)
        self.details: Details = open_details(self.manifest, key)
        self.packs = PointPacks(vault, rid, self.manifest, key)
        self._pieces: OrderedDict[ChunkId, Sequence[Entry]] = OrderedDict()
        self._cached_entries = 0
        self._firsts: dict[ChunkId, bytes] = {}
        """The first name in each of the pieces that were searched; of an empty piece, a name that no entry has."""
        self.index = PointIndex(self.packs, self.details.index, partial(self._proven, ChunkType.INDEX))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index and the caches."""
        self.index.close()
        self._pieces.clear()
        self._cached_entries = 0

    # Chunks

    @property
    def index_damage(self) -> Sequence[WainError]:
        """Why parts of the index are not at hand, as far as they were asked for; empty when all is well."""
        return self.index.damage

    def locate(self, chunk: ChunkId) -> Location:
        """Return where a chunk lies. Raises as `PointIndex.locate`."""
        return self.index.locate(chunk)

    def read_chunk(self, kind: ChunkType, chunk: ChunkId) -> bytes:
        """Return a chunk's bytes, proven by its id."""
        return self._proven(kind, chunk, self.locate(chunk))

    def _proven(self, kind: ChunkType, chunk: ChunkId, home: Location | None) -> bytes:
        if home is None:
            raise Missing(f"chunk {chunk.hex()} of the {kind.name.lower()}")
        segment = self.packs.segment(home.pack, home.segment)
        body = segment[home.offset : home.offset + home.length]
        if len(body) != home.length or self.namer.name(kind, body) != chunk:
            where = f"the bytes at {home.offset} of segment {home.segment} are not chunk {chunk.hex()}"
            raise Corrupt(pack_words(home.pack), where)
        return body

    def file_chunks(self, entry: Entry) -> Iterator[ChunkId]:
        """Iterate over the ids of a file's chunks, however many there are."""
        if not entry.content.listed:
            yield from entry.content.chunks
            return
        for chunk in entry.content.chunks:
            yield from decode_list(self.read_chunk(ChunkType.TREE, chunk))

    # The tree

    def root(self) -> Entry:
        """Return `/` as an entry: it has no name and no metadata of its own."""
        return Entry(b"", Kind.DIRECTORY, _ROOT_STAT, Content(self.details.root))

    def entry(self, path: bytes) -> Entry:
        """Return the entry at an absolute path.

        Raises:
            Refused: there is none.
        """
        entry = self.root()
        for name in split_path(path):
            child = self.child(entry, name) if entry.kind is Kind.DIRECTORY else None
            if child is None:
                hint = "List what the point holds with: wain ls"
                raise Refused(f"{path.decode(errors='replace')} is not in this recovery point", hint)
            entry = child
        return entry

    def list(self, path: bytes) -> Iterator[Entry]:
        """Iterate over the entries of a directory by name; a path that is no directory gives its own entry.

        Raises:
            Refused: there is no such path.
        """
        entry = self.entry(path)
        return self.entries(entry.content.chunks) if entry.kind is Kind.DIRECTORY else iter((entry,))

    def walk(self, path: bytes = b"/", damage: Damage | None = None) -> Iterator[tuple[bytes, Entry]]:
        """Iterate in path order over the entry at `path` (not over `/` itself) and everything below it.

        With `damage`, directories that cannot be read are reported and the walk goes on beside them.

        Raises:
            Refused: there is no such path.
        """
        entry = self.entry(path)
        clean = b"/" + b"/".join(split_path(path)) if split_path(path) else b""
        if clean:
            yield clean, entry
        if entry.kind is not Kind.DIRECTORY:
            return
        stack = [(clean, self.entries(entry.content.chunks, clean, damage))]
        while stack:
            above, entries = stack[-1]
            for child in entries:
                here = above + b"/" + child.name
                yield here, child
                if child.kind is Kind.DIRECTORY:
                    stack.append((here, self.entries(child.content.chunks, here, damage)))
                    break
            else:
                stack.pop()

    def entries(self, chunks: Iterable[ChunkId], path: bytes = b"", damage: Damage | None = None) -> Iterator[Entry]:
        """Iterate over the entries of a directory's pieces, or of some of them, by name.

        With `damage`, a piece that cannot be read is reported as one of the directory at `path`, and left out.
        """
        last = b""
        for chunk in chunks:
            try:
                entries = self._piece(chunk)
                if entries and entries[0].name <= last:
                    raise Malformed("tree piece", f"{entries[0].name!r} does not follow {last!r} of the piece before")
            except (DataError, StillTravelling) as error:
                if damage is None:
                    raise
                damage(path or b"/", error)
                continue
            yield from entries
            last = entries[-1].name if entries else last

    def _piece(self, chunk: ChunkId) -> Sequence[Entry]:
        found = self._pieces.get(chunk)
        if found is None:
            found = self._pieces[chunk] = decode_piece(self.read_chunk(ChunkType.TREE, chunk))
            self._cached_entries += len(found)
            self._forget_pieces()
        else:
            self._pieces.move_to_end(chunk)
        return found

    def _forget_pieces(self) -> None:
        """Forget what was not wanted for the longest time; the newest piece always stays."""
        pieces = self._pieces
        while len(pieces) > CACHED_PIECES or (self._cached_entries > CACHED_ENTRIES and len(pieces) > 1):
            self._cached_entries -= len(pieces.popitem(last=False)[1])

    def _first(self, chunk: ChunkId) -> bytes:
        """Return the first name in a piece."""
        known = self._firsts.get(chunk)
        if known is None:
            entries = self._piece(chunk)
            if len(self._firsts) >= KNOWN_FIRSTS:
                self._firsts.clear()
            known = self._firsts[chunk] = entries[0].name if entries else _AFTER_ALL
        return known

    def child(self, directory: Entry, name: bytes) -> Entry | None:
        """Return the entry of a name in a directory, or None: by halves over its pieces, then by halves within one."""
        chunks = directory.content.chunks
        low, high = 0, len(chunks) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._first(chunks[middle]) <= name:
                low = middle
            else:
                high = middle - 1
        entries = self._piece(chunks[low]) if chunks else []
        at = bisect_left(entries, name, key=attrgetter("name"))
        return entries[at] if at < len(entries) and entries[at].name == name else None


def split_path(path: bytes) -> tuple[bytes, ...]:
    """Return the components of an absolute path.

    Raises:
        Refused: the path climbs with `..`.
    """
    names = tuple(name for name in path.split(b"/") if name not in (b"", b"."))
    if b".." in names:
        raise Refused(f"{path.decode(errors='replace')} climbs with '..'", "Give the path from the root.")
    return names


def trusted_manifest(vault: VaultApi, rid: RegistrationId, point: PointId) -> Manifest:
    """Return a point's manifest, checked against its id, its registration and the registration's signing key.

    Raises:
        Missing: no such point. Corrupt, Malformed: these bytes are not that point.
    """
    body = vault.manifest(rid, point)
    if point_id(body) != point:
        raise Corrupt(f"the manifest of point {point.hex()}", "its bytes do not hash to the point's id")
    manifest = check_signature(body, vault.registration(rid).sign_key)
    if manifest.registration != rid:
        raise Malformed(f"the manifest of point {point.hex()}", "it belongs to another registration")
    return manifest
