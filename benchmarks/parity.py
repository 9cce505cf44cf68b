"""`python -m benchmarks.parity`: how fast parity is encoded, and what it adds to writing a device.

Prints MB/s: the code alone for each strength, BLAKE3 of the same bytes, and a device written in a directory with and
without parity (read-back not counted). Stored bytes are random, as sealed ones are.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blake3 import blake3

from wain.base.ids import RegistrationId, SeedId
from wain.base.moment import from_ns
from wain.chunk.names import ChunkType
from wain.device.target import DeviceTarget
from wain.device.writer import DeviceWriter
from wain.pack.format import Footer, encode_footer, pack_id
from wain.pack.verify import leaf_hashes
from wain.pack.writer import SealedPack
from wain.pageblob.parity import STRENGTHS, Strength
from wain.pageblob.parity_code import encode_group

MIB = 1 << 20
GROUP = 4
BODY_BYTES = 64 * MIB
REPEATS = 3


def make_pack() -> SealedPack:
    """Return a pack of random bytes with a true footer."""
    body = os.urandom(BODY_BYTES)
    footer = encode_footer(Footer(ChunkType.DATA, len(body), len(body) - 16, 16, leaf_hashes(memoryview(body))))
    return SealedPack(pack_id(footer), ChunkType.DATA, memoryview(body + footer), ())


def best(work: Callable[[], object], size: int) -> float:
    """Return the best of a few runs, in MB/s."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return size / min(seconds) / 1e6


def write(folder: Path, packs: Sequence[SealedPack], strength: Strength | None) -> None:
    """Write packs to a device in a directory, durably, and take it away again."""
    root = folder / "device"
    (root / "PageBlob").mkdir(parents=True)
    target = DeviceTarget(root, RegistrationId(b"R" * 16), SeedId(b"S" * 16), "bench", b"k" * 32, parity=strength)
    with DeviceWriter.open(target, lambda: from_ns(0)) as writer:
        for pack in packs:
            writer.put(pack)
        writer.commit()
    shutil.rmtree(root)


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("--folder", default=None, help="where the device is written (default: the temporary directory)")
    parser.add_argument("--groups", type=int, default=2, help="groups of 256 MiB written to it")
    given = parser.parse_args(words)
    packs = [make_pack() for _ in range(GROUP)]
    size = sum(len(pack.stored) for pack in packs)
    print(f"BLAKE3      {best(lambda: [blake3(pack.stored).digest() for pack in packs], size):8.0f} MB/s")
    for percent, strength in STRENGTHS.items():
        if strength is not None:
            rate = best(lambda s=strength: list(encode_group([pack.stored for pack in packs], s)), size)  # type: ignore[misc]
            print(f"encode {percent:2} % {rate:9.0f} MB/s")
    many = [make_pack() for _ in range(GROUP * given.groups)]
    for percent, strength in STRENGTHS.items():
        if percent in (0, 6):
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                rate = best(lambda s=strength, f=folder: write(Path(f), many, s), size * given.groups)  # type: ignore[misc]
            print(f"device {percent:2} % {rate:9.0f} MB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
