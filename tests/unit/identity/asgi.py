"""An application of the identity routes alone."""

import os
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette

from wain.identity.routes import routes
from wain.identity.service import Identity


def build() -> Starlette:
    identity = Identity.open(
        Path(os.environ["WAIN_TEST_IDENTITY"]), os.environ["WAIN_TEST_URL"], lambda: datetime.now(UTC)
    )
    return Starlette(routes=routes(identity))
