"""The data copy: device -> storage account, checked without keys, resumable, and told in a copy log.

The plan is written down at once, together with the order's move to `DataCopy`; from then on every verb here only works
the plan off. Blobs go in an order that makes an account's container importable only when all of it is there: packs,
journal, manifest, and the seal last. An account that is full or a device that went away stops the copy where it
stands ("data copy halted"); the same call goes on.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from wain.base.errors import DataError, Refused
from wain.base.moment import to_ns
from wain.base.progress import Progress
from wain.databox.copylog import WARNINGS, Category, EntityType, Finding, bom, copy_log, verbose_log
from wain.databox.copyrows import BlobRow, ContainerRow, CopyRows, Run, stamp
from wain.databox.home import Parts
from wain.databox.loads import Loader, OnDevice
from wain.databox.names import words
from wain.databox.opened import FoundSeal, OpenDevice, find_seal, opened
from wain.databox.orders import Held
from wain.databox.repairing import repairing
from wain.databox.survey import Bounds, Expected, settle, survey
from wain.databox.transfer import Load, Note, Start, transfer
from wain.databox.untrusted import Directory, NotTaken
from wain.device.label import LABEL_FILE
from wain.order.order import FINISHED, Order, Stage
from wain.order.sku import Sku
from wain.pageblob.names import parity_number
from wain.storage.api import PageBlobs
from wain.storage.sql import Connection
from wain.wire.arm_jobs import HEEDED
from wain.wire.databox import CopiedContainer

REPORTED_FINDINGS: Final = 1000
"""How many findings a report holds; the copy log has them all."""
MOST_NAMES: Final = 1_000_000
"""How many files of a device the service will think about at once, however many its kind may hold."""
_CAN_BEGIN: Final = frozenset({Stage.AT_AZURE_DC, Stage.DATA_COPY})


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a finished data copy did. `findings` are the first 1,000, `counts` say how many there are of each kind."""

    order: str
    stage: Stage
    containers: tuple[CopiedContainer, ...]
    blobs: int
    size: int
    """Bytes in the account, by the length of the blobs."""
    findings: tuple[Finding, ...]
    counts: Mapping[Category, int]
    log: Path
    bom: Path


@dataclass(frozen=True, slots=True)
class _AccountBlob:
    """A blob of the account as `transfer` sees it."""

    account: PageBlobs
    container: str
    blob: str

    def write(self, offset: int, body: bytes | memoryview) -> None:
        self.account.write_pages(self.container, self.blob, offset, body)

    def flush(self) -> None:
        self.account.flush(self.container, self.blob)


