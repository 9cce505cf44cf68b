"""An open device, in any of its shapes, with what its label says. Nothing on it is trusted."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wain.base.errors import DataError, Refused
from wain.databox.names import words
from wain.databox.untrusted import Directory, NotTaken, open_root
from wain.device.label import LABEL_FILE, MAX_LABEL_BYTES, Label, decode_label
from wain.device.seal import Seal, check_seal, seal_hash
from wain.pageblob.names import PAGE_BLOB_DIR, SEAL_BLOB
from wain.pageblob.paged import decode_paged

MAX_RECORD_BYTES: Final = 64 << 20
"""The largest seal or manifest that is read into memory: over a million packs."""
_INSIDE: Final = PAGE_BLOB_DIR.encode()


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A device that may be read. `label` is None when there is none that can be read; `label_problem` says why."""

    path: Path
    root: Directory | None
    """The directory that the label lies in; None for a share, which is the page-blob directory itself."""
    pageblob: Directory
    label: Label | None
    label_problem: str


@dataclass(frozen=True, slots=True)
class FoundSeal:
    """A seal that verifies: its content, the bytes it was stored as, and the hash that receipts name it by."""

    seal: Seal
    stored: bytes
    hash: bytes


@contextmanager
def opened(path: Path) -> Iterator[OpenDevice]:
    """Open the device at `path`: its root, its `PageBlob` directory, or a `<account>_PageBlob` share.

    Raises:
        Refused: there is no device.
        NotTaken: `PageBlob` is something else than a directory.
    """
    here = Path(os.path.abspath(path))
    with open_root(here) as first:
        if first.has(_INSIDE):
            with first.enter(_INSIDE) as pageblob:
                yield _device(here, first, pageblob)
        elif here.name == PAGE_BLOB_DIR:
            with open_root(here.parent) as root, root.enter(_INSIDE) as pageblob:
                yield _device(here.parent, root, pageblob)
        elif here.name.endswith("_" + PAGE_BLOB_DIR):
            yield OpenDevice(here, None, first, None, "a share has none")
        else:
            hint = f"Give the directory that contains {PAGE_BLOB_DIR}, or the share <account>_{PAGE_BLOB_DIR} itself."
            raise Refused(f"{here} is not a device: it holds no {PAGE_BLOB_DIR} directory", hint)


def _device(path: Path, root: Directory, pageblob: Directory) -> OpenDevice:
    try:
        label = decode_label(record(root, LABEL_FILE.encode(), MAX_LABEL_BYTES))
    except DataError as error:
        return OpenDevice(path, root, pageblob, None, str(error))
    return OpenDevice(path, root, pageblob, label, "")


def record(directory: Directory, name: bytes, cap: int = MAX_RECORD_BYTES) -> bytes:
    """Return a small file of a device, whole, read once.

    Raises:
        NotTaken: missing, not a file, over `cap` bytes, or partly unreadable.
    """
    with directory.file(name) as file:
        if file.size > cap:
            raise NotTaken(f"{directory.where}/{words(name)}", f"has more than {cap} bytes")
        read = file.read(0, file.size)
    if read.holes:
        start, end = read.holes[0]
        raise NotTaken(f"{directory.where}/{words(name)}", f"cannot be read (bytes {start} to {end})")
    return bytes(read.body)


def find_seal(container: Directory) -> FoundSeal:
    """Return the seal of a container, verified by the key that it names itself.

    Raises:
        DataError: there is none, or it is not a seal, or its signature does not verify.
    """
    return read_seal(record(container, SEAL_BLOB.encode()), container.where)


def read_seal(stored: bytes, container: str) -> FoundSeal:
    """Return the seal that a stored seal blob holds, verified by the key that it names itself.

    Raises:
        DataError: it is not a seal, or its signature does not verify.
    """
    body = decode_paged(stored, f"the seal of {container}", MAX_RECORD_BYTES)
    return FoundSeal(check_seal(body), stored, seal_hash(body))
