"""What the fidelity tests stand on: a disk of each kind of file system."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.disks import Disk

SIZE = 2 << 30
"""Of the image, which is sparse."""


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = Disk(request.param, tmp_path, size=SIZE)
    made.mount()
    yield made
    made.drop()
