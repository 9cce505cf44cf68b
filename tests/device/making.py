"""Devices, packs and targets for tests. Packs are keyless: random bodies with a true footer."""

import os
import random
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3

from wain.base.ids import DeviceId, RegistrationId, SeedId
from wain.base.progress import Silent
from wain.chunk.names import ChunkType
from wain.device.journal import RECORD_BYTES, replay
from wain.device.label import LABEL_FILE, Label, encode_label
from wain.device.seal import Seal, check_seal
from wain.device.target import DeviceTarget
from wain.device.writer import DeviceWriter
from wain.keys.secret import Secret
from wain.keys.signing import SEAL, public_key, sign
from wain.pack.format import Footer, encode_footer, pack_id
from wain.pack.verify import leaf_hashes, verify_pack
from wain.pack.writer import SealedPack
from wain.pageblob.paged import decode_paged
from wain.pageblob.parity import STRENGTHS
from wain.pageblob.parity_record import Located, ParityVerifier, locate
from wain.storage.buffers import mapped
from wain.storage.durable import write_atomic

SIGNER = Secret(bytes(range(32)))
DEVICE = DeviceId(b"D" * 16)
REGISTRATION = RegistrationId(b"R" * 16)
SEED = SeedId(b"S" * 16)
ORDER = "branch-7"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MANIFEST = b"the manifest of these tests"
PARITY = STRENGTHS[6]


def clock() -> datetime:
    return NOON


def sign_seal(body: bytes) -> bytes:
    return sign(SIGNER, SEAL, body)


def make_pack(number: int, size: int = 12288, kind: ChunkType = ChunkType.DATA) -> SealedPack:
    """A pack of `size` stored bytes, the same for the same number."""
    body = random.Random(number).randbytes(size - 4096)
    footer = encode_footer(Footer(kind, len(body), len(body) - 16, 16, leaf_hashes(memoryview(body))))
    stored = mapped(size)  # Aligned, as real packs are.
    stored[:] = body + footer
    return SealedPack(pack_id(footer), kind, stored.toreadonly(), ())


def make_pack_of(body_bytes: int, number: int = 0) -> SealedPack:
    """A pack with a body of that many bytes."""
    return make_pack(number, body_bytes + 4096)


def make_device(root: Path, order: str = ORDER, device: DeviceId = DEVICE) -> Path:
    """Prepare a directory as the service prepares a device."""
    (root / "PageBlob").mkdir(parents=True)
    label = Label(device, "WD-1", order, "DataBoxDisk", 10**9, NOON)
    write_atomic(root / LABEL_FILE, encode_label(label))
    return root


def target(root: Path, **changes: object) -> DeviceTarget:
    values: dict[str, object] = {
        "root": root,
        "registration": REGISTRATION,
        "seed": SEED,
        "order": ORDER,
        "sign_key": public_key(SIGNER),
    }
    return DeviceTarget(**(values | changes))  # type: ignore[arg-type]


def open_writer(root: Path, **changes: object) -> DeviceWriter:
    return DeviceWriter.open(target(root, **changes), clock)


def seal_device(root: Path, packs: list[SealedPack], **changes: object) -> Seal:
    with open_writer(root, **changes) as writer:
        for pack in packs:
            writer.put(pack)
        return writer.finish(MANIFEST, sign_seal, Silent())


def container_of(root: Path, **changes: object) -> Path:
    return root / "PageBlob" / target(root, **changes).container


def manifest_hash() -> bytes:
    return blake3(MANIFEST).digest()


def assert_whole(root: Path, packs: list[SealedPack], **changes: object) -> Seal:
    """A sealed container holds exactly these packs, each where the seal says, and nothing unfinished."""
    container = container_of(root, **changes)
    seal = check_seal(decode_paged((container / "seal").read_bytes()), public_key(SIGNER))
    assert sorted(pack.id for pack in seal.packs) == sorted(pack.id for pack in packs)
    for pack in seal.packs:
        place = pack.placement
        with open(container / f"packs-{place.blob:05d}", "rb") as file:
            verify_pack(os.pread(file.fileno(), place.length, place.offset), pack.id)
    manifest = decode_paged((container / "manifest").read_bytes())
    assert (blake3(manifest).digest(), len(manifest)) == (seal.manifest_hash, seal.manifest_bytes)
    journal = replay((container / "journal").read_bytes())
    assert journal.packs == seal.packs
    assert journal.end is not None
    assert journal.records * RECORD_BYTES == (container / "journal").stat().st_size
    blobs = {f"packs-{pack.placement.blob:05d}" for pack in seal.packs}
    parity = {name for name in os.listdir(container) if name.startswith("parity-")}
    assert set(os.listdir(container)) == blobs | parity | {"journal", "manifest", "seal"}
    for name in parity:
        verifier = ParityVerifier({pack.id: pack.placement.length for pack in seal.packs})
        verifier.feed((container / name).read_bytes())
        verifier.finish()
    assert all((container / name).stat().st_size % 512 == 0 for name in os.listdir(container))
    for name in blobs:
        ends = [pack.placement.end for pack in seal.packs if f"packs-{pack.placement.blob:05d}" == name]
        assert (container / name).stat().st_size == max(ends)
    return seal


def parity_of(container: Path) -> dict[str, list[Located]]:
    """The records of parity in each blob of a container."""
    found = {}
    for path in sorted(container.glob("parity-*")):
        body = path.read_bytes()
        found[path.name] = list(locate(lambda at, n, body=body: body[at : at + n].ljust(n, b"\0"), len(body)))
    return found
