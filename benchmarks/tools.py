"""The tools that are compared, each as the same four words: prepare, back up, restore, stored."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
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
class Wain:
    """Wain over the wire, into a vault on the same disk."""

    work: str
    source: str
    name: str = "wain"

    def run(self, *words: str) -> Measured:
        """Run one command of Wain."""
        place = Place(self.work, {"WAIN_HOME": os.path.join(self.work, "home"), "HOME": self.work})
        return measure([os.path.abspath(sys.executable), "-m", "wain.cli.main", *words], place)

    def register(self) -> None:
        """Make a vault and enrol the server in it."""
        with open(os.path.join(self.work, "passphrase"), "w", encoding="ascii") as file:
            file.write(PASSPHRASE + "\n")
        secrets = ("--passphrase-file", "passphrase", "--recovery-key-file", "recovery-key")
        self.run("register", "--vault", f"file://{os.path.join(self.work, 'vault')}", *secrets)

    def prepare(self) -> None:
        """Make an empty repository."""
        self.register()
        self.run("policy", "set", "--include", self.source, "--initial", "online")

    def back_up(self) -> Measured:
        """Back the source up."""
        return self.run("backup", "--json")

    def restore(self, target: str) -> Measured:
        """Restore the newest backup."""
        return self.run("restore", "latest", "--to", target, "--passphrase-file", "passphrase")

    def stored(self) -> int:
        """Return the bytes that the repository holds."""
        return stored_bytes(os.path.join(self.work, "vault"))


@dataclass(slots=True)
class Seeding(Wain):
    """Wain's own road: write the device, copy it into the account, import it into the vault."""

    name: str = "wain seed"

    def prepare(self) -> None:
        """Go as far as a delivered, empty device."""
        self.register()
        os.mkdir(os.path.join(self.work, "device"))
        self.run("account", "create", "bench", "--kind", "StorageV2")
        self.run("order", "create", "bench-order", "--sku", "DataBoxDisk", "--account", "bench")
        self.run("device", "prepare", "bench-order", "device")
        self.advance("Dispatched", "Delivered")
        seed = ("--initial", "offline", "--order", "bench-order", "--device", os.path.join(self.work, "device"))
        self.run("policy", "set", "--include", self.source, *seed)

    def advance(self, *stages: str) -> None:
        """Move the order on."""
        for stage in stages:
            self.run("order", "advance", "bench-order", stage)

    def steps(self) -> dict[str, Measured]:
        """Write, copy, import; each measured."""
        written = self.back_up()
        self.advance("PickedUp", "AtAzureDC")
        copied = self.run("order", "copy", "bench-order", "device")
        return {"write device": written, "data copy": copied, "import": self.back_up()}


@dataclass(frozen=True, slots=True)
class Limit:
    """A command that does one part of a scenario and nothing else. `{root}` stands for the corpus."""

    name: str
    corpus: str
    scenario: str
    command: tuple[str, ...]


LIMITS = (
    Limit(
        "zstd -3 -T0",
        "large file",
        "first backup",
        ("zstd", "-3", "-T0", "-q", "-f", "-o", "/dev/null", "{root}/large"),
    ),
    Limit("find -printf", "small files", "unchanged backup", ("find", "{root}", "-printf", "%p %s %T@ %C@ %i\n")),
)


TOOLS: dict[str, type[Wain] | type[Restic] | type[Borg]] = {"wain": Wain, "restic": Restic, "borg": Borg}


def missing(name: str) -> str:
    """Return why a tool cannot be measured here, or an empty string when it can."""
    if name == "wain":
        return "" if importlib.util.find_spec("wain") else "the package wain is not installed for this Python"
    return "" if shutil.which(name) else f"{name} is not installed"


def version(name: str) -> str:
    """Return the first line of a tool's version."""
    words = [sys.executable, "-m", "wain.cli.main", "--version"] if name == "wain" else [name, _VERSION[name]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [f"{name}, of an unknown version"])[0]


_VERSION = {"restic": "version", "borg": "--version"}
