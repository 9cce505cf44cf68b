"""Backs up and restores a tree in a process of its own, which tells how much memory that took.

As a program: `python -m fidelity.peak WORK SOURCE TO`.
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
from wain.agent import point_packs

TESTS = Path(__file__).resolve().parents[1]


def measured(work: Path, source: Path, to: Path) -> dict[str, Any]:
    """Return what the process said: the job's state and counts, and the peaks of backup and restore in KiB."""
    command = [sys.executable, "-m", "fidelity.peak", str(work), str(source), str(to)]
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


def _main(work: str, source: str, to: str) -> None:
    said: dict[str, Any] = {}
    # It has a bound of its own (32 MiB), which a small tree does not reach: it would look like growth.
    point_packs.SEGMENT_CACHE_BYTES = 1 << 20
    bench = Bench(Path(work), Path(source))
    with _peak_of("backup", said):
        job = bench.backup()
    with _peak_of("restore", said):
        report = bench.restore(Path(to))
    said |= {"state": job.state.value, "files": job.files, "others": report.others, "exit": report.exit_code}
    print(json.dumps(said))


if __name__ == "__main__":
    _main(*sys.argv[1:])
