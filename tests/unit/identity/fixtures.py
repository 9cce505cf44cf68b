"""A served directory with people in it, for every suite that needs one."""

from collections.abc import Iterator

import pytest

from unit.identity.people import ADA, BOB, PASSWORD
from unit.identity.serving import Served, serve, stop


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("served"))
    served.identity.users.add(ADA, "Ada", PASSWORD)
    served.identity.users.add(BOB, "Bob", PASSWORD)
    yield served
    stop(served)
