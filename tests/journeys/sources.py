"""Small sources for stories that are told many times, and the changes made to them."""

import os
import random
from pathlib import Path


def small_tree(root: Path, seed: int = 7, megabytes: int = 6) -> None:
    """Make a tree of some 120 entries with a bit of everything; about `megabytes` of content, half of it random."""
    dice = random.Random(seed)
    root.mkdir(parents=True)
    for number in range(80):
        folder = root / f"folder-{number % 9}"
        folder.mkdir(exist_ok=True)
        (folder / f"small-{number}").write_bytes(dice.randbytes(dice.randrange(9000)))
    for number in range(megabytes):
        body = dice.randbytes(1 << 19) + b"the quick brown fox jumps over the lazy dog\n" * 12_000
        (root / f"large-{number}").write_bytes(body)
    os.link(root / "large-0", root / "linked")
    (root / "symlink").symlink_to("large-1")
    os.mkfifo(root / "fifo")
    with open(root / "sparse", "wb") as file:
        file.truncate(4 << 20)
        file.seek(2 << 20)
        file.write(b"island" * 1000)
    (root / "empty").mkdir()
    os.utime(root / "folder-1", ns=(0, 1_111_111_111_111_111_111))
    os.chmod(root / "folder-2", 0o1750)


def change_a_little(root: Path) -> None:
    """Change one file, add one, remove one, rename one. Doing it twice changes nothing more."""
    (root / "folder-3" / "small-3").write_bytes(b"changed")
    (root / "added").write_bytes(random.Random(11).randbytes(100_000))
    (root / "folder-4" / "small-4").unlink(missing_ok=True)
    if (root / "large-1").exists():
        (root / "large-1").rename(root / "renamed")
