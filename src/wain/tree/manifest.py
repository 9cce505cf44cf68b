"""A recovery point's manifest: what its agent signed, what a vault without keys can check, and the sealed details.

Layout and rules: FORMAT.md, "Manifest" and "Details". The signature stands over the literal bytes before it; it is
checked before anything is parsed. A point's id is the hash of the whole manifest, signature included, and each
manifest names the one before it: a vault can hide points, but it cannot reorder, fork or forge them unseen.
"""

import struct
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Malformed, TooLarge, Truncated
from wain.base.ids import (
    HASH_BYTES,
    NO_POINT,
    NO_SEED,
    NO_SERIES,
    UUID_BYTES,
    ChunkId,
    PackId,
    PointId,
    RegistrationId,
    SeedId,
    SeriesId,
)
from wain.base.moment import from_ns, to_ns
from wain.base.sizes import BLOCK_BYTES, MIB
from wain.chunk.names import ChunkType
from wain.keys import signing
from wain.keys.sealing import SEAL_OVERHEAD_BYTES, open_sealed, seal_to
from wain.keys.secret import RestoreKey, Secret
from wain.keys.signing import SIGNATURE_BYTES
from wain.pack.format import FOOTER_BYTES, MAX_PACK_BYTES

MANIFEST_MAGIC: Final = b"WAINPOIN"
MANIFEST_VERSION: Final = 1
SERIES_VERSION: Final = 2
"""Of a manifest that names a series, and of no other: what every Wain reads is written wherever it can be."""
MAX_PACKS: Final = 1 << 22
"""256 TiB of full packs."""
MAX_STORED_BYTES: Final = MAX_PACK_BYTES + FOOTER_BYTES
"""The most a pack occupies (pack/FORMAT.md)."""
MAX_DETAILS_BYTES: Final = 64 * MIB
PACK_REF_BYTES: Final = 41
MANIFEST_FIXED_BYTES: Final = 158
"""A manifest without packs and details."""
MAX_MANIFEST_BYTES: Final = MANIFEST_FIXED_BYTES + MAX_PACKS * PACK_REF_BYTES + MAX_DETAILS_BYTES

DETAILS_MAGIC: Final = b"WAINDTLS"
DETAILS_VERSION: Final = 1
DETAILS_LABEL: Final = b"wain point details v1"
DETAILS_FIXED_BYTES: Final = 82
"""Details without ids, paths and texts."""
MAX_PLAIN_BYTES: Final = MAX_DETAILS_BYTES - SEAL_OVERHEAD_BYTES
MAX_ROOT_PIECES: Final = 1 << 16
MAX_INDEX_SEGMENTS: Final = 1 << 16
MAX_SEGMENT_CHUNKS: Final = 1 << 16
MAX_HOST_BYTES: Final = 1024
MAX_ROOTS: Final = 1 << 16
MAX_ROOT_BYTES: Final = 1 << 16
MAX_TOOL_BYTES: Final = 255

_MANIFEST: Final = "manifest"
_DETAILS: Final = "point details"
_PACK_REF: Final = struct.Struct("<32sBQ")
_TYPES: Final = {int(kind): kind for kind in ChunkType}


@dataclass(frozen=True, slots=True)
class PackRef:
    """A pack that a recovery point needs. `stored_bytes` is the pack's whole length, footer page included."""

    id: PackId
    kind: ChunkType
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One recovery point, as its agent signed it. `created_at` is the agent's clock, for people only."""

    registration: RegistrationId
    seq: int
    """1 for the first point of a registration, then one more for each."""
    previous: PointId
    """The point before it; NO_POINT exactly for the first."""
    created_at: datetime
    seed: SeedId
    """The seed that carries it; NO_SEED when it goes over the wire."""
    packs: tuple[PackRef, ...]
    """Every pack the point needs, strictly by id."""
    details: bytes
    """HPKE-sealed `Details`: `seal_details`."""
    signature: bytes = bytes(SIGNATURE_BYTES)
    series: SeriesId = NO_SERIES
    """NO_SERIES for the policy's files. Retention judges each series by itself."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a backup saw and stored. `new_bytes` is plaintext not stored before, `stored_bytes` what it became."""

    files: int = 0
    directories: int = 0
    others: int = 0
    source_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Details:
    """The part of a recovery point that only the restore key opens."""

    root: tuple[ChunkId, ...]
    """The tree pieces of `/`, in name order; at least one."""
    index: tuple[tuple[ChunkId, ...], ...]
    """For each index segment, oldest first, the chunks whose bytes end to end are the segment."""
    host: str
    roots: tuple[bytes, ...]
    """The protected paths, as the policy lists them."""
    counts: Counts
    tool: str
    """Name and version of the program that wrote it."""


