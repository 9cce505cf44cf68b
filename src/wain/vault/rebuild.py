"""Makes the catalog again from the objects. They are the truth; what rebuild gives is what was there."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wain.base.errors import DataError
from wain.base.ids import RegistrationId
from wain.base.sizes import BLOCK_BYTES
from wain.pack.format import FOOTER_BYTES
from wain.storage.durable import writing
from wain.vault.adopting import Problem, adopt, stored_ids, take_in
from wain.vault.catalog import Catalog, packs
from wain.vault.objects import packs_prefix, parse_pack, registration_name
from wain.vault.site import MAX_STORED_BYTES, Site

CATALOG_FILE: Final = "catalog.sqlite"
FRESH_FILE: Final = "catalog.fresh"
SIDES: Final = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild found. `problems` are objects that could not be taken in; they are still there."""

    registrations: int
    packs: int
    points: int
    problems: tuple[Problem, ...]


def rebuild(site: Site, root: Path) -> RebuildReport:
    """Fill the catalog from the objects alone, in one transaction at the end. Leases and condemnations begin anew.

    A pack counts as present by its name and a plausible size, as it was verified before it got its name; a check
    reads its bytes.
    """
    with site.lock:
        with fresh_catalog(site, root) as (beside, problems):
            report = _report(beside, problems)
        site.catalog.replace_facts(root / FRESH_FILE)
        _remove(root / FRESH_FILE)
        site.unsure = False
    return report


@contextmanager
def fresh_catalog(
    site: Site, root: Path, count: Callable[[Site, RegistrationId], list[Problem]] | None = None
) -> Iterator[tuple[Site, list[Problem]]]:
    """Make a catalog of the objects alone, in a file of its own, and hand out the site that stands on it.

    `count` says which packs count, by default `count_packs`. The caller holds the lock, and removes or uses the file.
    """
    fresh = root / FRESH_FILE
    _remove(fresh)
    catalog = Catalog(fresh, durable=False)
    try:
        beside = replace(site, catalog=catalog)
        problems: list[Problem] = []
        for rid in stored_ids(beside):
            name = registration_name(rid)
            # A damaged record is named by `adopt` below; without it nothing of the server can be taken in.
            with contextlib.suppress(DataError):
                take_in(beside, name, beside.objects.read(name))
                problems += (count or count_packs)(beside, rid)
        problems += adopt(beside)
        yield beside, problems
    finally:
        catalog.close()


def drop_fresh(root: Path) -> None:
    """Remove the file of `fresh_catalog`."""
    _remove(root / FRESH_FILE)


def set_catalog_aside(root: Path) -> None:
    """Rename a catalog that SQLite cannot read, with what belongs to it. Nothing is deleted."""
    number = 0
    while (root / f"{CATALOG_FILE}.damaged-{number}").exists():
        number += 1
    for side in SIDES:
        with writing(CATALOG_FILE), contextlib.suppress(FileNotFoundError):
            os.rename(root / f"{CATALOG_FILE}{side}", root / f"{CATALOG_FILE}.damaged-{number}{side}")


def count_packs(site: Site, rid: RegistrationId) -> list[Problem]:
    """Count the packs whose objects have a plausible size. Return the objects that cannot be packs."""
    problems: list[Problem] = []

    def found() -> Iterator[dict[str, Any]]:
        for name in site.objects.names(packs_prefix(rid)):
            pack, size = parse_pack(name), site.objects.size(name) or 0
            if pack is None:
                problems.append(Problem(name, "it is not the name of a pack"))
            elif size % BLOCK_BYTES or not FOOTER_BYTES < size <= MAX_STORED_BYTES:
                problems.append(Problem(name, f"{size} bytes cannot be a pack"))
            else:
                yield {"registration": rid, "pack": pack, "stored_bytes": size}

    with site.catalog.write() as connection:
        connection.insert_many(packs.insertion(), found())
    return problems


def _report(site: Site, problems: list[Problem]) -> RebuildReport:
    with site.catalog.read() as connection:
        packs_count = int(connection.value("SELECT count(*) AS number FROM packs") or 0)
        points_count = int(connection.value("SELECT count(*) AS number FROM points") or 0)
    return RebuildReport(len(site.ids()), packs_count, points_count, tuple(problems))


def _remove(path: Path) -> None:
    for side in SIDES:
        with writing(str(path)), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{side}")
