"""Successive versions of a source tree: the standard library of the running Python, and seeded edits of it."""

import os
import random
import sysconfig
from collections.abc import Iterator

from benchmarks.corpora import text

VERSIONS = 5
LOG = "history.log"
LOG_BYTES = 20_000_000
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}

CHANGED, RENAMED, ADDED, REMOVED, APPENDED = 0.08, 0.01, 0.01, 0.005, 0.05
"""Shares of the files, and of the log, that a new version touches."""


def source_tree(root: str, scale: float) -> None:
    """Write the first version: every n-th Python file of the standard library, and one big log beside them."""
    library = sysconfig.get_path("stdlib")
    paths = list(_python_files(library))
    if not paths:
        raise RuntimeError(f"{library} has no Python files to make a corpus of")
    for path in paths[:: max(round(1 / scale), 1)]:
        target = os.path.join(root, os.path.relpath(path, library))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, "rb") as source:
            _write(target, source.read())
    _write(os.path.join(root, LOG), text(random.Random("log 1"), max(int(LOG_BYTES * scale), 1000)))


def edit(root: str, version: int) -> None:
    """Make the next version out of the one before it, in place: what does not change keeps its inode and times.

    Lines are inserted and changed, files renamed, added and removed, and the log grows. The same tree and version give
    the same bytes.
    """
    dice = random.Random(f"version {version}")
    paths = list(_python_files(root))
    words = text(dice, 64 << 10)
    dice.shuffle(paths)
    groups = [max(round(len(paths) * share), 1) for share in (CHANGED, RENAMED, ADDED, REMOVED)]
    changed, renamed, added, removed = (paths[sum(groups[:n]) : sum(groups[: n + 1])] for n in range(len(groups)))
    for path in changed:
        _write(path, _changed(dice, words, path))
    for path in renamed:
        os.rename(path, path.removesuffix(".py") + f"_{version}.py")
    for path in added:
        _write(path.removesuffix(".py") + f"_added_{version}.py", _phrase(dice, words, dice.randint(500, 20_000)))
    for path in removed:
        os.unlink(path)
    log = os.path.join(root, LOG)
    with open(log, "ab") as file:
        file.write(text(dice, max(int(os.path.getsize(log) * APPENDED), 1)))


def _python_files(root: str) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def _changed(dice: random.Random, words: bytes, path: str) -> bytes:
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    for _ in range(dice.randint(1, 12)):
        place = dice.randint(0, len(lines))
        fresh = b"# " + _phrase(dice, words, dice.randint(20, 100)) + b"\n"
        # A line is inserted as often as one is changed.
        lines[place : place + dice.randint(0, 1)] = [fresh]
    return b"".join(lines)


def _phrase(dice: random.Random, words: bytes, size: int) -> bytes:
    start = dice.randrange(len(words) - size)
    return words[start : start + size]


def _write(path: str, body: bytes) -> None:
    with open(path, "wb") as file:
        file.write(body)
