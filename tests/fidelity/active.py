"""A tree that changes all the time, and the judge of what a backup kept of it.

Every file consists of lines that say their file's name, its version and their own number. So whoever has a file knows
whether it was ever there: it is the beginning of one version. A file that is saved by renaming over must be whole.
"""

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

LINE = 32
FOLDERS = 10
OUTSIDE = "../../outside"
"""From a folder of the tree: what no backup of the tree may open."""
SMALL, LARGE = 3_000, 40_000
"""Lines of a file in one chunk, and of one in several."""


def lines(name: str, version: int, count: int) -> bytes:
    """Return the first lines of one version of a file."""
    return b"".join(b"%-9s %08d %012d\n" % (name.encode(), version, number) for number in range(count))


def fault(name: str, content: bytes) -> str:
    """Return what is wrong with a file, or nothing when it is the beginning of one version of it."""
    if not content:
        return ""
    try:
        version = int(content[10:18])
    except ValueError:
        return f"it begins with {content[:LINE]!r}"
    wanted = lines(name, version, -(-len(content) // LINE))[: len(content)]
    if content == wanted:
        return ""
    at = next(place for place, pair in enumerate(zip(content, wanted, strict=True)) if pair[0] != pair[1])
    at -= at % LINE
    return f"at {at} it has {content[at : at + LINE]!r}, not {wanted[at : at + LINE]!r}"


def is_whole(name: str, content: bytes) -> bool:
    """Say whether a file that is saved by renaming over has all of a version."""
    return len(content) == LINE * _length(int(content[10:18]))


def _length(version: int) -> int:
    return 1 + version * 7919 % SMALL


class Folder:
    """One folder, and what happens in it."""

    def __init__(self, path: str, dice: random.Random) -> None:
        self.path, self.dice, self.version = path, dice, 0

    def at(self, name: str) -> str:
        return f"{self.path}/{name}"

    def put(self, name: str, count: int, mode: str = "wb") -> None:
        """Write a version of a file, from its beginning."""
        self.version += 1
        with open(self.at(name), mode) as file:
            file.write(lines(os.path.basename(name), self.version, count))

    def remove(self, name: str) -> None:
        path = self.at(name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    # What happens

    def save(self) -> None:
        """As editors do: write beside it, rename over it."""
        name = f"saved{self.dice.randrange(6)}"
        self.version += 1
        with open(self.at(".new"), "wb") as file:
            file.write(lines(name, self.version, _length(self.version)))
        os.rename(self.at(".new"), self.at(name))

    def rewrite(self) -> None:
        """Empty it and write it anew; now and then write over what is there."""
        name, exists = f"rewr{self.dice.randrange(3)}", "r+b"
        self.put(name, SMALL, exists if self.dice.random() < 0.5 else "wb")

    def rewrite_large(self) -> None:
        self.put("large", LARGE, "r+b")

    def grow(self) -> None:
        """Append one line, or many."""
        with open(self.at("log"), "ab") as file:
            have, more = file.tell() // LINE, self.dice.choice((1, 500))
            file.write(lines("log", 1, have + more)[have * LINE :])

    def shrink(self) -> None:
        """Cut it byte by byte, and start again when nothing is left."""
        size = os.path.getsize(self.at("shrinks"))
        if size < LINE:
            self.put("shrinks", SMALL)
        else:
            os.truncate(self.at("shrinks"), size - self.dice.randrange(1, size // 2 + 2))

    def cut_sparse(self) -> None:
        """Cut a file whose end is a hole, and make it longer."""
        os.truncate(self.at("sparse"), LINE * SMALL + self.dice.randrange(8 << 20))

    def come_and_go(self) -> None:
        name = f"temp{self.dice.randrange(8)}"
        if os.path.lexists(self.at(name)):
            self.remove(name)
        else:
            self.put(name, self.dice.randrange(1, SMALL))

    def link_and_go(self) -> None:
        """Delete all names of a file, and give its inode number to another one that has two names as well."""
        old, new = self.dice.sample(range(6), 2)
        for number in (old, new):
            self.remove(f"pair{number}-a")
            self.remove(f"pair{number}-b")
        self.version += 1
        with open(self.at(f"pair{new}-a"), "wb") as file:
            file.write(lines(f"pair{new}", self.version, 5))
        os.link(self.at(f"pair{new}-a"), self.at(f"pair{new}-b"))

    def turn(self) -> None:
        """Make something else of a name: a file, a directory, a FIFO, or a link to what must not be read."""
        name = f"turns{self.dice.randrange(3)}"
        kind = self.dice.choice(("file", "directory", "fifo", "link", "link to directory"))
        self.remove(name)
        if kind == "file":
            self.put(name, 50)
        elif kind == "directory":
            os.mkdir(self.at(name))
            self.put(f"{name}/secret", 50)
        elif kind == "fifo":
            os.mkfifo(self.at(name))
        else:
            os.symlink(OUTSIDE + ("/secret" if kind == "link" else ""), self.at(name))

    def swap(self) -> None:
        """Exchange a directory, which is there nearly always, for a link that leads outside, and back."""
        os.rename(self.at("swapped"), self.at("aside"))
        os.symlink(OUTSIDE, self.at("swapped"))
        os.unlink(self.at("swapped"))
        os.rename(self.at("aside"), self.at("swapped"))

    def begin(self) -> None:
        """Make what is there from the beginning."""
        os.mkdir(self.path)
        for number in range(6):
            self.put(f"saved{number}", _length(self.version + 1))
        for name in ("rewr0", "rewr1", "rewr2", "shrinks", "sparse"):
            self.put(name, SMALL)
        self.put("large", LARGE)
        self.grow()
        os.mkdir(self.at("swapped"))
        self.put("swapped/secret", 100)


LASTING = frozenset(
    [f"saved{number}" for number in range(6)] + ["rewr0", "rewr1", "rewr2", "shrinks", "sparse", "large", "log"]
)
"""Names that are there all the time."""
HAPPENS: dict[Callable[[Folder], None], int] = {
    Folder.save: 20, Folder.rewrite: 8, Folder.rewrite_large: 1, Folder.grow: 8, Folder.shrink: 8, Folder.cut_sparse: 8,
    Folder.come_and_go: 10, Folder.link_and_go: 10, Folder.turn: 10, Folder.swap: 5,
}  # fmt: skip
"""How often each happens, in proportion."""


def begin(root: Path) -> None:
    """Make the tree."""
    root.mkdir()
    for number in range(FOLDERS):
        Folder(f"{root}/folder{number}", random.Random(number)).begin()
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"what nobody may read\n" * 100)


def change(root: str, dice: random.Random) -> None:
    """Change the tree for ever, in bursts."""
    folders = [Folder(f"{root}/folder{number}", dice) for number in range(FOLDERS)]
    for folder in folders:
        folder.version = 1000
    acts = random.Random(dice.random()).choices([*HAPPENS], [*HAPPENS.values()], k=10_000)
    for number in range(1 << 40):
        acts[number % len(acts)](dice.choice(folders))
        if dice.random() < 0.1:
            time.sleep(dice.random() * 0.01)


def judge(restored: Path, named: set[str]) -> list[str]:
    """Return what is wrong with a restored tree. `named` are the paths, below it, that the job's warnings name."""
    wrong: list[str] = []
    for folder in {f"folder{number}" for number in range(FOLDERS)} - named:
        have = {path.name for path in (restored / folder).iterdir()}
        missing = {f"{folder}/{name}" for name in LASTING - have} - named
        wrong += [f"{name} is missing" for name in missing]
    for path in restored.rglob("*"):
        shown = str(path.relative_to(restored))
        if path.is_symlink():
            if os.readlink(path) not in (OUTSIDE, f"{OUTSIDE}/secret"):
                wrong.append(f"{shown} leads to {os.readlink(path)}")
        elif path.is_file():
            wrong += _judge_file(path, shown) if shown not in named else _judge_foreign(path, shown)
    return wrong


def _judge_file(path: Path, shown: str) -> list[str]:
    content, name = path.read_bytes(), path.name.partition("-")[0]
    if name == ".new":
        return []
    if name == "sparse":
        content, hole = content[: LINE * SMALL], content[LINE * SMALL :]
        if hole.strip(b"\0"):
            return [f"{shown} has something in its hole"]
    found = fault(name, content)
    if not found and name.startswith("saved") and not is_whole(name, content):
        found = f"it has only {len(content)} bytes"
    return [f"{shown}: {found}"] if found else []


def _judge_foreign(path: Path, shown: str) -> list[str]:
    """Even of a file that is named, every line must be one of its own."""
    content, name = path.read_bytes(), path.name.partition("-")[0].encode()
    strange = [line for line in content.split(b"\n") if line.strip(b"\0 0123456789") and name not in line]
    return [f"{shown} has {strange[0]!r}"] if strange and name != b".new" else []
