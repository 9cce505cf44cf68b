"""Prepares a device for an order: makes `PageBlob` on it, and the label that says whose it is."""

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wain.base.errors import DataError, Refused
from wain.base.ids import UUID_BYTES, DeviceId
from wain.databox.home import Parts
from wain.databox.opened import record
from wain.databox.orders import Held
from wain.databox.survey import PASSED_OVER
from wain.databox.untrusted import Directory, open_root
from wain.device.label import LABEL_FILE, MAX_LABEL_BYTES, Label, decode_label, encode_label
from wain.order import order as stages
from wain.order.order import AccountKind, Stage
from wain.order.rules import PAGE_BLOB_KINDS
from wain.pageblob.names import PAGE_BLOB_DIR
from wain.storage.durable import TEMPORARY_PREFIX, write_atomic_at, writing

FOLDERS: Final[Mapping[AccountKind, tuple[str, ...]]] = {
    kind: (PAGE_BLOB_DIR,) if kind in PAGE_BLOB_KINDS else () for kind in AccountKind
}
"""The folders a device gets, by the kind of account it is for (azure.md 1.2): no page blobs, no `PageBlob`."""

_LABEL: Final = LABEL_FILE.encode()
_SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_OURS: Final = {_LABEL, (TEMPORARY_PREFIX + LABEL_FILE).encode(), PAGE_BLOB_DIR.encode()}
_NAMES_CAP: Final = 64


@dataclass(frozen=True, slots=True)
class Blank:
    """The directory to prepare, and the serial number it shall have (empty: one is made up)."""

    path: Path
    serial: str = ""


def prepare_device(parts: Parts, name: str, blank: Blank) -> Label:
    """Prepare the device at `blank.path` for an order, and say so. The same call again changes nothing.

    A device that is not empty is refused, unless everything on it is what an earlier try of this call left.

    Raises:
        Missing: there is no such order.
        IllegalMove: the order is past preparation, or dead.
        Refused: the directory is not there, not empty, another order's, or the order has another device already.
    """
    if blank.serial and not _SERIAL.fullmatch(blank.serial):
        raise Refused(f"{blank.serial!r} cannot be a serial number", "Use up to 64 letters, digits, dots and hyphens.")
    with parts.home.exclusive(name), open_root(blank.path) as root:
        held = parts.orders.find(name)
        label = _label_on(root)
        if held.order.device is not None:
            if label is not None and label.device == held.order.device:
                return label
            serial = f"with serial number {held.serial}"
            raise Refused(f"order {name} has its device already, {serial}; {blank.path} is another one")
        stages.advance(held.order.stage, Stage.DEVICE_PREPARED)
        _check_empty(root, label, held, blank.path)
        held = _reserve(parts, held, blank)
        if label is None or label.device != held.device:
            label = _write(parts, root, held)
        with parts.catalog.writing() as rows:
            parts.orders.move(rows, parts.orders.held(rows, name), Stage.DEVICE_PREPARED)
    return label


def _label_on(root: Directory) -> Label | None:
    if not root.has(_LABEL):
        return None
    try:
        return decode_label(record(root, _LABEL, MAX_LABEL_BYTES))
    except DataError as error:
        hint = "Erase the device, or remove the label by hand when you are sure that nothing on it is needed."
        raise Refused(f"the device has a label that cannot be read: {error}", hint) from error


def _check_empty(root: Directory, label: Label | None, held: Held, path: Path) -> None:
    if label is not None and label.device != held.device:
        hint = "Erase it first; that asks for proof that everything on it has arrived."
        raise Refused(f"the device at {path} is prepared for order {label.order} (serial {label.serial})", hint)
    hint = "Give an empty directory: the root of a freshly formatted disk."
    strays = [name for name in root.names(_NAMES_CAP) if name not in _OURS and name not in PASSED_OVER]
    if strays:
        raise Refused(f"{path} is not empty: it holds {os.fsdecode(strays[0])!r}", hint)
    if root.has(PAGE_BLOB_DIR.encode()):
        with root.enter(PAGE_BLOB_DIR.encode()) as inside:
            if inside.names(_NAMES_CAP):
                raise Refused(f"{path} is not empty: its {PAGE_BLOB_DIR} holds something", hint)


def _reserve(parts: Parts, held: Held, blank: Blank) -> Held:
    """Write down which device the order gets, before the device says so. Another path or serial: another device."""
    root = os.fsencode(os.path.abspath(blank.path))
    if held.device is not None and held.root == root and blank.serial in ("", held.serial):
        return held
    device = DeviceId(secrets.token_bytes(UUID_BYTES))
    serial = blank.serial or f"WAIN-{device[:6].hex().upper()}"
    with parts.catalog.writing() as rows:
        chosen = "UPDATE orders SET device = :device, serial = :serial, root = :root WHERE id = :id"
        rows.change(chosen, id=held.id, device=device, serial=serial, root=root)
        return parts.orders.held(rows, held.order.name)


def _write(parts: Parts, root: Directory, held: Held) -> Label:
    assert held.device is not None
    assert held.serial is not None
    order, sku = held.order, parts.orders.sku(held.order)
    room = os.fstatvfs(root.fd)
    capacity = min(room.f_blocks * room.f_frsize, max(sku.usable_bytes, sku.limit_bytes))
    label = Label(held.device, held.serial, order.name, order.sku, capacity, parts.clock(), sku.may_span)
    with writing(root.ground.root):
        for folder in FOLDERS[order.account_kind]:
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=root.fd)
        os.fsync(root.fd)
    write_atomic_at(root.fd, LABEL_FILE, encode_label(label), 0o644)
    return label
