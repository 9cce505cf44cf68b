"""The peers: each is prepared, backs up, restores, and says what it has stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from benchmarks.measure import Measured, Place, measure, stored_bytes

PASSPHRASE = "a passphrase for measuring"


class Tool(Protocol):
    """One backup program at work in a directory of its own."""

    name: str

    def prepare(self) -> None:
        """Make an empty repository. Not measured."""

    def back_up(self) -> Measured:
        """Back the source up."""

    def restore(self, target: str) -> Measured:
        """Restore the newest backup into an empty directory."""

    def stored(self) -> int:
        """Return the bytes that the repository holds."""


@dataclass(slots=True)
class Restic:
    """restic with its default settings (compression auto)."""

    work: str
    source: str
    name: str = "restic"

    def _place(self) -> Place:
        surroundings = {"RESTIC_PASSWORD": PASSPHRASE, "RESTIC_REPOSITORY": os.path.join(self.work, "repository")}
        return Place(self.work, {**surroundings, "RESTIC_CACHE_DIR": os.path.join(self.work, "cache")})

    def prepare(self) -> None:
        """Make an empty repository."""
        measure(["restic", "init"], self._place())

    def back_up(self) -> Measured:
        """Back the source up."""
        return measure(["restic", "backup", "--quiet", self.source], self._place())

    def restore(self, target: str) -> Measured:
        """Restore the newest backup."""
        return measure(["restic", "restore", "latest", "--quiet", "--target", target], self._place())

    def stored(self) -> int:
        """Return the bytes that the repository holds."""
        return stored_bytes(os.path.join(self.work, "repository"))


@dataclass(slots=True)
class Borg:
    """borg with an encrypted repository and the same compression."""

    work: str
    source: str
    name: str = "borg"
    made: int = 0

    def _place(self, folder: str = "") -> Place:
        base = os.path.join(self.work, "base")
        surroundings = {"BORG_PASSPHRASE": PASSPHRASE, "BORG_REPO": os.path.join(self.work, "repository")}
        return Place(folder or self.work, {**surroundings, "BORG_BASE_DIR": base})

    def prepare(self) -> None:
        """Make an empty repository."""
        measure(["borg", "init", "-e", "repokey-blake2"], self._place())

    def back_up(self) -> Measured:
        """Back the source up."""
        self.made += 1
        return measure(["borg", "create", "--compression", "zstd,3", f"::{self.made}", self.source], self._place())

    def restore(self, target: str) -> Measured:
        """Restore the newest backup."""
        return measure(["borg", "extract", f"::{self.made}"], self._place(target))

    def stored(self) -> int:
        """Return the bytes that the repository holds."""
        return stored_bytes(os.path.join(self.work, "repository"))


@dataclass(slots=True)
class Rustic:
    """rustic with its default settings: the repository format of restic."""

    work: str
    source: str
    name: str = "rustic"

    def _place(self) -> Place:
        surroundings = {"RUSTIC_PASSWORD": PASSPHRASE, "RUSTIC_REPOSITORY": os.path.join(self.work, "repository")}
        quiet = {"RUSTIC_NO_PROGRESS": "true", "RUSTIC_CACHE_DIR": os.path.join(self.work, "cache")}
        return Place(self.work, {**surroundings, **quiet, "HOME": self.work})

    def prepare(self) -> None:
        """Make an empty repository."""
        measure(["rustic", "init"], self._place())

    def back_up(self) -> Measured:
        """Back the source up."""
        return measure(["rustic", "backup", self.source], self._place())

    def restore(self, target: str) -> Measured:
        """Restore the newest backup."""
        return measure(["rustic", "restore", "latest", target], self._place())

    def stored(self) -> int:
        """Return the bytes that the repository holds."""
        return stored_bytes(os.path.join(self.work, "repository"))


@dataclass(slots=True)
class Kopia:
    """kopia with compression switched on: without a policy it stores plain sizes."""

    work: str
    source: str
    name: str = "kopia"

    def _run(self, *words: str) -> Measured:
        places = {"CONFIG_PATH": "kopia.config", "CACHE_DIRECTORY": "cache", "LOG_DIR": "logs"}
        surroundings = {f"KOPIA_{name}": os.path.join(self.work, place) for name, place in places.items()}
        secrets = {"KOPIA_PASSWORD": PASSPHRASE, "KOPIA_CHECK_FOR_UPDATES": "false", "HOME": self.work}
        return measure(["kopia", "--no-progress", *words], Place(self.work, {**surroundings, **secrets}))

    def prepare(self) -> None:
        """Make an empty repository."""
        self._run("repository", "create", "filesystem", "--path", os.path.join(self.work, "repository"))
        self._run("policy", "set", "--global", "--compression", "zstd")

    def back_up(self) -> Measured:
        """Back the source up."""
        return self._run("snapshot", "create", self.source)

    def restore(self, target: str) -> Measured:
        """Restore the newest backup: a path in the place of an id means that."""
        return self._run("restore", self.source, target)

    def stored(self) -> int:
        """Return the bytes that the repository holds."""
        return stored_bytes(os.path.join(self.work, "repository"))
