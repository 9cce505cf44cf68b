"""The seed: a registration's first backup, written onto a device, shipped, and taken in by the vault.

What to do when is decided in `wain.job.seeding`; here it is done. Each step can be repeated after any interruption:
the device, not the agent's memory, says what is on it.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from wain.agent import custody
from wain.agent.backup_run import Outcome, RunParts, run_backup_into
from wain.agent.home import AgentHome, Head, SeedRecord
from wain.agent.write_keys import AgentKeys
from wain.base.errors import Corrupt, Missing, Refused
from wain.base.ids import UUID_BYTES, DeviceId, PackId, PointId, SeedId
from wain.base.progress import Progress
from wain.device.find import DeviceRoot, detect, mount_points
from wain.device.seal import GOES_ON, NO_MANIFEST, Seal, decode_seal, encode_seal, seal_hash
from wain.device.share import resolve
from wain.device.target import NO_CUSTODY, DeviceTarget
from wain.device.writer import DeviceWriter
from wain.job.seeding import SeedState
from wain.keys import signing
from wain.order.custody import Event
from wain.order.order import FINISHED, Stage
from wain.pack.verify import verify_pack
from wain.pageblob.parity import STRENGTHS
from wain.policy.policy import Policy
from wain.storage.durable import reading, write_atomic
from wain.tree.manifest import check_signature, decode_manifest, point_id
from wain.tree.receipt import decode_receipt
from wain.wire.databox import DataBoxApi
from wain.wire.vault import ImportReport, Receipt, SeedRef, VaultApi

SAMPLE_PACKS = 4
"""How many packs, at least, the agent reads back from the vault before it signs that the seed arrived."""
SAMPLE_PART = 1000
MANIFEST_FILE = "seed.manifest"
"""The manifest that is being sealed; written before the seal is."""


ON_THE_ROAD = FINISHED | {Stage.PICKED_UP, Stage.AT_AZURE_DC, Stage.DATA_COPY}
"""Stages that show that the device has left this server."""


def seal_file(seed: str) -> str:
    """Return the name of what a seed's device (hex) was sealed with, in the agent's home."""
    return f"seed-{seed}.seal"


class NotCopied(Missing):
    """The data copy of a finished order put nothing of the seed into the account."""


@dataclass(frozen=True, slots=True)
class SeedWork:
    """Whom a seed concerns."""

    home: AgentHome
    keys: AgentKeys
    vault: VaultApi
    databox: DataBoxApi | None
    """None when no Data Box service is at hand: then nothing but waiting is possible."""
    clock: Callable[[], datetime]


def plan_seed(home: AgentHome, policy: Policy) -> SeedRecord:
    """Return the seed of an offline policy: the present one, or a new one for another order."""
    seed = home.seed()
    assert policy.order is not None
    if seed is not None and (seed.order == policy.order or seed.state in (SeedState.SEALED, SeedState.IN_VAULT)):
        return seed
    if seed is not None and any(one.order == policy.order for one in seed.earlier):
        return seed
    planned = _new_seed(policy.order, SeedState.PLANNED, () if seed is None else seed.earlier)
    home.save_seed(planned)
    return planned


def _new_seed(order: str, state: SeedState, earlier: tuple[SeedRecord, ...]) -> SeedRecord:
    return SeedRecord(os.urandom(UUID_BYTES).hex(), order, state, earlier=earlier)


def find_device(policy: Policy) -> str:
    """Return the root of the device to write: the policy's path, or the attached one that is labelled for the order.

    Raises:
        Refused: no path was given and not exactly one attached device belongs to the order.
    """
    if policy.device is not None:
        return policy.device
    found = [root for root in detect(mount_points()) if _labelled(root, policy)]
    if len(found) != 1:
        hint = "Give its path with 'wain policy set ... --device PATH': the directory that contains PageBlob."
        raise Refused(f"{len(found) or 'no'} attached devices belong to order {policy.order}", hint)
    return str(found[0].path)


def _labelled(root: DeviceRoot, policy: Policy) -> bool:
    return root.label is not None and root.label.order == policy.order


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Where the seed goes, and with how much parity: a root and a percentage.

    `custody_previous` is the hash of the newest custody record that is known, for the seal, or zeros.
    """

    root: str
    parity_percent: int
    custody_previous: bytes = NO_CUSTODY


def stage_of(work: SeedWork, seed: SeedRecord) -> Stage | None:
    """Return where the order of a seed is, or None when nobody tells."""
    try:
        return None if work.databox is None else work.databox.order(seed.order).stage
    except Missing:
        return None


