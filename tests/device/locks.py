"""Locked devices for tests: which programs are missing, and images with a lock on them."""

import gzip
import os
import shutil
from pathlib import Path

import pytest

from wain.device.lock import BACKENDS
from wain.device.programs import find_program

PASSKEY = "Opens2Branch@Seven"
OTHER = "Another1@Passkey"
SAMPLES = "WAIN_BITLOCKER_SAMPLES"
"""Names the directory of BitLocker sample volumes: `tests/_data/bde` of the sources of dissect.fve."""
SAMPLE_PASSKEY = "password12!@"
"""What opens them (their own tests say so)."""


def why_no(kind: str) -> str:
    """Return why devices of a kind of lock cannot be opened here, or nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/loop-control") or not os.path.exists("/dev/fuse"):
        return "no loop devices or no FUSE"
    missing = [name for name in (*BACKENDS[kind]().programs, "blkid") if find_program(name) is None]
    return f"{missing[0]} is not installed" if missing else ""


needs_luks = pytest.mark.skipif(bool(why_no("LUKS")), reason=f"LUKS: {why_no('LUKS')}")
_NO_SAMPLES = "" if os.path.isdir(os.environ.get(SAMPLES, "")) else f"{SAMPLES} names no directory"
needs_bitlocker = pytest.mark.skipif(
    bool(why_no("BitLocker") or _NO_SAMPLES), reason=f"BitLocker: {why_no('BitLocker') or _NO_SAMPLES}"
)


def image(folder: Path, name: str = "disk.img", size: int = 64 << 20) -> Path:
    """A blank image."""
    path = folder / name
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def bitlocker_sample(folder: Path, name: str = "aes_128.bin") -> Path:
    """A BitLocker volume that Windows made."""
    path = folder / name
    with gzip.open(Path(os.environ[SAMPLES]) / f"{name}.gz") as packed, open(path, "wb") as file:
        shutil.copyfileobj(packed, file)
    return path
