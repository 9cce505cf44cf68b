"""`python -m benchmarks.levels [DIR]`: what each zstd level costs, and saves, on real files (default: /usr).

Files are read end to end in the order of their paths, as a walk meets them, and compressed in segments of the size that
a backup makes, by one thread that does nothing else. Links and doubles by hard link count once. The ratio is stored
bytes over plain bytes, with segments that compression does not help stored as they are.
"""

import os
import sys
import time
from collections.abc import Iterator

from wain.agent.pipeline import SEGMENT_BYTES
from wain.base.ids import ChunkId
from wain.pack.segment import Compressor
from wain.policy.compression import LEVELS

TRIED = (1, 2, 3, 5, 7, 9, 12, 15, 19)
SAMPLE_BYTES = 192 << 20
"""How much is compressed at each level, taken evenly from all there is."""


def segments(root: str) -> Iterator[bytes]:
    """Yield the files below a directory, end to end, in pieces of a segment's size."""
    held, seen = bytearray(), set()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                stat = os.lstat(path)
                if not os.path.isfile(path) or os.path.islink(path) or (stat.st_dev, stat.st_ino) in seen:
                    continue
                seen.add((stat.st_dev, stat.st_ino))
                with open(path, "rb") as file:
                    while piece := file.read(SEGMENT_BYTES):
                        held += piece
                        while len(held) >= SEGMENT_BYTES:
                            yield bytes(held[:SEGMENT_BYTES])
                            del held[:SEGMENT_BYTES]
            except OSError:
                continue


def sample(root: str) -> list[bytes]:
    """Return every n-th segment, so that all of a large tree is represented."""
    kept: list[bytes] = []
    every = 1
    for number, segment in enumerate(segments(root)):
        if number % every == 0:
            kept.append(segment)
        if len(kept) * SEGMENT_BYTES > 2 * SAMPLE_BYTES:
            kept, every = kept[::2], every * 2
    return kept[: SAMPLE_BYTES // SEGMENT_BYTES] if len(kept) * SEGMENT_BYTES <= SAMPLE_BYTES else kept[::2]


def measure(level: int, bodies: list[bytes]) -> tuple[float, float]:
    """Return plain bytes a second of processor time, and stored bytes over plain bytes."""
    compressor = Compressor(level)
    stored = 0
    begun = time.process_time()
    for body in bodies:
        stored += len(compressor.compress([body], ((ChunkId(b""), len(body)),)).body)
    seconds = time.process_time() - begun
    plain = sum(map(len, bodies))
    return plain / seconds, stored / plain


def main(arguments: list[str]) -> int:
    """Measure and print."""
    root = arguments[0] if arguments else "/usr"
    bodies = sample(root)
    if not bodies:
        print(f"{root} holds no megabyte of files", file=sys.stderr)
        return 1
    print(f"{len(bodies)} segments of {SEGMENT_BYTES >> 20} MiB from {root}; one thread, processor time")
    names = {level: choice.value for choice, level in LEVELS.items()}
    print(f"{'level':>5}  {'MB/s':>7}  {'stored':>7}  choice")
    for level in TRIED:
        rate, ratio = measure(level, bodies)
        print(f"{level:>5}  {rate / 1e6:>7.0f}  {ratio:>7.1%}  {names.get(level, '')}".rstrip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
