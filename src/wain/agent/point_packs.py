"""The packs of one recovery point, opened with the restore key and read from the vault."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from wain.base.errors import Missing, Refused, WainError
from wain.base.ids import NO_SEED, PackId, RegistrationId, SeedId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.keys.secret import RestoreKey
from wain.pack.reader import PackReader
from wain.pack.verify import pack_words
from wain.tree.manifest import Manifest, PackRef
from wain.wire.vault import Presence, VaultApi

OPEN_PACKS: Final = 16
ASK_PACKS: Final = 1000
SEGMENT_CACHE_BYTES: Final = 32 * MIB


class StillTravelling(WainError):
    """Bytes that are on a device and not yet in the vault: nothing is wrong, they cannot be read yet."""

    hint = "Wait until the seed was imported, then repeat."

    def __init__(self, pack: PackId, seed: SeedId) -> None:
        super().__init__()
        self.pack = pack
        self.seed = seed

    def __str__(self) -> str:
        seed = "a seed" if self.seed == NO_SEED else f"seed {self.seed.hex()}"
        return f"{pack_words(self.pack)} is still travelling on {seed}"


class PointPacks:
    """Readers and decoded segments of a point's packs, each in a small cache. Safe to share between threads.

    Raises (all methods):
        StillTravelling: the pack is in transit. Missing: it is nowhere.
        Truncated, Corrupt, Malformed, CommitmentMismatch: its bytes are wrong.
        RemoteError: the vault cannot be read now.
    """

    def __init__(self, vault: VaultApi, rid: RegistrationId, manifest: Manifest, key: RestoreKey) -> None:
        self.refs: dict[PackId, PackRef] = {ref.id: ref for ref in manifest.packs}
        self.travelling: SeedId = manifest.seed
        """The seed that packs in transit are on, as far as is known."""
        self._vault = vault
        self._rid = rid
        self._key = key
        self._lock = threading.RLock()
        self._readers: OrderedDict[PackId, PackReader] = OrderedDict()
        self._segments: OrderedDict[tuple[PackId, int], bytes] = OrderedDict()
        self._cached_bytes = 0

    def of_kind(self, kind: ChunkType) -> list[PackRef]:
        """Return the point's packs of one kind, by id."""
        return [ref for ref in self.refs.values() if ref.kind is kind]

    def presence(self, refs: Sequence[PackRef]) -> Iterator[tuple[PackRef, Presence]]:
        """Yield where each pack is, asking the vault for many at a time."""
        for first in range(0, len(refs), ASK_PACKS):
            some = refs[first : first + ASK_PACKS]
            yield from zip(some, self._vault.presence(self._rid, [ref.id for ref in some]), strict=True)

    def read(self, pack: PackId, offset: int, length: int) -> bytes:
        """Return stored bytes of a pack. Reads come one after the other: a disk does best so."""
        with self._lock:
            try:
                return self._vault.read_pack(self._rid, pack, offset, length)
            except (Missing, Refused) as error:
                raise self._absence(pack, error) from error

    def _absence(self, pack: PackId, error: WainError) -> WainError:
        presence = self._vault.presence(self._rid, [pack])[0]
        if presence is Presence.IN_TRANSIT:
            return StillTravelling(pack, self.travelling)
        return Missing(pack_words(pack)) if isinstance(error, Missing) else error

    def reader(self, pack: PackId) -> PackReader:
        """Return an opened pack, its index decoded."""
        with self._lock:
            found = self._readers.get(pack)
            if found is not None:
                self._readers.move_to_end(pack)
                return found
            ref = self.refs.get(pack)
            if ref is None:
                raise Missing(f"{pack_words(pack)}, which the recovery point does not list,")
            found = PackReader(lambda at, size: self.read(pack, at, size), ref.stored_bytes, pack, self._key)
            _ = found.segments  # Decoded once, here: later users may be other threads.
            self._readers[pack] = found
            if len(self._readers) > OPEN_PACKS:
                self._readers.popitem(last=False)
            return found

    def segment(self, pack: PackId, number: int) -> bytes:
        """Return the plaintext of a segment, from the cache when it was read lately."""
        with self._lock:
            found = self._segments.get((pack, number))
            if found is not None:
                self._segments.move_to_end((pack, number))
                return found
            reader = self.reader(pack)
            if number >= len(reader.segments):
                raise Missing(f"segment {number} of {pack_words(pack)}")
            found = reader.segment(number)
            self._segments[pack, number] = found
            self._cached_bytes += len(found)
            while self._cached_bytes > SEGMENT_CACHE_BYTES and len(self._segments) > 1:
                self._cached_bytes -= len(self._segments.popitem(last=False)[1])
            return found