def note_handed_over(work: SeedWork, seed: SeedRecord, stage: Stage | None) -> None:
    """Note for the chain of custody that a sealed device has left this server, once its order shows that."""
    if stage in ON_THE_ROAD and seed.state is SeedState.SEALED:
        custody.note(work.home, seed, work.clock(), (Event.HANDED_OVER, bytes.fromhex(seed.seal_hash)))


def open_device(work: SeedWork, seed: SeedRecord, plan: DevicePlan, clock: Callable[[], datetime]) -> DeviceWriter:
    """Open the seed's device, and remember which one it is before anything is written to it."""
    target = DeviceTarget(
        root=plan.root,
        registration=work.keys.registration,
        seed=SeedId(bytes.fromhex(seed.id)),
        order=seed.order,
        sign_key=signing.public_key(work.keys.sign_seed),
        expected_device=DeviceId(bytes.fromhex(seed.device)) if seed.device else None,
        custody_previous=plan.custody_previous,
        parity=STRENGTHS[plan.parity_percent],
    )
    writer = DeviceWriter.open(target, clock)
    try:
        if seed.state is SeedState.PLANNED:
            begun = replace(seed, state=SeedState.WRITING, device=writer.device.hex(), root=str(resolve(plan.root)))
            work.home.save_seed(begun)
    except BaseException:
        writer.close()  # Else nobody could open the device again while this process lives.
        raise
    return writer


def write_seed(work: SeedWork, parts: RunParts, writer: DeviceWriter, head: Head | None) -> tuple[Outcome, Seal]:
    """Back up onto the device, read everything back, seal it, and tell the vault what travels."""
    seed = work.home.seed()
    assert seed is not None
    outcome = run_backup_into(parts, head, SeedId(bytes.fromhex(seed.id)))
    write_atomic(work.home.agent / MANIFEST_FILE, outcome.manifest, 0o600)
    seal = writer.finish(
        outcome.manifest, lambda body: signing.sign(work.keys.sign_seed, signing.SEAL, body), parts.progress
    )
    outcome.keep_history()
    remember_sealed(work, writer)
    return outcome, seal


def seal_full(work: SeedWork, writer: DeviceWriter, progress: Progress) -> Seal:
    """Read everything back, and seal a device that its seed filled: without a manifest, the seed goes on elsewhere."""
    seal = writer.finish(NO_MANIFEST, lambda body: signing.sign(work.keys.sign_seed, signing.SEAL, body), progress)
    remember_sealed(work, writer)
    return seal


def remember_sealed(work: SeedWork, writer: DeviceWriter) -> None:
    """Note that the device is sealed, and announce it. Also what is left to do after a crash right behind the seal.

    Raises:
        Corrupt: the manifest that was sealed is not one this agent signed.
    """
    seed, seal = work.home.seed(), writer.sealed
    assert seed is not None
    assert seal is not None
    if not seal.goes_on:
        _remember_head(work, writer, seal)
    body = encode_seal(seal)
    write_atomic(work.home.agent / seal_file(seed.id), body, 0o600)
    sealed = replace(
        seed,
        state=SeedState.SEALED,
        device=seal.device.hex(),
        container=seal.container,
        seal_hash=seal_hash(body).hex(),
        point=seal.manifest_hash.hex(),
    )
    steps = (
        (Event.WRITTEN, seal.manifest_hash),
        (Event.READ_BACK, seal.leaves_root),
        (Event.SEALED, seal_hash(body)),
    )
    custody.note(work.home, sealed, seal.created_at, *steps)
    if seal.goes_on:
        earlier = (*seed.earlier, replace(sealed, earlier=()))
        sealed = _new_seed(seed.order, SeedState.CONTINUED, earlier)
    work.home.save_seed(sealed)
    announce(work)


def _remember_head(work: SeedWork, writer: DeviceWriter, seal: Seal) -> None:
    manifest = _local(work, MANIFEST_FILE)
    if manifest is None or point_id(manifest) != seal.manifest_hash:
        manifest = writer.sealed_manifest()  # The device, not this agent's memory, says what is on it.
    check_signature(manifest, signing.public_key(work.keys.sign_seed))
    work.home.save_head(Head(decode_manifest(manifest).seq, point_id(manifest)))


def announce(work: SeedWork) -> None:
    """Tell the vault which packs are on the road. Repeating it changes nothing.

    A seal that was lost here was announced right after it was written, and travels on the device.
    """
    seed = work.home.seed()
    for one in () if seed is None else (*seed.earlier, seed):
        seal = _local(work, seal_file(one.id)) if one.state is SeedState.SEALED else None
        if seal is not None:
            work.vault.announce_seed(work.keys.registration, seal)


def _local(work: SeedWork, name: str) -> bytes | None:
    path = work.home.agent / name
    with reading(str(path)):
        return path.read_bytes() if path.exists() else None


