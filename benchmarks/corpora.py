"""What is backed up, made from what a Debian machine has and by seeded dice; `edits` has successive versions."""

import itertools
import os
import random
import shutil
from collections.abc import Iterator

SMALL_FILES = 110_000
SMALL_LIMIT = 256 << 10
"""Files of /usr up to this size count as small."""

LARGE_BYTES = 4_000_000_000
BLOCK = 1 << 20

MEDIA_FILES = 30
MEDIA_BYTES = (20_000_000, 60_000_000)

MILLION_FILES = 1_000_000
TINY_LIMIT = 2 << 10
BRANCHES = 40


def small_files(root: str, scale: float) -> None:
    """Copy small files of /usr below `root` until there are enough.

    Where /usr has too few, its files come again under other names, with a first line of their own: every tool here
    takes such a file as one chunk, so that deduplication has nothing to win.
    """
    wanted = max(int(SMALL_FILES * scale), 10)
    made, turn = 0, 0
    while made < wanted:
        before = made
        for path in _candidates():
            if made == wanted:
                break
            target = os.path.join(root, f"turn-{turn}", path.lstrip("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            made += _copy(path, target, b"turn %d\n" % turn if turn else b"")
        if made == before:
            raise RuntimeError("/usr has no small files to make a corpus of")
        turn += 1


def _candidates() -> Iterator[str]:
    for folder, folders, files in os.walk("/usr"):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.isfile(path) and os.path.getsize(path) <= SMALL_LIMIT:
                yield path


def _copy(path: str, target: str, first: bytes) -> bool:
    try:
        with open(path, "rb") as source, open(target, "wb") as copy:
            copy.write(first)
            shutil.copyfileobj(source, copy)
        shutil.copystat(path, target)
    except OSError:
        # A file of the running system that went away or may not be read: another takes its place.
        return False
    return True


def large_file(root: str, scale: float) -> None:
    """Write one file whose mebibytes are random and text-like in turn; no block comes twice."""
    os.makedirs(root)
    dice = random.Random(20240607)
    phrases = _phrases(dice)
    blocks = max(int(LARGE_BYTES * scale) // BLOCK, 2)
    with open(os.path.join(root, "large"), "wb") as file:
        for number in range(blocks):
            file.write(dice.randbytes(BLOCK) if number % 2 == 0 else _text(dice, phrases))


def _phrases(dice: random.Random) -> list[bytes]:
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [12, 9, 8, 8, 7, 7, 6, 6, 6, 4, 4, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0.2, 0.1, 0.1, 0.1]
    words = ["".join(dice.choices(letters, weights, k=dice.randint(2, 9))) for _ in range(6000)]
    commonness = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return [(" ".join(dice.choices(words, cum_weights=commonness, k=3)) + " ").encode() for _ in range(20_000)]


def _text(dice: random.Random, phrases: list[bytes]) -> bytes:
    body = b""
    while len(body) < BLOCK:
        body += b"".join(dice.choices(phrases, k=BLOCK // 12))
    return body[:BLOCK]


def text(dice: random.Random, size: int) -> bytes:
    """Return text-like bytes: they compress about as prose does."""
    phrases, body = _phrases(dice), b""
    while len(body) < size:
        body += _text(dice, phrases)
    return body[:size]


def media(root: str, scale: float) -> None:
    """Write incompressible files of 20 to 60 MB, then one of them again, and one with 64 KiB put into its middle."""
    os.makedirs(root)
    dice = random.Random(20240608)
    for number in range(MEDIA_FILES):
        body = dice.randbytes(max(int(dice.randint(*MEDIA_BYTES) * scale), 4096))
        _write(os.path.join(root, f"media-{number:02}"), body)
        if number == 0:
            _write(os.path.join(root, "copied"), body)
        if number == 1:
            half = len(body) // 2
            _write(os.path.join(root, "edited"), body[:half] + dice.randbytes(64 << 10) + body[half:])


def million(root: str, scale: float) -> None:
    """Write files of 0 to 2 KiB into a tree whose directories have 100 to 1000 entries."""
    wanted = max(int(MILLION_FILES * scale), 10)
    dice = random.Random(20240609)
    body = text(dice, BLOCK)
    folders: list[str] = []
    made = 0
    while made < wanted:
        # Each directory has up to 40 directories below it, so that the tree of a million files has three levels.
        above = folders[(len(folders) - 1) // BRANCHES] if folders else root
        folder = os.path.join(above, f"d{len(folders):05}") if folders else root
        folders.append(folder)
        os.makedirs(folder)
        for _ in range(min(dice.randint(100, 1000 - BRANCHES), wanted - made)):
            start, size = dice.randrange(BLOCK - TINY_LIMIT), dice.randint(0, TINY_LIMIT)
            _write(os.path.join(folder, f"f{made:07}"), (b"%d\n" % made + body[start : start + size])[:size])
            made += 1


def change_ten(root: str, turn: int) -> None:
    """Add a line to ten files, the same ones at every turn."""
    paths = sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    for path in random.Random(20240610).sample(paths, min(10, len(paths))):
        with open(path, "ab") as file:
            file.write(b"turn %d\n" % turn)


def _write(path: str, body: bytes) -> None:
    with open(path, "wb") as file:
        file.write(body)
