"""Files in a vault's directory that are no part of it: named by a verification, touched by nobody."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from wain.base.ids import RegistrationId
from wain.storage.api import Objects
from wain.storage.directory import SET_ASIDE
from wain.storage.durable import TEMPORARY_PREFIX, reading
from wain.vault.key import KEY_FILE
from wain.vault.lock import LOCK_FILE
from wain.vault.objects import Kind, parse_fact, parse_pack
from wain.vault.place import PLACE_FILE
from wain.vault.rebuild import CATALOG_FILE, FRESH_FILE, SIDES

OBJECTS_DIR: Final = "objects"
_OURS: Final = frozenset({KEY_FILE, LOCK_FILE, PLACE_FILE, *(CATALOG_FILE + side for side in (*SIDES, "-journal"))})
_FOREIGN: Final = "lost+found"
"""What a file system keeps for itself in the directory it is mounted on."""

_ASIDE: Final = (f"{OBJECTS_DIR}/{SET_ASIDE}/", f"{CATALOG_FILE}.damaged", f"{KEY_FILE}.damaged")


class StrayKind(Enum):
    """What a file that does not count is."""

    SET_ASIDE = "set aside"
    """Damaged; renamed out of the way by a scrub, a rebuild or the keeper. Kept until somebody deletes it."""
    TEMPORARY = "temporary"
    """Left by a verb that was cut, or of one that runs now."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Stray:
    """One file that is no part of the vault. `name` is its path in the vault's directory."""

    name: str
    kind: StrayKind
    why: str = ""


def strays(objects: Objects, root: Path, known: frozenset[RegistrationId]) -> Iterator[Stray]:
    """Yield the files of a vault that do not count, in order: around the objects, then among them.

    `known` are the registrations whose objects count.
    """
    yield from _around(root)
    for name in objects.names(""):
        why = _wrong(name, known)
        if why:
            yield Stray(f"{OBJECTS_DIR}/{name}", StrayKind.UNKNOWN, why)


def _wrong(name: str, known: frozenset[RegistrationId]) -> str:
    fact = parse_fact(name)
    if fact is None and parse_pack(name) is None:
        return "it is not the name of an object"
    # Key slots may lie here before their registration: a killed `register` begins anew.
    if RegistrationId(bytes.fromhex(name.split("/")[1])) in known or (fact is not None and fact.kind is Kind.KEYS):
        return ""
    return "its registration is not in this vault"


def _around(root: Path) -> Iterator[Stray]:
    """Yield the strays that the store of objects does not list: beside it, set aside in it, and hidden in it."""
    for name, mode, size in _files(root, ""):
        top, _, rest = name.partition("/")
        last = name.rpartition("/")[2]
        if not stat.S_ISREG(mode):
            yield Stray(name, StrayKind.UNKNOWN, "it is not a regular file")
        elif last.startswith(TEMPORARY_PREFIX) or name in {FRESH_FILE + side for side in SIDES}:
            yield Stray(name, StrayKind.TEMPORARY)
        elif name.startswith(_ASIDE):
            yield Stray(name, StrayKind.SET_ASIDE)
        elif top == OBJECTS_DIR and rest:
            if last.startswith("."):
                yield Stray(name, StrayKind.UNKNOWN, "it is not the name of an object")
        elif name not in _OURS:
            yield Stray(name, StrayKind.UNKNOWN)
        elif name == LOCK_FILE and size:
            yield Stray(name, StrayKind.UNKNOWN, f"the lock is an empty file; this one has {size} bytes")


def _files(root: Path, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, mode and size of everything below `root` but directories, sorted; no link is followed."""
    with reading(str(root / prefix)), os.scandir(root / prefix) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if name != _FOREIGN:
                yield from _files(root, name + "/")
        else:
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # A temporary of a verb that runs now.
            yield name, about.st_mode, about.st_size
