"""A file that is cut while it is read holds no zeros that it never held (Linux zeroes the tail under the reader)."""

import os
import time
from pathlib import Path

import pytest

from device.disks import KINDS, Disk
from fidelity.writers import writing
from wain.agent.reading import FileReader, look_again
from wain.agent.windows import Windows
from wain.chunk.cutter import SMALL_BYTES, Cutter

SECONDS = float(os.environ.get("WAIN_CUT_SECONDS", "2"))


def read(folder: int) -> tuple[bool, bool]:
    """Read the file as a backup does; return whether it was seen to change, and whether there were zeros."""
    found = look_again(folder, b"cut")
    with FileReader(folder, found) as reader:
        size = reader.before.st_size
        if size <= SMALL_BYTES:
            pieces = [reader.small(size)]
        else:
            pieces = [bytes(piece) for piece in reader.pieces(Cutter(7), ((0, size),), Windows())]
        return reader.changed(), any(0 in piece for piece in pieces)


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("disk", KINDS, indirect=True)
def test_a_file_that_is_cut_has_no_zeros(disk: Disk, size: str) -> None:
    (Path(disk.point) / "cut").touch()
    folder = os.open(disk.point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        reads, changes, zeroed, until = 0, 0, 0, time.monotonic() + SECONDS
        with writing(f"cut-{size}", str(disk.point), seed=3):
            while time.monotonic() < until:
                changed, zeros = read(folder)
                assert changed or not zeros, f"read {reads} has zeros, and the file is said not to have changed"
                reads += 1
                changes += changed
                zeroed += zeros
    finally:
        os.close(folder)
    print(f"{disk.kind}: {reads} reads, {changes} of a file that changed, {zeroed} with zeros")
    assert changes
    # One that is cut and grows again before its size is looked at cannot be told apart: it is read again, and named.
    assert zeroed <= changes / 200
