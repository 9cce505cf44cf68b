"""What the parts of the torture tree stand on: a directory, and short words for making things in it."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field


class Unsupported(Exception):
    """This file system, kernel or user cannot make it. The text is the reason."""


@dataclass(slots=True)
class Ground:
    """One directory of the torture tree. `full` asks for everything; `dice` are seeded and give the same every time."""

    root: bytes
    full: bool = False
    dice: random.Random = field(default_factory=lambda: random.Random(1991))

    def at(self, *names: bytes) -> bytes:
        """Return a path below the root."""
        return os.path.join(self.root, *names)

    def put(self, name: bytes, content: bytes = b"") -> bytes:
        """Make a file and return its path."""
        path = self.at(name)
        with open(path, "xb") as file:
            file.write(content)
        return path

    def folder(self, *names: bytes) -> bytes:
        """Make a directory (and its parents) and return its path."""
        path = self.at(*names)
        os.makedirs(path, exist_ok=True)
        return path


def needs_root() -> None:
    """Raise `Unsupported` unless run by root."""
    if os.geteuid() != 0:
        raise Unsupported("needs root")
