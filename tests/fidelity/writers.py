"""Programs that change a directory while somebody reads it. Each goes on, from a seed, until it is killed.

As a program: `python -m fidelity.writers NAME DIR SEED`; it prints a line when it has begun.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fidelity.active import change

NAMES = 40
TESTS = Path(__file__).resolve().parents[1]


def rename_over(folder: str, dice: random.Random) -> None:
    """Save files as editors do, in bursts: each name is there at every moment."""
    number = 0
    while True:
        for _ in range(dice.randrange(1, 30)):
            number += 1
            with open(f"{folder}/.tmp{number % 3}", "w", encoding="ascii") as file:
                file.write(str(number))
            os.rename(f"{folder}/.tmp{number % 3}", f"{folder}/name{dice.randrange(NAMES)}")
        time.sleep(dice.random() * 0.05)


def _cut(folder: str, dice: random.Random, size: int) -> None:
    """Fill a file with a letter, cut it anywhere, fill it again. It never holds a zero."""
    with open(f"{folder}/cut", "r+b", buffering=0) as file:
        while True:
            at = file.seek(0, os.SEEK_END)
            while at < size:
                at += file.write(b"x" * min(size - at, 1 << 20))
            time.sleep(dice.random() * 0.004)
            file.truncate(dice.randrange(size))
            time.sleep(dice.random() * 0.002)


WRITERS: dict[str, Callable[[str, random.Random], None]] = {
    "rename-over": rename_over,
    "everything": change,
    "cut-small": partial(_cut, size=400_000),
    "cut-large": partial(_cut, size=6_000_000),
}


@contextmanager
def writing(name: str, folder: str, seed: int) -> Iterator[None]:
    """Run a writer in a process of its own while the `with` block lasts."""
    command = [sys.executable, "-m", "fidelity.writers", name, folder, str(seed)]
    surroundings = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield
            assert process.poll() is None, f"the writer {name} has ended by itself"
        finally:
            process.kill()


if __name__ == "__main__":
    chosen, where, seed = sys.argv[1:]
    print("begun", flush=True)
    WRITERS[chosen](where, random.Random(int(seed)))
