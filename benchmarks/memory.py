"""`python -m benchmarks.memory [FILES]...`: Wain's peak memory as the number of files grows.

Trees of 10,000, 100,000 and 1,000,000 files of up to 2 KiB, made by a generator; for each the largest resident memory
and the seconds of a first backup, one of the same, one after ten files changed, and a restore.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from benchmarks import corpora
from benchmarks.measure import Measured, apart, count
from benchmarks.tools import Wain

SIZES = (10_000, 100_000, 1_000_000)


def measure_size(files: int, work: str) -> list[tuple[str, Measured]]:
    """Return what each step took with a tree of so many files."""
    source, target, place = (os.path.join(work, name) for name in ("source", "target", "wain"))
    apart(corpora.million, source, files / corpora.MILLION_FILES)
    os.mkdir(place)
    tool = Wain(place, source)
    tool.prepare()
    steps = [("first backup", tool.back_up()), ("unchanged backup", tool.back_up())]
    apart(corpora.change_ten, source, 1)
    steps.append(("10 files changed", tool.back_up()))
    os.mkdir(target)
    steps.append(("restore", tool.restore(target)))
    if count(target) != count(source):
        raise RuntimeError(f"restored {count(target)} (files, bytes) where {count(source)} were backed up")
    return steps


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("files", type=int, nargs="*", default=SIZES)
    parser.add_argument("--work", default=None, help="where trees are made (default: the temporary directory)")
    given = parser.parse_args(words)
    print(f"{'files':>9}  {'step':<17} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
    for files in given.files:
        work = tempfile.mkdtemp(dir=given.work)
        try:
            for step, took in measure_size(files, work):
                print(
                    f"{files:>9,}  {step:<17} {took.seconds:8.2f} {took.cpu_seconds:8.2f} {took.peak_bytes / 1e6:8.0f}"
                )
                sys.stdout.flush()
        finally:
            shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
