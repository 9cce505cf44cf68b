"""Erases a device, and cleans the storage account, once it is proven that everything sealed is in the vault.

The proof for a sealed seed is the vault's receipt, countersigned by the server whose seed it is. An erasure is written
down before it begins: a killed one is finished without asking again, and only the device whose erasure was allowed
is touched. The record follows the certificate of sanitization of NIST SP 800-88 (Rev. 1, Appendix G); its hash goes
into the chain of custody.
"""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from wain import __version__
from wain.base.errors import Corrupt, DataError, Refused
from wain.base.moment import from_ns, to_ns
from wain.base.progress import Progress
from wain.databox.check import ContainerState, statuses
from wain.databox.copyrows import CopyRows
from wain.databox.custody import Step
from wain.databox.home import Parts
from wain.databox.opened import MAX_RECORD_BYTES, OpenDevice, find_seal, opened
from wain.databox.orders import Held
from wain.databox.tables import ERASURES
from wain.databox.untrusted import NotTaken
from wain.databox.wipe import Found, Method, count, strip, wipe
from wain.device.seal import Seal, check_seal, seal_hash
from wain.keys.signing import COUNTERSIGN, RECEIPT, verify
from wain.order.custody import CustodyRecord, Event
from wain.order.order import DEAD, FINISHED
from wain.pageblob.names import SEAL_BLOB
from wain.pageblob.paged import decode_paged
from wain.storage.api import PageBlobs
from wain.tree.receipt import decode_receipt


@dataclass(frozen=True, slots=True)
class ImportProof:
    """That a seed is in the vault: the receipt, the vault's signature over it, and the agent's."""

    receipt: bytes
    """`tree.receipt.encode_receipt`."""
    signature: bytes
    vault_key: bytes
    """The vault's raw Ed25519 public key."""
    countersignature: bytes


Proofs = Mapping[bytes, ImportProof]
"""Seal hash -> proof."""


