"""Verification and scrub: every byte from the medium, without any key, named to the leaf."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from wain.base.errors import Corrupt, DataError
from wain.base.ids import PackId, RegistrationId
from wain.base.moment import to_ns
from wain.base.progress import Progress
from wain.pack.slices import Slice
from wain.vault.adopting import adopt, check_fact, stored_facts, stored_ids
from wain.vault.catalog import scrubs
from wain.vault.columns import CatalogDamaged
from wain.vault.comparing import CURE, difference
from wain.vault.key import KEY_FILE, KeyDamaged, check_key
from wain.vault.losing import give_up
from wain.vault.objects import Kind, pack_name, packs_prefix, parse_fact, parse_pack, point_name, registration_name
from wain.vault.rebuild import CATALOG_FILE
from wain.vault.records import LossReason, Registered, decode
from wain.vault.site import Site
from wain.vault.strays import Stray, StrayKind, strays

_PAGE_ROWS: Final = 256
_PAGE: Final = """
SELECT pack, stored_bytes FROM packs WHERE registration = :rid AND pack > :last ORDER BY pack LIMIT :limit
"""
_NEWER: Final = "ON CONFLICT (registration, pack) DO UPDATE SET verified_at = excluded.verified_at"


class FindingKind(Enum):
    """What a finding is about."""

    PACK = "pack"
    RECORD = "record"
    KEY = "key"
    CATALOG = "catalog"
    UNKNOWN_FILE = "unknown file"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be. `registration` and `pack` are None where it is about neither."""

    kind: FindingKind
    registration: RegistrationId | None
    pack: PackId | None
    what: str
    where: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check read and found. `adopted` packs were whole and not yet counted.

    `strays` lie in the vault's directory and do not count, as they should not: set aside, or temporary. No findings.
    """

    packs: int
    stored_bytes: int
    facts: int
    adopted: int
    findings: tuple[Finding, ...]
    strays: tuple[Stray, ...] = ()


@dataclass(slots=True)
class _Tally:
    packs: int = 0
    stored_bytes: int = 0
    facts: int = 0
    adopted: int = 0


class Check:
    """One run. With `set_aside`, damaged packs are renamed out of the way, so that good copies can take their place.

    The agent's next presence answer is then absent, and the points that need the pack are degraded until it is back.
    """

    def __init__(self, site: Site, part: Slice, progress: Progress, *, set_aside: bool) -> None:
        self._site = site
        self._part = part
        self._progress = progress
        self._set_aside = set_aside
        self._tally = _Tally()
        self._findings: list[Finding] = []

    def run(self) -> CheckReport:
        """Check records, then the packs of the slice.

        Raises:
            RemoteError: the vault's storage cannot be read at all; that is no finding.
            CatalogDamaged: SQLite cannot read the catalog.
        """
        self._objects()
        return self._report()

    def run_whole(self, root: Path) -> CheckReport:
        """Check the same, and the key, the catalog and every other file in the vault's directory.

        Raises:
            RemoteError: as `run`.
        """
        try:
            check_key(root)
        except DataError as error:
            self._find(FindingKind.KEY, KEY_FILE, f"{_words(error)}; {KeyDamaged(str(root / KEY_FILE), '').hint}")
        try:
            self._site.catalog.check()
            self._objects()
            self._compare(root)
        except CatalogDamaged as error:
            cut = "what it lists was not checked to the end: verify again after it"
            self._find(FindingKind.CATALOG, CATALOG_FILE, f"{error.where}; {CURE}; {cut}")
        return self._report(self._strays(root))

    def _objects(self) -> None:
        hold = self._site.writing if self._set_aside else self._site.mending
        with hold(adopt):
            problems = adopt(self._site)
        unread = {problem.name for problem in problems}
        names = self._site.objects.names("registrations/")
        stored = [fact.registration for fact in map(parse_fact, names) if fact is not None]
        for rid in dict.fromkeys([*self._site.ids(), *stored]):
            self._facts(rid, unread)
        for problem in problems:
            rid = RegistrationId(bytes.fromhex(problem.name.split("/")[1]))
            self._find(FindingKind.RECORD, problem.name, problem.where, rid)
        self._progress.phase("verify", self._expected())
        for rid in self._site.ids():
            self._packs(rid)
            self._uncounted(rid)

    def _report(self, strays: tuple[Stray, ...] = ()) -> CheckReport:
        done = self._tally
        findings = tuple(self._findings)
        return CheckReport(done.packs, done.stored_bytes, done.facts, done.adopted, findings, strays)

    def _find(self, kind: FindingKind, what: str, where: str, rid: RegistrationId | None = None) -> None:
        self._findings.append(Finding(kind, rid, None, what, where))

    def _facts(self, rid: RegistrationId, unread: set[str]) -> None:
        facts = stored_facts(self._site, rid)
        self._tally.facts += len(facts)
        if wrong := self._other_key(rid):
            # Nothing that the server signed can be judged by a wrong key.
            self._find(FindingKind.CATALOG, CATALOG_FILE, wrong, rid)
            return
        for fact in facts:
            if fact.name not in unread:
                try:
                    check_fact(self._site, fact)
                except CatalogDamaged:
                    raise
                except DataError as error:
                    self._find(FindingKind.RECORD, fact.name, str(error), rid)
        have = {fact.number for fact in facts if fact.kind is Kind.POINT}
        for seq, point in self._site.seqs(rid):
            if seq not in have:
                self._find(
                    FindingKind.RECORD,
                    f"recovery point {point.hex()}",
                    f"object {point_name(rid, seq)} is missing",
                    rid,
                )

    def _other_key(self, rid: RegistrationId) -> str:
        """Return what is wrong with the catalog's copy of a server's signing key, or nothing."""
        try:
            record = decode(Registered, self._site.objects.read(registration_name(rid)))
            if self._site.row(rid).sign_key != record.sign_key:
                words = f"sign_key is another than in {registration_name(rid)}"
                return f"table registrations, row {rid.hex()}: {words}; {CURE}"
        except CatalogDamaged:
            raise
        except DataError:
            pass  # A finding of its own.
        return ""

    def _compare(self, root: Path) -> None:
        """Compare the catalog with the objects, apart from what has findings already."""
        damaged = {
            each.registration for each in self._findings if each.kind in (FindingKind.RECORD, FindingKind.CATALOG)
        }
        judged = frozenset(each.pack for each in self._findings if each.pack is not None)
        skipped = frozenset(rid for rid in damaged if rid is not None)
        with self._site.mending(adopt):
            found = difference(self._site, root, judged=judged, skipped=skipped)
        if found is not None:
            self._find(FindingKind.CATALOG, CATALOG_FILE, found.where, found.registration)

    def _strays(self, root: Path) -> tuple[Stray, ...]:
        others: list[Stray] = []
        for stray in strays(self._site.objects, root, frozenset(stored_ids(self._site))):
            if stray.kind is StrayKind.UNKNOWN:
                words = stray.why or "no file of a vault has this name"
                self._find(FindingKind.UNKNOWN_FILE, stray.name, f"{words}; move it away when you know what it is")
            else:
                others.append(stray)
        return tuple(others)

    def _expected(self) -> int:
        with self._site.catalog.read() as connection:
            every = connection.execute("SELECT pack, stored_bytes FROM packs")
            return sum(size for pack, size in every if self._part.holds(PackId(pack)))

    def _packs(self, rid: RegistrationId) -> None:
        for page in self._pages(rid):
            good: list[PackId] = []
            for pack, size in page:
                error = self._wrong(rid, pack)
                if error is None:
                    good.append(pack)
                else:
                    self._condemn(rid, pack, error)
                self._tally.packs += 1
                self._tally.stored_bytes += size
                self._progress.advance(size, 1)
            self._note(rid, good)

    def _pages(self, rid: RegistrationId) -> Iterator[list[tuple[PackId, int]]]:
        """Yield the counted packs of the slice, a page at a time: no transaction stays open while packs are read."""
        last = b""
        while True:
            with self._site.catalog.read() as connection:
                found = connection.rows(_PAGE, rid=rid, last=last, limit=_PAGE_ROWS)
            if not found:
                return
            last = found[-1].pack
            yield [(PackId(pack), size) for pack, size in found if self._part.holds(PackId(pack))]

    def _wrong(self, rid: RegistrationId, pack: PackId) -> DataError | None:
        try:
            self._site.verify_stored(rid, pack)
        except DataError as error:
            return error
        return None

    def _condemn(self, rid: RegistrationId, pack: PackId, error: DataError) -> None:
        found = Finding(FindingKind.PACK, rid, pack, f"pack {pack.hex()}", _words(error))
        if not self._set_aside:
            self._findings.append(found)
            return
        with self._site.writing(adopt):
            # Under the lock once more: a collection may have deleted it meanwhile, an upload may have healed it.
            if self._site.has_pack(rid, pack) and self._wrong(rid, pack) is not None:
                self._findings.append(found)
                give_up(self._site, rid, [pack], LossReason.DAMAGED, self._site.objects.set_aside)

    def _uncounted(self, rid: RegistrationId) -> None:
        """Whole packs that a killed verb left are counted; damaged ones without a row harm nobody and are named."""
        for name in self._site.objects.names(packs_prefix(rid)):
            pack = parse_pack(name)
            if pack is None or not self._part.holds(pack) or self._site.has_pack(rid, pack):
                continue
            with self._site.mending(adopt):
                if self._site.has_pack(rid, pack) or self._site.objects.size(pack_name(rid, pack)) is None:
                    continue
                self._count(rid, pack)

    def _count(self, rid: RegistrationId, pack: PackId) -> None:
        try:
            size = self._site.verify_stored(rid, pack)
        except DataError as error:
            self._findings.append(Finding(FindingKind.PACK, rid, pack, f"pack {pack.hex()}", _words(error)))
            if self._set_aside:
                self._site.objects.set_aside(pack_name(rid, pack))
            return
        self._site.count_pack(rid, pack, size)
        self._note(rid, [pack])
        self._tally.adopted += 1

    def _note(self, rid: RegistrationId, good: list[PackId]) -> None:
        if not good:
            return
        now = to_ns(self._site.clock())
        rows = [{"registration": rid, "pack": pack, "verified_at": now} for pack in good]
        with self._site.catalog.write() as connection:
            connection.insert_many(scrubs.insertion(_NEWER), rows)


def _words(error: DataError) -> str:
    return error.where if isinstance(error, Corrupt) else str(error)
