"""Looks at a whole device before anything of it is copied, and decides what will be: the plan of a data copy.

What the plan leaves out becomes a finding. A container of Wain's is planned only when its seal verifies and names this
order and this device; then exactly what the seal lists is planned. Containers of others are planned as they are. All
that is counted here is counted again, cheaply, from what the file system says; bytes are judged when they are copied.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from wain.base.errors import DataError, Refused
from wain.base.ids import DeviceId
from wain.base.sizes import PAGE_BYTES, format_bytes
from wain.databox.copylog import Category, EntityType, Finding, renamed_words
from wain.databox.names import words
from wain.databox.opened import MAX_RECORD_BYTES, FoundSeal, find_seal
from wain.databox.untrusted import Directory, NotTaken
from wain.device.journal import JournalPack
from wain.device.journal_check import journal_bytes
from wain.device.label import LABEL_FILE
from wain.pageblob.layout import MAX_BLOB_LIMIT_BYTES
from wain.pageblob.names import (
    JOURNAL_BLOB,
    MANIFEST_BLOB,
    SEAL_BLOB,
    check_blob,
    check_container,
    is_wain_container,
    packs_blob,
    parity_number,
)
from wain.pageblob.parity import most_parity

MAX_CONTAINERS: Final = 512
"""Azure's limit for one device (azure.md C19)."""
MAX_DEPTH: Final = 16
"""Directories below a container of somebody else's."""
SPARE_NAMES: Final = 16
"""Names in a sealed container beyond those that its seal and its parity explain; with more, nothing of it is taken."""
PASSED_OVER: Final = frozenset({b"lost+found", b"System Volume Information", b"$RECYCLE.BIN", LABEL_FILE.encode()})
"""What file systems and Wain itself put beside containers when a share is the file system's root."""

_RENAMED: Final = uuid.UUID("6b3c1d5e-3f0c-5f1b-9a55-6c4a3c7f21d4")
_ILLEGAL: Final = "either the name has invalid character(s) or length is not supported"


@dataclass(frozen=True, slots=True)
class PlannedBlob:
    """A blob to copy. `path` is below its container, with `/`; `length` in bytes, a multiple of 512."""

    path: bytes
    copied_to: str
    length: int