def import_seed(work: SeedWork, seed: SeedRecord, progress: Progress) -> ImportReport:
    """Have the vault take the seed in; when it arrived whole, check and counter-sign the receipt.

    One that goes on on another device brings no recovery point: its receipt says that it arrived.

    Raises:
        NotCopied: the data copy put nothing of this seed into the account.
        Corrupt: the receipt, or what the vault gives back, is not right: nothing is signed.
    """
    assert work.databox is not None
    order = work.databox.order(seed.order)
    ref = SeedRef(order.account, _container(work.databox, seed))
    announce(work)
    report = work.vault.import_seed(work.keys.registration, ref, progress)
    arrived = report.receipt is not None and (report.point is not None or _goes_on(seed))
    if report.receipt is not None and arrived:
        _countersign(work, seed, report.receipt)
        detail = custody.receipt_hash(report.receipt.body)
        custody.note(work.home, seed, work.clock(), (Event.IMPORTED, detail), (Event.CONFIRMED, detail))
    state = SeedState.IN_VAULT if arrived else SeedState.PARTIAL
    work.home.save_seed(replace(seed, state=state))
    return report


def _container(databox: DataBoxApi, seed: SeedRecord) -> str:
    """Return where the data copy put the seed, after any rename it reports."""
    found = databox.copied_to(seed.order, seed.container)
    if found is None:
        raise NotCopied(f"container {seed.container} in the log of the data copy of order {seed.order}")
    return found


def _goes_on(seed: SeedRecord) -> bool:
    return seed.point == GOES_ON.hex()


def _countersign(work: SeedWork, seed: SeedRecord, receipt: Receipt) -> None:
    signing.verify(receipt.vault_key, signing.RECEIPT, receipt.body, receipt.signature)
    pinned = work.home.pinned_vault_key()
    if pinned is not None and pinned != receipt.vault_key:
        raise Corrupt("the vault's receipt", "it is signed with another key than the vault had before")
    said = decode_receipt(receipt.body)
    mine = (work.keys.registration, *(bytes.fromhex(text) for text in (seed.id, seed.seal_hash, seed.point)))
    if (said.registration, said.seed, said.seal_hash, said.point) != mine:
        raise Corrupt("the vault's receipt", "it is about another seed")
    _sample(work, _brought(work, seed))
    work.home.pin_vault_key(receipt.vault_key)
    signature = signing.sign(work.keys.sign_seed, signing.COUNTERSIGN, receipt.body)
    work.vault.countersign(work.keys.registration, receipt.body, signature)


def _brought(work: SeedWork, seed: SeedRecord) -> list[PackId]:
    """Return the packs that the vault should have: of the seed's recovery point, else of its seal."""
    if _goes_on(seed):
        seal = _local(work, seal_file(seed.id))
        if seal is None:
            raise Missing(f"{seal_file(seed.id)}, which says what the device of order {seed.order} held,")
        return [pack.id for pack in decode_seal(seal).packs]
    point = PointId(bytes.fromhex(seed.point))
    manifest = work.vault.manifest(work.keys.registration, point)
    if point_id(manifest) != point:
        raise Corrupt("the recovery point", "the vault's manifest is not the one that was sealed")
    return [ref.id for ref in decode_manifest(manifest).packs]


def _sample(work: SeedWork, packs: list[PackId]) -> None:
    """Read some packs back from the vault, chosen at random, and prove them."""
    count = min(len(packs), max(SAMPLE_PACKS, len(packs) // SAMPLE_PART))
    for pack in random.SystemRandom().sample(packs, count):
        _prove(work, pack)


def _prove(work: SeedWork, pack: PackId) -> None:
    size = work.vault.pack_size(work.keys.registration, pack)
    verify_pack(work.vault.read_pack(work.keys.registration, pack, 0, size), pack)


def give_up(work: SeedWork, seed: SeedRecord) -> None:
    """Release a seed that will never arrive: its packs are absent from now on."""
    if seed.state is SeedState.SEALED:
        if _arrived(work, seed):
            work.home.save_seed(replace(seed, state=SeedState.IN_VAULT))
            return
        announce(work)  # The crash may have come right before it: what the vault never heard of it cannot release.
        try:
            work.vault.release_seed(work.keys.registration, SeedId(bytes.fromhex(seed.id)))
        except Missing:
            head = work.home.head()
            if head is not None and head.point.hex() == seed.point:
                work.home.forget_head()  # A manifest that the vault never hears of cannot be followed by another.
            seed = replace(seed, point="")
    work.home.save_seed(replace(seed, state=SeedState.ABANDONED))


def _arrived(work: SeedWork, seed: SeedRecord) -> bool:
    return any(point.id.hex() == seed.point for point in work.vault.points(work.keys.registration))
