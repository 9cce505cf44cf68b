"""What the fidelity tests stand on: a disk of each kind of file system."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.disks import Disk

FULL = bool(os.environ.get("WAIN_TORTURE_FULL"))
"""Torture by every length, byte and mode, and 200,000 files in one directory."""
SIZE = (12 if FULL else 2) << 30
"""Of the image, which is sparse."""


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = Disk(request.param, tmp_path, size=SIZE)
    made.mount()
    yield made
    made.drop()
