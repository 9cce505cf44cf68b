"""Wain as a tool that is measured, on its two roads, and the table of all tools."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.limits import copy_files, read_files
from benchmarks.measure import Measured, Place, measure, stored_bytes
from benchmarks.peers import PASSPHRASE, Borg, Kopia, Restic, Rustic, Tool

WRITE_DEVICE, VERIFY_DEVICE, DATA_COPY = "write device", "verify device", "data copy"
IMPORT, VERIFY_VAULT = "import", "verify vault"


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

    def steps(self) -> Iterator[tuple[str, Measured]]:
        """Write, verify, copy, import, and verify the vault; each measured."""
        yield WRITE_DEVICE, self.back_up()
        yield VERIFY_DEVICE, self.run("device", "verify", "device")
        self.advance("PickedUp", "AtAzureDC")
        yield DATA_COPY, self.run("order", "copy", "bench-order", "device")
        yield IMPORT, self.back_up()
        yield VERIFY_VAULT, self.run("vault", "verify", "vault")

    def limits(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield what `dd` does beside some of the steps: step, name, command."""
        device, vault = os.path.join(self.work, "device", "PageBlob"), os.path.join(self.work, "vault")
        copied = os.path.join(self.work, "copied")
        yield VERIFY_DEVICE, "dd read, O_DIRECT", read_files(device)
        yield DATA_COPY, "dd copy, fsync", copy_files(device, copied)
        yield IMPORT, "dd copy, fsync", copy_files(device, copied)
        yield VERIFY_VAULT, "dd read, O_DIRECT", read_files(vault)


TOOLS: dict[str, Callable[[str, str], Tool]] = {
    "wain": Wain,
    "restic": Restic,
    "borg": Borg,
    "rustic": Rustic,
    "kopia": Kopia,
}
"""Each is made from a directory to work in and the directory to back up."""


def missing(name: str) -> str:
    """Return why a tool cannot be measured here, or an empty string when it can."""
    if name == "wain":
        return "" if importlib.util.find_spec("wain") else "the package wain is not installed for this Python"
    return "" if shutil.which(name) else f"{name} is not installed"


def version(name: str) -> str:
    """Return the first line of a tool's version, with its name."""
    words = [sys.executable, "-m", "wain.cli.main"] if name == "wain" else [name]
    done = subprocess.run([*words, _VERSION.get(name, "--version")], capture_output=True, text=True, check=False)
    line = (done.stdout.splitlines() or ["of an unknown version"])[0]
    return line if line.startswith(name) else f"{name} {line}"


_VERSION = {"restic": "version"}