def moment_ns(what: str, moment: datetime) -> int:
    """Return a moment as our formats write it.

    Raises:
        Malformed: outside what 64 bits of nanoseconds reach, the years 1678 to 2261.
    """
    count_ns = to_ns(moment)
    if not -(1 << 63) <= count_ns < 1 << 63:
        raise Malformed(what, f"the moment {moment} is out of range")
    return count_ns


def read_moment(read: Decoder) -> datetime:
    """Return the next eight bytes as a moment.

    Raises:
        Malformed: finer than a microsecond, which no datetime of ours was.
        Truncated: there are no eight bytes.
    """
    count_ns = read.int64()
    if count_ns % 1000:
        raise read.refuse("a moment has digits below a microsecond")
    return from_ns(count_ns)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest's bytes, its signature last.

    Raises:
        Malformed, TooLarge: a field that the format does not allow.
    """
    _check_manifest(manifest)
    body = (
        Encoder(MANIFEST_MAGIC, MANIFEST_VERSION if manifest.series == NO_SERIES else SERIES_VERSION)
        .fixed(manifest.registration, UUID_BYTES)
        .uint(manifest.seq, 4)
        .fixed(manifest.previous, HASH_BYTES)
        .int64(moment_ns(_MANIFEST, manifest.created_at))
        .fixed(manifest.seed, UUID_BYTES)
        .raw(b"" if manifest.series == NO_SERIES else manifest.series)
        .uint(len(manifest.packs), 4)
    )
    pack = _PACK_REF.pack
    body.raw(b"".join([pack(ref.id, ref.kind, ref.stored_bytes) for ref in manifest.packs]))
    return body.blob(manifest.details).fixed(manifest.signature, SIGNATURE_BYTES).finish()


def decode_manifest(body: bytes | memoryview) -> Manifest:
    """Return what a manifest says, without looking at its signature (`check_signature` does).

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not a manifest of ours.
    """
    in_series = bytes(body[len(MANIFEST_MAGIC) :][:2]) == SERIES_VERSION.to_bytes(2, "little")
    read = Decoder(_MANIFEST, body, MANIFEST_MAGIC, SERIES_VERSION if in_series else MANIFEST_VERSION)
    manifest = Manifest(
        registration=RegistrationId(read.take(UUID_BYTES)),
        seq=read.uint(4),
        previous=PointId(read.take(HASH_BYTES)),
        created_at=read_moment(read),
        seed=SeedId(read.take(UUID_BYTES)),
        series=_read_series(read) if in_series else NO_SERIES,
        packs=_read_packs(read),
        details=read.blob(MAX_DETAILS_BYTES, field="details length"),
        signature=read.take(SIGNATURE_BYTES),
    )
    read.finish()
    _check_manifest(manifest)
    return manifest


def signed_part(body: bytes) -> bytes:
    """Return the bytes a manifest's signature stands over: all but the signature.

    Raises:
        Truncated, TooLarge: the length alone says that it is no manifest.
    """
    if len(body) < MANIFEST_FIXED_BYTES:
        raise Truncated(_MANIFEST, want=MANIFEST_FIXED_BYTES, have=len(body))
    if len(body) > MAX_MANIFEST_BYTES:
        raise TooLarge(_MANIFEST, have=len(body), cap=MAX_MANIFEST_BYTES)
    return body[:-SIGNATURE_BYTES]


def point_id(body: bytes) -> PointId:
    """Return the id of the recovery point that these manifest bytes make."""
    return PointId(blake3(body).digest())


def sign_manifest(manifest: Manifest, seed: Secret) -> bytes:
    """Return the manifest's bytes, signed with the agent's Ed25519 seed; the signature it came with is replaced.

    Raises:
        Malformed, TooLarge: a field that the format does not allow.
    """
    unsigned = signed_part(encode_manifest(replace(manifest, signature=bytes(SIGNATURE_BYTES))))
    return unsigned + signing.sign(seed, signing.MANIFEST, unsigned)


def check_signature(body: bytes, sign_key: bytes) -> Manifest:
    """Return the manifest, once its signature by `sign_key` has been checked. Nothing is parsed before that.

    Raises:
        Corrupt: the signature does not belong to these bytes and this key.
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not a manifest of ours.
    """
    unsigned = signed_part(body)
    signing.verify(sign_key, signing.MANIFEST, unsigned, bytes(body[-SIGNATURE_BYTES:]))
    return decode_manifest(body)


def seal_details(details: Details, restore_public: bytes) -> bytes:
    """Return details for a manifest, encrypted to the registration's restore key.

    Raises:
        Malformed, TooLarge: a field that the format does not allow.
    """
    return seal_to(restore_public, encode_details(details), DETAILS_LABEL)


def open_details(manifest: Manifest, key: RestoreKey) -> Details:
    """Return the details of a manifest.

    Raises:
        CommitmentMismatch: sealed for another key, or changed.
        DataError: opened, but not details of ours.
    """
    return decode_details(open_sealed(key, manifest.details, DETAILS_LABEL))


def encode_details(details: Details) -> bytes:
    """Return the details' plain bytes.

    Raises:
        Malformed, TooLarge: a field that the format does not allow.
    """
    _check_details(details)
    body = Encoder(DETAILS_MAGIC, DETAILS_VERSION)
    _write_ids(body, details.root)
    body.uint(len(details.index), 4)
    for segment in details.index:
        _write_ids(body, segment)
    body.text(details.host).uint(len(details.roots), 4)
    for path in details.roots:
        body.blob(path)
    for value in _counts(details.counts):
        body.uint(value, 8)
    plain = body.text(details.tool).finish()
    if len(plain) > MAX_PLAIN_BYTES:
        raise TooLarge(_DETAILS, have=len(plain), cap=MAX_PLAIN_BYTES)
    return plain


def decode_details(body: bytes | memoryview) -> Details:
    """Return the details that these plain bytes hold.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not details of ours.
    """
    if len(body) > MAX_PLAIN_BYTES:
        raise TooLarge(_DETAILS, have=len(body), cap=MAX_PLAIN_BYTES)
    read = Decoder(_DETAILS, body, DETAILS_MAGIC, DETAILS_VERSION)
    details = Details(
        root=_read_ids(read, MAX_ROOT_PIECES, "root piece count"),
        index=tuple(
            _read_ids(read, MAX_SEGMENT_CHUNKS, "index chunk count")
            for _ in range(read.count(4 + HASH_BYTES, MAX_INDEX_SEGMENTS, "index segment count"))
        ),
        host=read.text(MAX_HOST_BYTES, field="host"),
        roots=tuple(
            read.blob(MAX_ROOT_BYTES, field="protected path length")
            for _ in range(read.count(5, MAX_ROOTS, "protected path count"))
        ),
        counts=Counts(*[read.uint(8) for _ in range(7)]),
        tool=read.text(MAX_TOOL_BYTES, field="tool"),
    )
    read.finish()
    _check_details(details)
    return details


def _read_packs(read: Decoder) -> tuple[PackRef, ...]:
    count = read.count(PACK_REF_BYTES, MAX_PACKS, "pack count")
    rows = _PACK_REF.iter_unpack(read.take(count * PACK_REF_BYTES))
    try:
        return tuple([PackRef(PackId(pack), _TYPES[kind], stored) for pack, kind, stored in rows])
    except KeyError as unknown:
        raise read.refuse(f"{unknown.args[0]} is no chunk type") from None


def _read_series(read: Decoder) -> SeriesId:
    series = SeriesId(read.take(UUID_BYTES))
    if series == NO_SERIES:
        raise read.refuse("version 2 without a series")
    return series


def _check_manifest(manifest: Manifest) -> None:
    if len(manifest.packs) > MAX_PACKS:
        raise TooLarge(f"pack count of {_MANIFEST}", have=len(manifest.packs), cap=MAX_PACKS)
    if len(manifest.details) > MAX_DETAILS_BYTES:
        raise TooLarge(f"details length of {_MANIFEST}", have=len(manifest.details), cap=MAX_DETAILS_BYTES)
    if not 1 <= manifest.seq < 1 << 32:
        raise Malformed(_MANIFEST, f"sequence number {manifest.seq}")
    if (manifest.seq == 1) != (manifest.previous == NO_POINT):
        raise Malformed(_MANIFEST, "the first point has no predecessor, every later one has")
    if len(manifest.series) != UUID_BYTES or (manifest.series != NO_SERIES and manifest.seed != NO_SEED):
        raise Malformed(_MANIFEST, "a series has 16 bytes, and no seed carries one")
    last = b""
    for ref in manifest.packs:
        if ref.id <= last or len(ref.id) != HASH_BYTES:
            raise Malformed(_MANIFEST, "packs are not strictly in order of their ids")
        if ref.kind not in _TYPES:
            raise Malformed(_MANIFEST, f"{ref.kind} is no chunk type")
        if ref.stored_bytes % BLOCK_BYTES or not 0 < ref.stored_bytes <= MAX_STORED_BYTES:
            raise Malformed(_MANIFEST, f"pack {ref.id.hex()} cannot occupy {ref.stored_bytes} bytes")
        last = ref.id


def _write_ids(body: Encoder, chunks: tuple[ChunkId, ...]) -> None:
    ids = b"".join(chunks)
    assert len(ids) == len(chunks) * HASH_BYTES
    body.uint(len(chunks), 4).raw(ids)


def _read_ids(read: Decoder, cap: int, field: str) -> tuple[ChunkId, ...]:
    count = read.count(HASH_BYTES, cap, field)
    ids = read.take(count * HASH_BYTES)
    return tuple([ChunkId(ids[at : at + HASH_BYTES]) for at in range(0, len(ids), HASH_BYTES)])


def _counts(counts: Counts) -> tuple[int, ...]:
    return (
        counts.files, counts.directories, counts.others, counts.source_bytes, counts.new_bytes, counts.stored_bytes,
        counts.skipped,
    )  # fmt: skip


def _check_details(details: Details) -> None:
    sizes = (
        ("root piece count", len(details.root), MAX_ROOT_PIECES),
        ("index segment count", len(details.index), MAX_INDEX_SEGMENTS),
        ("index chunk count", max(map(len, details.index), default=0), MAX_SEGMENT_CHUNKS),
        ("host", _utf8_bytes(details.host), MAX_HOST_BYTES),
        ("protected path count", len(details.roots), MAX_ROOTS),
        ("protected path length", max(map(len, details.roots), default=0), MAX_ROOT_BYTES),
        ("tool", _utf8_bytes(details.tool), MAX_TOOL_BYTES),
        ("a count", max(_counts(details.counts)), (1 << 64) - 1),
    )
    for field, have, cap in sizes:
        if have > cap:
            raise TooLarge(f"{field} of {_DETAILS}", have=have, cap=cap)
    if not details.root:
        raise Malformed(_DETAILS, "the root has no piece")
    if not all(details.index):
        raise Malformed(_DETAILS, "an index segment has no chunk")
    if any(not path or b"\0" in path for path in details.roots):
        raise Malformed(_DETAILS, "a protected path is empty or has a NUL")
    if min(_counts(details.counts)) < 0:
        raise Malformed(_DETAILS, "a count is negative")


def _utf8_bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Malformed(_DETAILS, f"{text!a} cannot be written as UTF-8") from None