@dataclass(frozen=True, slots=True)
class EraseRequest:
    """What to erase and why that is allowed.

    `given_up` names containers that the operator lets go without proof: possible only where proof is impossible,
    that is when the seal is damaged, or the order was aborted. It is written into the record.
    """

    path: Path
    proofs: Proofs
    given_up: frozenset[str] = frozenset()
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A finished erasure: its record, and the file that holds it."""

    record: Mapping[str, Any]
    file: Path


@dataclass(slots=True)
class _Sealed:
    """What is sealed for an order, by seal hash; and containers whose seal cannot be read."""

    seals: dict[bytes, Seal] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def check_proof(sealed: bytes, seal: Seal, proof: ImportProof | None) -> None:
    """Return when the proof shows that the seed behind a seal is in the vault and its owner agrees.

    Raises:
        Refused: there is no proof.
        DataError: there is one, and it is for something else or a signature does not verify.
    """
    if proof is None:
        hint = "Let the next backup of that server import it; its countersigned receipt is the proof."
        raise Refused(f"the seed in {seal.container} has no countersigned receipt: it may exist only here", hint)
    receipt = decode_receipt(proof.receipt)
    if (receipt.seal_hash, receipt.registration, receipt.seed) != (sealed, seal.registration, seal.seed):
        raise Refused(f"the receipt given for {seal.container} is for another seed")
    verify(proof.vault_key, RECEIPT, proof.receipt, proof.signature)
    verify(seal.sign_key, COUNTERSIGN, proof.receipt, proof.countersignature)


def erase_device(parts: Parts, name: str, request: EraseRequest, progress: Progress) -> Erasure:
    """Overwrite everything on the device of an order, and write the record. Again: return the record.

    Raises:
        Missing: there is no such order.
        Refused: it is not over, this is not its device, or a sealed seed on it has no proof.
        DataError: a proof is wrong.
        WriteFailed, DeviceLost: the erasure stopped; the same call goes on.
    """
    with parts.home.exclusive(name):
        held = parts.orders.find(name)
        row = _row(parts, held)
        if row is None or row.finished_ns is None:
            with opened(request.path) as device:
                if row is None:
                    row = _allow(parts, held, device, request)
                else:
                    _check_again(device, held)
                progress.phase("Erase", json.loads(row.permit)["bytes"])
                _finish(parts, held, row, wipe(device, progress))
        _tidy(held, request.path)
        return _written(parts, held)


def clean_account(parts: Parts, name: str, proofs: Proofs) -> list[str]:
    """Delete an order's sealed containers from the storage account; return which. Containers of others stay.

    Raises:
        Missing: there is no such order.
        Refused: its data copy is not finished, or a seed in the account has no proof; nothing was deleted.
        DataError: a proof is wrong; nothing was deleted.
    """
    held = parts.orders.find(name)
    if held.order.stage not in FINISHED:
        raise Refused(f"order {name} is {held.order.stage.value}: its data copy is not finished")
    account = parts.blobs(held.order.account)
    there = set(account.containers())
    with parts.catalog.reading() as rows:
        planned = [row for row in CopyRows(rows, held.id).containers() if row.seal_hash is not None]
    gone = []
    for row in planned:
        if row.copied_to in there and row.seal_hash is not None:
            seal = _seal_in(account, row.copied_to, row.seal_hash)
            check_proof(row.seal_hash, seal, proofs.get(row.seal_hash))
            gone.append(row.copied_to)
    if gone:
        known = cleaned(parts, name)
        parts.home.write_log(_cleaned_name(name), (f"{each}\n" for each in [*known, *gone] if each))
    for container in gone:
        account.delete_container(container)
    return gone


def cleaned(parts: Parts, name: str) -> tuple[str, ...]:
    """Return the containers that `clean_account` deleted for an order, or was about to when it was killed."""
    lines = (parts.home.read_log(_cleaned_name(name)) or b"").decode().splitlines()
    return tuple(dict.fromkeys(lines))


def _cleaned_name(order: str) -> str:
    return f"{order}_Cleaned.txt"


def _seal_in(account: PageBlobs, container: str, expected: bytes) -> Seal:
    lengths = {blob.name: blob.length for blob in account.blobs(container)}
    length = lengths.get(SEAL_BLOB, 0)
    if not 0 < length <= MAX_RECORD_BYTES:
        hint = "Look at it, then delete it by hand."
        raise Refused(f"container {container} has no seal in the account: nobody can prove what it is", hint)
    body = decode_paged(account.read(container, SEAL_BLOB, 0, length), f"the seal of {container}")
    if seal_hash(body) != expected:
        raise Corrupt(f"the seal of {container}", "it is not the one that was copied")
    return check_seal(body)


def _row(parts: Parts, held: Held) -> Any | None:
    with parts.catalog.reading() as rows:
        return rows.row(f"{ERASURES.selection} WHERE order_id = :id", id=held.id)


def _check_again(device: OpenDevice, held: Held) -> None:
    # The label stays until the erasure is written down as finished, so an empty mount point never passes for it.
    if device.label is None or device.label.device != held.device:
        raise Refused(f"the device at {device.path} is not the one whose erasure began (serial {held.serial})")


def _tidy(held: Held, path: Path) -> None:
    """Take `PageBlob` and label from an erased device, if it is there: it is empty and can be prepared again."""
    with suppress(Refused, NotTaken), opened(path) as device:
        if device.label is not None and device.label.device == held.device:
            strip(device)


def _allow(parts: Parts, held: Held, device: OpenDevice, request: EraseRequest) -> Any:
    order = held.order
    if order.stage not in FINISHED | DEAD:
        raise Refused(
            f"order {order.name} is not over: it is {order.stage.value}", "Its device may hold the only copy."
        )
    if held.device is None:
        raise Refused(f"order {order.name} never had a device")
    if device.label is None or device.label.device != held.device:
        words = device.label_problem or "it is another order's device"
        hint = "Look at it, and wipe it by hand when you are sure."
        raise Refused(f"nothing says that {device.path} is the device of order {order.name}: {words}", hint)
    sealed = _sealed(parts, held, device)
    permit = _permit(held, sealed, request, count(device))
    with parts.catalog.writing() as rows:
        for hashed in permit["seals"]:
            proof = request.proofs.get(bytes.fromhex(hashed["seal"]))
            if proof is not None:
                step = Step(Event.CONFIRMED, held.device, parts.clock(), blake3(proof.receipt).digest())
                # Where the agent has said so itself, its word stands.
                if not _says(parts.book.records(rows, held.id), step):
                    parts.book.append(rows, held.id, order.name, step)
        begun = {"guid": str(uuid.uuid4()), "started_ns": to_ns(parts.clock()), "permit": json.dumps(permit).encode()}
        rows.execute(ERASURES.insertion(), ERASURES.filled(order_id=held.id, **begun))
    row = _row(parts, held)
    assert row is not None
    return row


def _says(chain: list[CustodyRecord], step: Step) -> bool:
    return any((one.event, one.detail_hash) == (step.event, step.detail_hash) for one in chain)


def _sealed(parts: Parts, held: Held, device: OpenDevice) -> _Sealed:
    """Return what is sealed, from the device and, where the device has lost it, from the account."""
    result = _Sealed()
    for status in statuses(device):
        if status.state is ContainerState.SEALED:
            with device.pageblob.enter(status.name.encode()) as container:
                found = find_seal(container)
            result.seals[found.hash] = found.seal
        elif status.state is ContainerState.BROKEN:
            result.broken[status.name] = status.problem
    with parts.catalog.reading() as rows:
        planned = CopyRows(rows, held.id).containers()
    for row in planned:
        if row.seal_hash is not None and row.seal_hash not in result.seals:
            name = row.name.decode()
            try:
                seal = _seal_in(parts.blobs(held.order.account), row.copied_to, row.seal_hash)
            except (DataError, Refused) as error:
                result.broken.setdefault(name, str(error))
                continue
            result.broken.pop(name, None)
            result.seals[row.seal_hash] = seal
    return result


def _permit(held: Held, sealed: _Sealed, request: EraseRequest, found: Found) -> dict[str, Any]:
    """Return what allows the erasure, as it goes into the record.

    Raises:
        Refused, DataError: something sealed has no proof.
    """
    dead = held.order.stage in DEAD
    given_up, seals = [], []
    for hashed, seal in sealed.seals.items():
        if dead and seal.container in request.given_up and hashed not in request.proofs:
            given_up.append({"container": seal.container, "why": f"the order is {held.order.stage.value}"})
            continue
        check_proof(hashed, seal, request.proofs.get(hashed))
        receipt = blake3(request.proofs[hashed].receipt).hexdigest()
        seals.append({"seal": hashed.hex(), "container": seal.container, "receipt": receipt})
    for container, problem in sealed.broken.items():
        if container not in request.given_up:
            hint = "Heal or back up that server first; then give this container up by name."
            raise Refused(f"container {container} was sealed and its seal cannot be read: {problem}", hint)
        given_up.append({"container": container, "why": problem})
    facts = {"files": found.files, "bytes": found.size, "operator": request.operator, "path": str(request.path)}
    return {**facts, "seals": seals, "given_up": given_up}


def _finish(parts: Parts, held: Held, row: Any, how: Method) -> None:
    assert held.device is not None
    moment = parts.clock()
    record = {
        "standard": "NIST SP 800-88 Rev. 1, Appendix G",
        "id": row.guid,
        "order": held.order.name,
        "device": held.device.hex(),
        "serial": held.serial,
        "model": held.order.sku,
        "sanitization": "Clear",
        **asdict(how),
        "tool": f"wain {__version__}",
        "started_at": from_ns(row.started_ns).isoformat(),
        "finished_at": moment.isoformat(),
        **json.loads(row.permit),
    }
    body = json.dumps(record, indent=2).encode() + b"\n"
    with parts.catalog.writing() as rows:
        ending = "UPDATE erasures SET finished_ns = :now, record = :record WHERE order_id = :id"
        rows.change(ending, id=held.id, now=to_ns(moment), record=body)
        step = Step(Event.ERASED, held.device, moment, blake3(body).digest())
        parts.book.append(rows, held.id, held.order.name, step)


def _written(parts: Parts, held: Held) -> Erasure:
    """Return the finished erasure; its file is written from the catalog when it is not there yet."""
    row = _row(parts, held)
    assert row is not None
    name = f"{held.order.name}_{held.serial}_Erasure_{row.guid}.json"
    if parts.home.read_log(name) != row.record:
        parts.home.write_log(name, [row.record.decode()])
    return Erasure(json.loads(row.record), parts.home.logs / name)
