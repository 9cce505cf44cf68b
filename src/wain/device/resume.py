"""What a container on a device holds when it is opened, and its repair after a cut: never more than was promised.

Order of trust: a seal ends everything. Otherwise the valid prefix of the journal counts; pages behind it are cut off,
and the last packs are read back, because a medium may have lied about its last flushes.
"""

import os
from dataclasses import dataclass, replace
from typing import Final

from wain.base.errors import Corrupt, Refused
from wain.base.progress import Silent
from wain.device.journal import RECORD_BYTES, Chain, Journal, JournalPack, Start, order_hash, replay
from wain.device.medium import Medium
from wain.device.readback import check_packs
from wain.device.seal import MAX_PACKS, Seal, check_seal
from wain.pageblob.names import JOURNAL_BLOB, MANIFEST_BLOB, SEAL_BLOB, packs_blob, packs_number
from wain.pageblob.paged import MAX_BODY_BYTES, decode_paged
from wain.storage.durable import TEMPORARY_PREFIX, unlink_at
from wain.storage.uncached import read_uncached

RESERVE_FILE: Final = "reserve"
"""Room that is given back when the device is full, so that the rest can be closed cleanly."""
PROVEN_PACKS: Final = 8
"""How many of the last packs are read back when writing goes on."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a container holds: nothing, a journal, or a seal. `start` says whose it is, unless it holds nothing."""

    start: Start | None = None
    journal: Journal | None = None
    seal: Seal | None = None


def look(medium: Medium) -> Found:
    """Read the seal, or else the journal, of a container. Changes nothing.

    Raises:
        DataError: one of them is damaged.
    """
    with medium.errors():
        names = medium.names()
    if SEAL_BLOB in names:
        stored = read_uncached(SEAL_BLOB, f"seal on the device at {medium.where}", MAX_BODY_BYTES, medium.dirfd)
        seal = check_seal(decode_paged(stored, "seal"))
        return Found(Start(seal.device, seal.seed, seal.registration, order_hash(seal.order)), seal=seal)
    if JOURNAL_BLOB not in names:
        if any(packs_number(name) is not None for name in names):
            raise Corrupt(f"container on the device at {medium.where}", "it has packs and no journal")
        return Found()
    cap = (MAX_PACKS + 2) * RECORD_BYTES
    journal = replay(read_uncached(JOURNAL_BLOB, f"journal on the device at {medium.where}", cap, medium.dirfd))
    if journal.start is None:
        raise Corrupt(f"journal on the device at {medium.where}", "its first record")
    return Found(journal.start, journal)


def check_start(found: Start, wanted: Start, where: str) -> None:
    """Check that a container was begun for the same seed, registration and order, on the same device.

    Raises:
        Refused: names what differs.
    """
    pairs = {
        "device": (found.device, wanted.device),
        "seed": (found.seed, wanted.seed),
        "registration": (found.registration, wanted.registration),
        "order": (found.order_hash, wanted.order_hash),
    }
    for word, (have, want) in pairs.items():
        if have != want:
            raise Refused(
                f"the container on the device at {where} was begun for {word} {have.hex()}, not {want.hex()}",
                "Give the order and the device with which this seed was begun.",
            )


def recover(medium: Medium, journal: Journal) -> Journal:
    """Cut the container back to what is whole and durable, and return the journal that remains.

    Raises:
        WriteFailed, DeviceLost, OutOfSpace: the device refused.
    """
    kept = _readable(medium, journal.packs)
    with medium.errors():
        for name in medium.names():
            if name.startswith(TEMPORARY_PREFIX) or name in (MANIFEST_BLOB, RESERVE_FILE):
                unlink_at(medium.dirfd, name)
        cut_blobs(medium, kept)
    chain = Chain()
    assert journal.start is not None
    chain.start(journal.start)
    for pack in kept:
        chain.pack(pack)
    return replace(journal, packs=kept, end=None, records=chain.records, head=chain.head)


def cut_blobs(medium: Medium, packs: tuple[JournalPack, ...]) -> None:
    """Make the page blobs hold these packs and nothing behind them. Raises `OSError`."""
    ends = {pack.placement.blob: pack.placement.end for pack in packs}
    for name in medium.names():
        number = packs_number(name)
        if number is not None:
            medium.cut_blob(name, ends.get(number, 0))


def _readable(medium: Medium, packs: tuple[JournalPack, ...]) -> tuple[JournalPack, ...]:
    """Return the packs before the first whose bytes are not there, the last `PROVEN_PACKS` of them read back."""
    with medium.errors():
        sizes = _blob_sizes(medium)
    beyond = (at for at, pack in enumerate(packs) if pack.placement.end > sizes.get(pack.placement.blob, 0))
    count = next(beyond, len(packs))
    while count:
        first = max(0, count - PROVEN_PACKS)
        tail = packs[first:count]
        bad = next(check_packs(lambda blob: medium.uncached(packs_blob(blob)), tail, Silent()), None)
        if bad is None:
            break
        count = first + next(at for at, pack in enumerate(tail) if pack.id == bad.pack)
    return packs[:count]


def _blob_sizes(medium: Medium) -> dict[int, int]:
    sizes = {}
    for name in medium.names():
        number = packs_number(name)
        if number is not None:
            sizes[number] = os.stat(name, dir_fd=medium.dirfd, follow_symlinks=False).st_size
    return sizes
