"""`python -m benchmarks.index [--chunks N]`: the chunk index at size.

Built, opened, probed and merged, and what it holds resident. Chunk ids are evenly spread, as keyed hashes are; a pack
holds 320 chunks, so that 50 million stand for about 10 TB. The table is the one an agent keeps: written by
`wain.agent.table_file`, mapped, and probed through `KnownChunks`, one id at a time, in random order. Resident bytes are
the kernel's: anonymous memory, and beside it pages of the mapped file, which it may take back at any time.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from wain.agent.known import KnownChunks
from wain.agent.pending import encode_refs
from wain.agent.table_file import write_table
from wain.base.ids import ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.index import Location, merge_indexes
from wain.storage.durable import write_atomic
from wain.tree.manifest import PackRef

PACK_CHUNKS = 320
BLOCK = 1 << 16
PROBES = 200_000
NEWER = 20
"""The newer of two tables that are merged is this part of the older one."""


def packs(count: int) -> list[PackId]:
    """Return the packs of so many chunks, by id."""
    return sorted(PackId(blake3(b"pack %d" % number).digest()) for number in range(-(-count // PACK_CHUNKS)))


def chunk(number: int, count: int, salt: int) -> ChunkId:
    """Return the id of one of `count` chunks: ids grow with the number and are spread evenly."""
    block = blake3(b"%d %d" % (salt, number // BLOCK)).digest(BLOCK * 24)
    return _id(number, count, block)


def _id(number: int, count: int, block: bytes) -> ChunkId:
    at = number % BLOCK * 24
    # Each id has a span of its own, and lies somewhere in it.
    span = (1 << 64) // count
    lead = number * span + int.from_bytes(block[at : at + 8], "big") % span
    return ChunkId(lead.to_bytes(8, "big") + block[at : at + 24])


def entries(count: int, salt: int, homes: Sequence[PackId]) -> Iterator[tuple[ChunkId, Location]]:
    """Yield every chunk, by id, with a place."""
    block = b""
    for number in range(count):
        if number % BLOCK == 0:
            block = blake3(b"%d %d" % (salt, number // BLOCK)).digest(BLOCK * 24)
        home = homes[number * 7919 % len(homes)]
        yield _id(number, count, block), Location(home, number % 60, number % 1000 * 1000, 1 + number % 70_000)


def timed(what: str, work: Callable[[], object], per: int = 1) -> None:
    """Run and print the seconds, or the microseconds for each of `per`."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{what:<34} {seconds:9.2f} s" + (f"  {seconds / per * 1e6:6.2f} us each" if per > 1 else ""), flush=True)


def resident(what: str, count: int, base: int = 0) -> int:
    """Print, and return, this process's anonymous memory in bytes, beyond `base`; and mapped pages beside it."""
    with open("/proc/self/status", encoding="ascii") as status:
        lines = dict(line.split(":", 1) for line in status)
    anonymous, mapped = (int(lines[name].split()[0]) << 10 for name in ("RssAnon", "RssFile"))
    words = f"{(anonymous - base) / count:5.2f} bytes a chunk, and {mapped / count:5.2f} mapped"
    print(f"{'  resident ' + what:<34} {words}", flush=True)
    return anonymous


def save(folder: Path, name: str, count: int, salt: int) -> None:
    """Write a table and the packs it names, as an agent does."""
    homes = packs(count)
    refs = [PackRef(pack, ChunkType.DATA, 64 << 20) for pack in homes]
    write_atomic(folder / f"{name}.packs", encode_refs(refs))
    write_table(folder / f"{name}.idx", entries(count, salt, homes), (count, homes))


def probe(known: KnownChunks, wanted: list[ChunkId], *, there: bool) -> None:
    """Ask for each."""
    found = sum(known.place(one) is not None for one in wanted)
    if found != (len(wanted) if there else 0):
        raise RuntimeError(f"{found} of {len(wanted)} chunks found")


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=__doc__)
    parser.add_argument("--chunks", type=int, default=50_000_000)
    parser.add_argument("--folder", default=None, help="where tables are written (default: the temporary directory)")
    given = parser.parse_args(words)
    count, newer = given.chunks, max(given.chunks // NEWER, 1)
    dice = random.Random(5)
    print(f"{count:,} chunks")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        timed("built and saved", lambda: save(folder, "00000001", count, 1), count)
        size = os.path.getsize(folder / "00000001.idx")
        print(f"{'  on disk':<34} {size / count:9.2f} bytes a chunk")
        hits = [chunk(dice.randrange(count), count, 1) for _ in range(min(PROBES, count) // 100)]
        misses = [ChunkId(dice.randbytes(32)) for _ in range(min(PROBES, count))]
        base = resident("before opening", count)
        opened: list[KnownChunks] = []
        timed("opened", lambda: opened.append(KnownChunks(folder)))
        known = opened[0]
        resident("opened", count, base)
        timed("probed, absent", lambda: probe(known, misses, there=False), len(misses))
        timed("probed, present", lambda: probe(known, hits, there=True), len(hits))
        resident("probed", count, base)
        timed("a newer one saved", lambda: save(folder, "00000002", newer, 2), newer)
        known.close()
        both = KnownChunks(folder)
        tables = [table for _, table in both._tables]  # noqa: SLF001 (what a merge reads)
        homes = sorted(both.packs)
        total = sum(map(len, tables))
        merged = merge_indexes(tables, frozenset())
        timed("merged and saved", lambda: write_table(folder / "merged", merged, (total, homes)), total)
        resident("merged", count, base)
        both.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
