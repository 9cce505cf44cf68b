"""Backs up and restores a tree in a process of its own, which tells how much memory that took.

As a program: `python -m fidelity.peak WORK SOURCE TO [LIMIT]`.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fidelity.bench import Bench
from wain.agent import browse, crowd, level, names, parts, pipeline, point_packs
from wain.base.sizes import MIB

TESTS = Path(__file__).resolve().parents[1]


def measured(work: Path, source: Path, to: Path, limit: int | None = None) -> dict[str, Any]:
    """Return what the process said: the job's state and counts, and the peaks of each step in KiB.

    With a `limit`, about so many names of one directory are held in memory.
    """
    command = [sys.executable, "-m", "fidelity.peak", str(work), str(source), str(to), *([str(limit)] if limit else [])]
    roots = os.pathsep.join(map(str, (TESTS, TESTS.parent / "src")))
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": roots}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith(name)).split()[1])


@contextmanager
def _peak_of(what: str, said: dict[str, Any]) -> Iterator[None]:
    """Note by how many KiB the resident set grew at most: what came before does not count (proc_pid_clear_refs(5))."""
    gc.collect()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = _status("VmRSS")
    yield
    said[what] = _status("VmHWM") - before


def _hold(limit: int) -> None:
    """Lower what is held of one directory, and the queue of the pipeline, which a small tree does not fill."""
    crowd.HELD_NAMES = names.SORTED_NAMES = level.HELD_ENTRIES = limit
    parts.PART_NAMES, parts.MOST_NAMES = limit // 2, 2 * limit
    browse.CACHED_ENTRIES = limit
    pipeline.SEGMENT_BYTES, pipeline.QUEUE_BYTES = MIB // 4, MIB // 2


def _main(work: str, source: str, to: str, limit: str = "") -> None:
    said: dict[str, Any] = {}
    # It has a bound of its own (32 MiB), which a small tree does not reach: it would look like growth.
    point_packs.SEGMENT_CACHE_BYTES = 1 << 20
    if limit:
        _hold(int(limit))
    bench = Bench(Path(work), Path(source))
    with _peak_of("backup", said):
        job = bench.backup()
    with _peak_of("unchanged", said):
        again = bench.backup()
    with _peak_of("list", said), bench.server.view() as view:
        said["listed"] = sum(1 for _ in view.list(os.fsencode(source)))
    with _peak_of("restore", said):
        report = bench.restore(Path(to))
    said |= {"new_bytes_again": again.new_bytes, "directories": job.directories}
    said |= {"state": job.state.value, "files": job.files, "others": report.others, "exit": report.exit_code}
    print(json.dumps(said))


if __name__ == "__main__":
    _main(*sys.argv[1:])
