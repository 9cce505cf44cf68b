"""The served directory, and one in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.identity.fixtures import served
from unit.identity.ground import Ground

__all__ = ["ground", "served"]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "identity")
    yield ground
    ground.identity.close()
