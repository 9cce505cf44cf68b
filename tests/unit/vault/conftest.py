"""A vault to stand on."""

import pytest

from unit.vault.ground import Ground


@pytest.fixture
def ground(tmp_path):
    ground = Ground(tmp_path / "vault")
    yield ground
    ground.close()