@dataclass(frozen=True, slots=True)
class PlannedContainer:
    """A container to copy. `seal_hash` is None for one that is not Wain's."""

    name: bytes
    copied_to: str
    seal_hash: bytes | None
    blobs: tuple[PlannedBlob, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the device may hold at most: files, and bytes by length."""

    names: int
    size: int


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose device this must be; None where it does not matter."""

    order: str | None
    device: DeviceId | None
    bounds: Bounds


@dataclass(slots=True)
class Plan:
    """What will be copied, and what was found on the way to it."""

    containers: list[PlannedContainer]
    findings: list[Finding]
    vouched: bool = False
    """A seal on it verifies and names this order and this device."""
    names: int = 0
    size: int = 0

    def leave(self, path: bytes, category: Category, message: str, kind: EntityType = EntityType.FILE) -> None:
        """Say that something is not copied, and why."""
        self.findings.append(Finding(path, category, message, kind, left_behind=kind is EntityType.FILE))


def survey(pageblob: Directory, expected: Expected) -> Plan:
    """Return the plan for a device; container names are still those of the device (see `settle`).

    Raises:
        DeviceLost: the device went away.
    """
    plan = Plan([], [])
    try:
        names = pageblob.names(MAX_CONTAINERS + len(PASSED_OVER))
    except NotTaken as error:
        plan.leave(b"", Category.UNKNOWN_TYPE, f"{error}; nothing was copied", EntityType.CONTAINER)
        return plan
    for name in names:
        if name not in PASSED_OVER:
            _survey_container(pageblob, name, expected, plan)
    if not plan.containers and not plan.findings:
        plan.leave(b"", Category.FILE_SYSTEM, "the device holds nothing", EntityType.CONTAINER)
    return plan


def _survey_container(pageblob: Directory, name: bytes, expected: Expected, plan: Plan) -> None:
    try:
        with pageblob.enter(name) as container:
            if is_wain_container(name.decode(errors="replace")):
                _survey_sealed(container, name, expected, plan)
            else:
                _survey_foreign(container, name, expected.bounds, plan)
    except NotTaken as error:
        plan.leave(name, Category.UNKNOWN_TYPE, f"{error}; only directories may lie there")


def _survey_sealed(container: Directory, name: bytes, expected: Expected, plan: Plan) -> None:
    if not container.has(SEAL_BLOB.encode()):
        why = "it is not sealed: whoever wrote it did not finish; nothing of it was copied"
        plan.leave(name, Category.DAMAGED, why, EntityType.CONTAINER)
        return
    try:
        found = find_seal(container)
        _check_belongs(found, name, expected)
        blobs = list(_sealed_blobs(container, name, found, plan))
        _charge(plan, expected.bounds, len(blobs), sum(blob.length for blob in blobs))
    except DataError as error:
        plan.leave(name, Category.DAMAGED, f"{error}; nothing of it was copied", EntityType.CONTAINER)
        return
    plan.vouched = True
    plan.containers.append(PlannedContainer(name, "", found.hash, tuple(blobs)))


def _check_belongs(found: FoundSeal, name: bytes, expected: Expected) -> None:
    seal = found.seal
    where = f"the seal of {words(name)}"
    if seal.container.encode() != name:
        raise NotTaken(where, f"is for container {seal.container}")
    if expected.order is not None and seal.order != expected.order:
        raise NotTaken(where, f"is for order {seal.order}, not {expected.order}")
    if expected.device is not None and seal.device != expected.device:
        raise NotTaken(where, f"is for device {seal.device.hex()}, not {expected.device.hex()}")


def by_blob(packs: tuple[JournalPack, ...]) -> dict[int, list[JournalPack]]:
    """Return the packs of each blob number, in the order they lie in it."""
    blobs: dict[int, list[JournalPack]] = {}
    for pack in packs:
        blobs.setdefault(pack.placement.blob, []).append(pack)
    for row in blobs.values():
        row.sort(key=lambda pack: pack.placement.offset)
    return blobs


def _sealed_blobs(container: Directory, name: bytes, found: FoundSeal, plan: Plan) -> Iterator[PlannedBlob]:
    """Yield what a sealed container holds: packs first, the seal last, so that what is sealed there is whole there.

    Parity is not in the seal: it vouches for nothing, and what it repairs is judged by the packs' own names.
    """
    lengths = {packs_blob(number): packs[-1].placement.end for number, packs in by_blob(found.seal.packs).items()}
    known = {*lengths, JOURNAL_BLOB, MANIFEST_BLOB, SEAL_BLOB}
    # Every blob of parity has a record in it, and every record stands for a pack.
    there = container.names(len(known) + len(found.seal.packs) + SPARE_NAMES)
    parity = [blob.decode() for blob in there if parity_number(blob.decode(errors="replace")) is not None]
    for stray in there:
        if stray.decode(errors="replace") not in known.union(parity):
            plan.leave(name + b"/" + stray, Category.UNKNOWN_TYPE, "the seal does not list it; it was not copied")
    small = {JOURNAL_BLOB: journal_bytes(found.seal), MANIFEST_BLOB: MAX_RECORD_BYTES, SEAL_BLOB: len(found.stored)}
    parity_cap = most_parity([pack.placement.length for pack in found.seal.packs])
    caps = {**lengths, **dict.fromkeys(parity, parity_cap), **small}
    for blob, cap in caps.items():
        path = name + b"/" + blob.encode()
        try:
            size = _file_size(container, blob.encode())
        except NotTaken as error:
            plan.leave(path, Category.FILE_SYSTEM, f"{error}; it was not copied")
            continue
        if size > cap:
            why = f"it has {size} bytes, {size - cap} more than the seal explains; these were not copied"
            plan.findings.append(Finding(path, Category.UNKNOWN_TYPE, why))
        yield PlannedBlob(blob.encode(), blob, lengths.get(blob, min(size, cap)))


def _file_size(container: Directory, name: bytes) -> int:
    with container.file(name) as file:
        size = file.size
    if size % PAGE_BYTES:
        raise NotTaken(f"{container.where}/{words(name)}", f"has {size} bytes, not whole pages")
    return size


def _charge(plan: Plan, bounds: Bounds, names: int, size: int) -> None:
    if plan.names + names > bounds.names:
        raise NotTaken("the device", f"holds more than {bounds.names} files")
    if plan.size + size > bounds.size:
        raise NotTaken("the device", f"claims more than {format_bytes(bounds.size)}, which it cannot hold")
    plan.names += names
    plan.size += size


def _survey_foreign(container: Directory, name: bytes, bounds: Bounds, plan: Plan) -> None:
    blobs: list[PlannedBlob] = []
    before = plan.names, plan.size
    try:
        for path, size in _walk(container, b"", name, (plan, bounds)):
            _charge(plan, bounds, 1, size)
            blobs.append(PlannedBlob(path, _legal_blob(path, name, plan), size))
    except NotTaken as error:
        plan.names, plan.size = before
        plan.leave(name, Category.UNKNOWN_TYPE, f"{error}; nothing of it was copied", EntityType.CONTAINER)
        return
    if blobs:
        plan.containers.append(PlannedContainer(name, "", None, tuple(blobs)))


def _walk(directory: Directory, prefix: bytes, top: bytes, state: tuple[Plan, Bounds]) -> Iterator[tuple[bytes, int]]:
    """Yield path and size of what can be a page blob; leave the rest with a finding."""
    plan, bounds = state
    for name in directory.names(bounds.names):
        path = prefix + name
        try:
            try:
                below = directory.enter(name)
            except NotTaken:
                size = _file_size(directory, name)
                if size > MAX_BLOB_LIMIT_BYTES:
                    raise NotTaken(words(path), f"has {size} bytes, too many for a blob") from None
                yield path, size
                continue
        except NotTaken as error:
            plan.leave(top + b"/" + path, Category.CLOUD_HTTP, f"{error}; it was not copied")
            continue
        with below:
            if path.count(b"/") >= MAX_DEPTH:
                raise NotTaken(words(path), f"lies deeper than {MAX_DEPTH} directories")
            yield from _walk(below, path + b"/", top, state)


def _legal_blob(path: bytes, container: bytes, plan: Plan) -> str:
    try:
        name = path.decode()
        check_blob(name)
        if not any(part.startswith(".") for part in name.split("/")):
            return name
    except (UnicodeDecodeError, Refused):
        pass
    name = f"databox-0x{sha256(path).hexdigest()}"
    why = renamed_words(container + b"/" + path, name, _ILLEGAL)
    plan.findings.append(Finding(container + b"/" + path, Category.BLOB_RENAMED, why))
    return name


def settle(plan: Plan, order: str, taken: frozenset[str]) -> None:
    """Give every container its name in the account. Never one that is there already: nothing is overwritten.

    A new name is `databox-<guid>` (azure.md C17), made from order and old name, so that it comes out the same again.
    """
    for number, container in enumerate(plan.containers):
        name = container.name.decode(errors="replace")
        why = "the account has a container of that name already" if name in taken else ""
        try:
            check_container(name)
        except Refused:
            why = _ILLEGAL
        copied_to = f"databox-{uuid.uuid5(_RENAMED, f'{order}/{container.name.hex()}')}" if why else name
        if why:
            message = renamed_words(container.name, copied_to, why)
            plan.findings.append(Finding(container.name, Category.CONTAINER_RENAMED, message, EntityType.CONTAINER))
        plan.containers[number] = replace(container, copied_to=copied_to)
