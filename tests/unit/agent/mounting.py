"""File systems that a test mounts for itself."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(*options: str, on: Path) -> Iterator[None]:
    """Mount something while the block runs; where that is not possible, skip the test and say why."""
    done = subprocess.run(["mount", *options, str(on)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(on)], check=True)