def bounds_of(sku: Sku) -> Bounds:
    """Return what a device of this kind can hold, with a quarter to spare: disks differ, lies are larger."""
    return Bounds(min(sku.max_files, MOST_NAMES), max(sku.usable_bytes, sku.limit_bytes) * 5 // 4)


def copy_data(parts: Parts, name: str, path: Path, progress: Progress) -> CopyReport:
    """Copy a device into the order's storage account; again: go on, or return the report of the finished copy.

    Raises:
        Missing: there is no such order.
        Refused: the order is not there yet, or this is not its device, or another process copies it.
        DeviceLost, OutOfSpace, WriteFailed: the copy stopped; the same call goes on.
    """
    held = parts.orders.find(name)
    if held.order.stage not in FINISHED:
        with parts.home.exclusive(name):
            _work_off(parts, parts.orders.find(name), path, progress)
    return report(parts, name)


def _work_off(parts: Parts, held: Held, path: Path, progress: Progress) -> None:
    stage = held.order.stage
    if stage in FINISHED:
        return
    if stage not in _CAN_BEGIN:
        hint = "Its data is copied once the device was received (AtAzureDC)."
        raise Refused(f"order {held.order.name} is {stage.value}", hint)
    account = parts.blobs(held.order.account)
    if stage is Stage.AT_AZURE_DC or _todo(parts, held):
        with opened(path) as device:
            if stage is Stage.AT_AZURE_DC:
                _begin(parts, held, device, account)
            else:
                _check_device(device, held, vouched=_still_sealed(parts, held, device))
                _take_up(parts, held)
            _Copying(parts, held, account, progress).run(device.pageblob)
    _finish(parts, held)


def _todo(parts: Parts, held: Held) -> list[BlobRow]:
    with parts.catalog.reading() as rows:
        return [blob for blob in CopyRows(rows, held.id).blobs() if not blob.complete]


def _check_device(device: OpenDevice, held: Held, *, vouched: bool) -> None:
    """Refuse another order's device. Without a readable label, a seal must vouch for it."""
    if device.label is not None and device.label.device != held.device:
        reason = f"this is the device of order {device.label.order} (serial {device.label.serial})"
        raise Refused(f"{reason}, not of order {held.order.name} (serial {held.serial})")
    if device.label is None and not vouched:
        reason = f"nothing on the device at {device.path} says that it is the device of order {held.order.name}"
        raise Refused(f"{reason}: {device.label_problem}", f"It should have serial number {held.serial}.")


def _begin(parts: Parts, held: Held, device: OpenDevice, account: PageBlobs) -> None:
    assert held.device is not None
    if device.label is not None:
        _check_device(device, held, vouched=True)
    # A share has no label, so whoever wrote to it made up a device id: there the order's name must do.
    known = held.device if device.root is not None else None
    expected = Expected(held.order.name, known, bounds_of(parts.orders.sku(held.order)))
    plan = survey(device.pageblob, expected)
    _check_device(device, held, vouched=plan.vouched)
    if device.label is None and device.root is not None:
        plan.leave(LABEL_FILE.encode(), Category.DAMAGED, f"{device.label_problem}; a seal vouches for the device")
    there = frozenset(account.containers())
    with parts.catalog.writing() as rows:
        copy = CopyRows(rows, held.id)
        settle(plan, held.order.name, there | copy.taken(held.order.account))
        copy.begin(Run(str(uuid.uuid4()), to_ns(parts.clock()), None), plan)
        parts.orders.move(rows, parts.orders.held(rows, held.order.name), Stage.DATA_COPY)


def _take_up(parts: Parts, held: Held) -> None:
    """Go on. What the customer has said about the last halt was about that one: the next one waits for them again."""
    with parts.catalog.writing() as rows:
        said = rows.value("SELECT mitigation FROM requests WHERE order_id = :id", id=held.id)
        if said is not None:
            heeded = json.dumps({**json.loads(said), HEEDED: True})
            rows.change("UPDATE requests SET mitigation = :said WHERE order_id = :id", said=heeded, id=held.id)


def _still_sealed(parts: Parts, held: Held, device: OpenDevice) -> bool:
    """Say whether a seal that the plan was made from is still on the device."""
    with parts.catalog.reading() as rows:
        planned = CopyRows(rows, held.id).containers()
    for row in planned:
        try:
            with device.pageblob.enter(row.name) as container:
                if row.seal_hash is not None and find_seal(container).hash == row.seal_hash:
                    return True
        except DataError:
            continue
    return False


class _Copying:
    """Works off what is left of a plan."""

    def __init__(self, parts: Parts, held: Held, account: PageBlobs, progress: Progress) -> None:
        self._parts = parts
        self._held = held
        self._account = account
        self._progress = progress

    @contextmanager
    def _rows(self) -> Iterator[CopyRows]:
        with self._parts.catalog.writing() as rows:
            yield CopyRows(rows, self._held.id)

    def run(self, pageblob: Directory) -> None:
        todo = _todo(self._parts, self._held)
        self._progress.phase("Data copy", sum(blob.length - (blob.done or 0) for blob in todo))
        with self._parts.catalog.reading() as rows:
            containers = CopyRows(rows, self._held.id).containers()
        for container in containers:
            blobs = [blob for blob in todo if blob.container == container.number]
            if blobs:
                self._copy_container(pageblob, container, blobs)

    def _copy_container(self, pageblob: Directory, row: ContainerRow, blobs: list[BlobRow]) -> None:
        with ExitStack() as stack:
            try:
                container = stack.enter_context(pageblob.enter(row.name))
                found = _same_seal(container, row.seal_hash)
            except DataError as error:
                why = f"{error}; the rest of the container was not copied"
                self._drop(blobs, Finding(row.name, Category.FILE_SYSTEM, why, EntityType.CONTAINER))
                return
            # The parity is copied after the packs: what is left of the plan has all of it while packs are left.
            parity = [(blob.copied_to, blob.length) for blob in blobs if parity_number(blob.copied_to) is not None]
            on_device = OnDevice(container)
            repairer = stack.enter_context(repairing(on_device, found, parity))
            loader = Loader(on_device, found, repairer)
            for blob in blobs:
                self._copy_blob(loader, row, blob)

    def _copy_blob(self, loader: Loader, row: ContainerRow, blob: BlobRow) -> None:
        path = row.name + b"/" + blob.path
        try:
            with loader.load(blob.path, blob.length) as load:
                self._account.create(row.copied_to, blob.copied_to, blob.length)
                with self._rows() as rows:
                    rows.made(blob)
                self._send(load, row, blob)
        except NotTaken as error:
            why = f"{error}; it was not copied"
            self._drop([blob], Finding(path, Category.FILE_SYSTEM, why, left_behind=True))

    def _send(self, load: Load, row: ContainerRow, blob: BlobRow) -> None:
        target = _AccountBlob(self._account, row.copied_to, blob.copied_to)
        start = Start(blob.done or 0, blob.crc64 or 0, again=blob.done is not None)
        for checkpoint in transfer(load, target, start, self._progress):
            reached = checkpoint
            if load.finding is not None and checkpoint.done == blob.length:
                reached = replace(checkpoint, findings=(*checkpoint.findings, Note(load.finding)))
            with self._rows() as rows:
                rows.reached(blob, row.name + b"/" + blob.path, reached)
        self._progress.advance(0, 1)

    def _drop(self, blobs: list[BlobRow], finding: Finding) -> None:
        self._progress.note(f"{words(finding.path)}: {finding.message}")
        with self._rows() as rows:
            rows.drop(blobs, finding)


def _same_seal(container: Directory, planned: bytes | None) -> FoundSeal | None:
    if planned is None:
        return None
    found = find_seal(container)
    if found.hash != planned:
        raise NotTaken(f"the seal of {container.where}", "is another one than when the copy began")
    return found


def _finish(parts: Parts, held: Held) -> None:
    """Write the logs, then move the order: an order that is finished has its log."""
    with parts.catalog.writing() as rows:
        CopyRows(rows, held.id).finish(parts.clock)
    digest = _write_logs(parts, held)
    with parts.catalog.writing() as rows:
        stage = _verdict(CopyRows(rows, held.id).totals("").categories)
        parts.orders.move(rows, parts.orders.held(rows, held.order.name), stage, digest)


def _verdict(counts: Mapping[Category, int]) -> Stage:
    if not counts:
        return Stage.COMPLETED
    return Stage.COMPLETED_WITH_WARNINGS if counts.keys() <= WARNINGS else Stage.COMPLETED_WITH_ERRORS


def log_name(held: Held, run: Run) -> str:
    """Return the copy log's name: `<order>_<serial>_CopyLog_<guid>.xml` (azure.md 1.8)."""
    return f"{held.order.name}_{held.serial}_CopyLog_{run.guid}.xml"


def verbose_log_name(held: Held, run: Run) -> str:
    """Return the verbose log's name: `<order>_<serial>_VerboseLog_<guid>.xml` (azure.md 1.8)."""
    return f"{held.order.name}_{held.serial}_VerboseLog_{run.guid}.xml"


def log_names(parts: Parts, name: str) -> tuple[str, str]:
    """Return the names of the copy log and the verbose log of an order whose data copy is finished."""
    with parts.catalog.reading() as rows:
        held = parts.orders.held(rows, name)
        _, run = _run_of(rows, held)
        return log_name(held, run), verbose_log_name(held, run)


def bom_name(held: Held, run: Run) -> str:
    """Return the BOM's name: Azure's, after the order's, because all orders' logs lie in one directory."""
    assert run.finished_ns is not None
    return f"{held.order.name}_{held.order.account}_{stamp(run.finished_ns)}_PageBlob-BOM.txt"


def _write_logs(parts: Parts, held: Held) -> bytes:
    assert held.device is not None
    drive = str(uuid.UUID(bytes=held.device))
    with parts.catalog.reading() as rows:
        copy, run = _run_of(rows, held)
        parts.home.write_log(bom_name(held, run), bom(copy.copied()))
        parts.home.write_log(verbose_log_name(held, run), verbose_log(copy.copied()))
        return parts.home.write_log(log_name(held, run), copy_log(copy.findings(), copy.totals(drive)))


def _run_of(rows: Connection, held: Held) -> tuple[CopyRows, Run]:
    copy = CopyRows(rows, held.id)
    run = copy.run()
    assert run is not None
    return copy, run


def report(parts: Parts, name: str) -> CopyReport:
    """Return the report of a finished data copy.

    Raises:
        Missing: there is no such order.
        Refused: its data copy is not finished.
    """
    with parts.catalog.reading() as rows:
        held = parts.orders.held(rows, name)
        if held.order.stage not in FINISHED:
            raise Refused(f"the data copy of order {name} is not finished: it is {held.order.stage.value}")
        copy, run = _run_of(rows, held)
        return CopyReport(
            order=name,
            stage=held.order.stage,
            containers=tuple(copy.copied_containers()),
            blobs=len(blobs := copy.blobs()),
            size=sum(blob.length for blob in blobs),
            findings=tuple(copy.findings(REPORTED_FINDINGS)),
            counts=copy.totals("").categories,
            log=parts.home.logs / log_name(held, run),
            bom=parts.home.logs / bom_name(held, run),
        )


def copied(parts: Parts, order: Order) -> list[CopiedContainer]:
    """Return what the data copy of an order put where; nothing while it is not finished."""
    if order.stage not in FINISHED:
        return []
    with parts.catalog.reading() as rows:
        held = parts.orders.held(rows, order.name)
        return CopyRows(rows, held.id).copied_containers()
