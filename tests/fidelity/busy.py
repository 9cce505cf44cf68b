"""A tree that others work in while it is backed up, and what a backup of it may hold.

Every file says what it is: its name and kind tell which contents it has ever had. So each file of a backup can be
judged alone: it is one of the states that existed, or the backup has named it.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

PIECE = 64 << 10
SPARSE_BYTES = 2 << 20
SPARSE_CUT = 300_000
BLOCKS = (0, 512 << 10, 1 << 20, SPARSE_BYTES - PIECE)
ALWAYS = ("log", "linked")
"""Of these each state begins as every other one of the same name: what is read in the midst of a change does so too."""
FILES = 12
"""Of each kind."""
WORKERS = 2


def stream(name: str, length: int, at: int = 0) -> bytes:
    """Bytes of an endless stream that only this name has. No byte is zero."""
    first, last = at // PIECE, (at + length + PIECE - 1) // PIECE
    pieces = []
    for number in range(first, last):
        seed = int.from_bytes(blake2b(f"{name} {number}".encode(), digest_size=8).digest(), "little")
        pieces.append(random.Random(seed).randbytes(PIECE).replace(b"\0", b"\1"))
    return b"".join(pieces)[at - first * PIECE :][:length]


def version(name: str, number: int) -> bytes:
    """The whole content of a file that is saved by renaming: it says its own number and length."""
    size = 1 + (number * 7919) % 90_000
    return f"{name} {number} {size}\n".encode() + stream(f"{name} {number}", size)


def sparse_states(name: str) -> tuple[bytes, bytes]:
    """The two states between which a sparse file goes: with all its blocks, and cut."""
    whole = bytearray(SPARSE_BYTES)
    for at in BLOCKS:
        whole[at : at + PIECE] = stream(name, PIECE, at)
    return bytes(whole), bytes(whole[:SPARSE_CUT])


# The writers


def save(path: str, dice: random.Random) -> None:
    name = os.path.basename(path)
    with open(path + "~", "wb") as file:
        file.write(version(name, dice.randrange(1000)))
    os.rename(path + "~", path)


def grow_and_cut(path: str, dice: random.Random) -> None:
    name = os.path.basename(path)
    size = os.path.getsize(path)
    if size > 6 << 20 or dice.random() < 0.3:
        os.truncate(path, dice.randrange(size + 1))
    else:
        with open(path, "ab") as file:
            file.write(stream(name, dice.randrange(200_000), size))


def punch(path: str, _: random.Random) -> None:
    name = os.path.basename(path)
    with open(path, "r+b") as file:
        if os.path.getsize(path) == SPARSE_BYTES:
            file.truncate(SPARSE_CUT)
            return
        # In one step: nobody may see a file with some of its blocks.
        with open(path + "~", "wb") as fresh:
            write_sparse(fresh.fileno(), name)
    os.rename(path + "~", path)


def write_sparse(fd: int, name: str) -> None:
    os.ftruncate(fd, SPARSE_BYTES)
    for at in BLOCKS:
        os.pwrite(fd, stream(name, PIECE, at), at)


def turn(path: str, dice: random.Random) -> None:
    """Make a file, a directory with a file in it, a link out of the tree, or nothing, in the place of what is there."""
    with contextlib.suppress(OSError):
        os.unlink(path + "/inner")
    with contextlib.suppress(OSError):
        os.rmdir(path)
    with contextlib.suppress(OSError):
        os.unlink(path)
    kind = dice.randrange(4)
    if kind == 0:
        with open(path, "wb") as file:
            file.write(stream(os.path.basename(path), 5000))
    elif kind == 1:
        os.mkdir(path)
        with open(path + "/inner", "wb") as file:
            file.write(stream("inner", 5000))
    elif kind == 2:
        os.symlink("/etc/passwd", path)


def link_anew(path: str, _: random.Random) -> None:
    """Remove a file with two names and make it again under another content: inode numbers are given out again."""
    for name in (path, path + "-too"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    own = os.path.basename(path)
    with open(path, "wb") as file:
        file.write(f"{own} ".encode() + stream(own, 3000))
    os.link(path, path + "-too")


WRITERS: dict[str, Callable[[str, random.Random], None]] = {
    "saved": save,
    "log": grow_and_cut,
    "sparse": punch,
    "turning": turn,
    "linked": link_anew,
}


def make(root: Path) -> None:
    """Make the tree as it is before anybody works in it."""
    for kind, writer in WRITERS.items():
        folder = root / kind
        folder.mkdir(parents=True)
        for number in range(FILES):
            path = str(folder / f"{kind}-{number}")
            if kind == "log":
                Path(path).write_bytes(stream(os.path.basename(path), 700_000 * (number % 3)))
            elif kind == "sparse":
                with open(path, "wb") as file:
                    write_sparse(file.fileno(), os.path.basename(path))
            else:
                writer(path, random.Random(number))


def work(root: Path, seed: int, share: int) -> None:
    """Work in the tree until killed, on this worker's share of the files."""
    dice = random.Random(seed)
    mine = range(share, FILES, WORKERS)
    kinds = list(WRITERS)
    while True:
        kind = dice.choice(kinds)
        WRITERS[kind](str(root / kind / f"{kind}-{dice.choice(mine)}"), dice)
        if dice.random() < 0.05:
            time.sleep(dice.random() * 0.003)


# The judge


def wrong(kind: str, path: Path) -> str:
    """Return what is wrong with a restored file, or nothing: it must be a state that existed."""
    body = path.read_bytes()
    name = path.name.removesuffix("-too")
    if kind == "saved":
        number = body.split(b" ", 2)[1] if body.count(b" ") > 1 else b"x"
        whole = number.isdigit() and body == version(name, int(number))
        return "" if whole else "it is no version that was ever saved"
    if kind == "log":
        return "" if body == stream(name, len(body)) else "it holds what was never written"
    if kind == "sparse":
        return "" if body in sparse_states(name) else f"with {len(body)} bytes it is in a state that never existed"
    if kind == "turning":
        return "" if body == stream(name, len(body)) else "it is another file"
    own = f"{name} ".encode() + stream(name, 3000)
    return "" if own.startswith(body) else "it has another file's content"


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
