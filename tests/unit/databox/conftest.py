"""A running `wain serve` with people and accounts, for the suites that speak to it."""

from collections.abc import Iterator

import pytest

from unit.databox.serving import Serve, running


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    yield from running(tmp_path_factory.mktemp("serve"))


@pytest.fixture
def own_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """One that the test may end; it is not started yet."""
    served = Serve(tmp_path_factory.mktemp("own"))
    served.settle()
    yield served
    served.close()
