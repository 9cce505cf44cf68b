"""Looks at a device without copying it: what is on it, and whether every byte of it is as it was sealed."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final

from wain.base.errors import DataError
from wain.base.progress import Progress
from wain.base.sizes import TIB
from wain.databox.copylog import Category, Finding
from wain.databox.loads import Loader, OnDevice
from wain.databox.names import words
from wain.databox.opened import OpenDevice, find_seal, opened
from wain.databox.survey import MAX_CONTAINERS, PASSED_OVER, Bounds, Expected, PlannedContainer, survey
from wain.databox.transfer import Eye, Start, transfer
from wain.databox.untrusted import Directory, NotTaken
from wain.device.label import LABEL_FILE, Label
from wain.pageblob.names import SEAL_BLOB, is_wain_container

_LABEL: Final = LABEL_FILE.encode()
_ANY_DEVICE: Final = Bounds(1_000_000, 1000 * TIB)


class ContainerState(Enum):
    """What a container of a device is."""

    SEALED = "sealed"
    UNSEALED = "not sealed"
    BROKEN = "seal damaged"
    FOREIGN = "not Wain's"


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One container. Facts of the seal are None without one that verifies; `size` is that of its packs, in bytes."""

    name: str
    state: ContainerState
    order: str | None = None
    sealed_at: datetime | None = None
    packs: int | None = None
    size: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What lies on a device."""

    path: Path
    label: Label | None
    label_problem: str
    containers: tuple[ContainerStatus, ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a full check of a device found: nothing wrong when `findings` is empty. `size` in bytes.

    `unvouched` of the `blobs` lie in containers that are not Wain's: they were read, but nothing says what they held.
    """

    path: Path
    serial: str | None
    containers: int
    blobs: int
    size: int
    unvouched: int
    findings: tuple[Finding, ...]


def device_status(path: Path) -> DeviceStatus:
    """Return what lies on the device at `path`. Reads labels and seals, no packs.

    Raises:
        Refused: there is no device. DeviceLost: it went away.
    """
    with opened(path) as device:
        return DeviceStatus(device.path, device.label, device.label_problem, tuple(statuses(device)))


def statuses(device: OpenDevice) -> Iterator[ContainerStatus]:
    """Yield the state of each container of an open device."""
    for name in device.pageblob.names(MAX_CONTAINERS + len(PASSED_OVER)):
        if name in PASSED_OVER:
            continue
        if not is_wain_container(name.decode(errors="replace")):
            yield ContainerStatus(words(name), ContainerState.FOREIGN)
            continue
        try:
            with device.pageblob.enter(name) as container:
                yield _status(container, words(name))
        except DataError as error:
            yield ContainerStatus(words(name), ContainerState.BROKEN, problem=str(error))


def _status(container: Directory, name: str) -> ContainerStatus:
    if not container.has(SEAL_BLOB.encode()):
        return ContainerStatus(name, ContainerState.UNSEALED, problem="whoever wrote it did not finish")
    seal = find_seal(container).seal
    return ContainerStatus(
        name, ContainerState.SEALED, seal.order, seal.created_at, len(seal.packs), seal.stored_bytes
    )  # fmt: skip


def verify_device(path: Path, progress: Progress) -> VerifyReport:
    """Read every byte of a device from its medium and check it against the seals, without any key.

    Raises:
        Refused: there is no device. DeviceLost: it went away.
    """
    with opened(path) as device:
        label = device.label
        expected = Expected(label.order if label else None, label.device if label else None, _ANY_DEVICE)
        plan = survey(device.pageblob, expected)
        findings = list(plan.findings)
        if label is None and device.root is not None:
            findings.append(Finding(_LABEL, Category.DAMAGED, device.label_problem))
        findings += _strays(device)
        blobs = [blob for container in plan.containers for blob in container.blobs]
        progress.phase("Verify", sum(blob.length for blob in blobs))
        for planned in plan.containers:
            findings += _verify_container(device.pageblob, planned, progress)
    size = sum(blob.length for blob in blobs)
    unvouched = sum(len(container.blobs) for container in plan.containers if container.seal_hash is None)
    serial = label.serial if label else None
    return VerifyReport(device.path, serial, len(plan.containers), len(blobs), size, unvouched, tuple(findings))


def _strays(device: OpenDevice) -> Iterator[Finding]:
    """Yield the files beside the label. Directories may be there: a Data Box has one for each kind of storage."""
    if device.root is None:
        return
    try:
        for name in device.root.names(MAX_CONTAINERS):
            if name != _LABEL and device.root.kind(name) != stat.S_IFDIR:
                yield Finding(name, Category.UNKNOWN_TYPE, "it does not belong there, and nothing vouches for it")
    except NotTaken as error:
        yield Finding(b"", Category.UNKNOWN_TYPE, str(error))


def _verify_container(pageblob: Directory, planned: PlannedContainer, progress: Progress) -> Iterator[Finding]:
    with pageblob.enter(planned.name) as container:
        loader = Loader(OnDevice(container), find_seal(container) if planned.seal_hash is not None else None)
        for blob in planned.blobs:
            path = planned.name + b"/" + blob.path
            try:
                with loader.load(blob.path, blob.length) as load:
                    if load.finding is not None:
                        yield Finding(path, Category.DAMAGED, load.finding)
                    for checkpoint in transfer(load, Eye(), Start(), progress):
                        yield from (Finding(path, found.category, found.words) for found in checkpoint.findings)
            except DataError as error:
                yield Finding(path, Category.FILE_SYSTEM, str(error))
            progress.advance(0, 1)
