"""Verification and scrub: every byte from the medium, without any key, named to the leaf.

Slices are deterministic: `n` of `t` by the first bytes of the pack's id, so that `t` runs see every pack once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select

from wain.base.errors import Corrupt, DataError, Refused
from wain.base.ids import PackId, RegistrationId
from wain.base.moment import to_ns
from wain.base.progress import Progress
from wain.vault.adopting import Problem, adopt, check_fact, stored_facts
from wain.vault.catalog import packs, scrubs
from wain.vault.losing import give_up
from wain.vault.objects import Kind, pack_name, packs_prefix, parse_pack
from wain.vault.records import LossReason
from wain.vault.site import Site

_PAGE_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class Slice:
    """Part `n` (from 1) of `t` of all packs.

    Raises:
        Refused: not 1 <= n <= t <= 65,536.
    """

    n: int = 1
    t: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.t <= 1 << 16:
            raise Refused(f"{self.n}/{self.t} is not a slice", "Write n/t with 1 <= n <= t, for example 1/30.")

    def holds(self, pack: PackId) -> bool:
        """Tell whether a pack belongs to this slice."""
        return int.from_bytes(pack[:4], "big") % self.t == self.n - 1


WHOLE: Final = Slice()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be. `pack` is None for another object than a pack."""

    registration: RegistrationId
    pack: PackId | None
    what: str
    where: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check read and found. `adopted` packs were whole and not yet counted."""

    packs: int
    stored_bytes: int
    facts: int
    adopted: int
    findings: tuple[Finding, ...]


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
        """Check facts, then the packs of the slice.

        Raises:
            RemoteError: the vault's storage cannot be read at all; that is no finding.
        """
        with self._site.writing(adopt):
            problems = adopt(self._site)
        unread = {problem.name for problem in problems}
        for rid in self._site.ids():
            self._facts(rid, unread)
        self._orphans(problems)
        self._progress.phase("verify", self._expected())
        for rid in self._site.ids():
            self._packs(rid)
            self._uncounted(rid)
        done = self._tally
        return CheckReport(done.packs, done.stored_bytes, done.facts, done.adopted, tuple(self._findings))

    def _facts(self, rid: RegistrationId, unread: set[str]) -> None:
        gone = {fact.number for fact in stored_facts(self._site, rid) if fact.kind is Kind.EXPIRED}
        for fact in stored_facts(self._site, rid):
            self._tally.facts += 1
            if fact.name in unread or (fact.kind is Kind.POINT and fact.number in gone):
                continue
            try:
                check_fact(self._site, fact)
            except DataError as error:
                self._findings.append(Finding(rid, None, fact.name, str(error)))
        self._missing_points(rid)

    def _missing_points(self, rid: RegistrationId) -> None:
        have = {fact.number for fact in stored_facts(self._site, rid) if fact.kind is Kind.POINT}
        for seq, point in self._site.seqs(rid):
            if seq not in have:
                self._findings.append(Finding(rid, None, f"recovery point {point.hex()}", "its object is missing"))

    def _orphans(self, problems: list[Problem]) -> None:
        for problem in problems:
            rid = RegistrationId(bytes.fromhex(problem.name.split("/")[1]))
            self._findings.append(Finding(rid, None, problem.name, problem.where))

    def _expected(self) -> int:
        with self._site.catalog.read() as connection:
            every = select(packs.c.pack, packs.c.stored_bytes)
            return sum(size for pack, size in connection.execute(every) if self._part.holds(PackId(pack)))

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
            page = select(packs.c.pack, packs.c.stored_bytes).where(packs.c.registration == rid, packs.c.pack > last)
            with self._site.catalog.read() as connection:
                found = connection.execute(page.order_by(packs.c.pack).limit(_PAGE_ROWS)).all()
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
        where = error.where if isinstance(error, Corrupt) else str(error)
        finding = Finding(rid, pack, f"pack {pack.hex()}", where)
        if not self._set_aside:
            self._findings.append(finding)
            return
        with self._site.writing(adopt):
            # Under the lock once more: a collection may have deleted it meanwhile, an upload may have healed it.
            if self._site.has_pack(rid, pack) and self._wrong(rid, pack) is not None:
                self._findings.append(finding)
                give_up(self._site, rid, [pack], LossReason.DAMAGED, self._site.objects.set_aside)

    def _uncounted(self, rid: RegistrationId) -> None:
        """Whole packs that a killed verb left are counted; damaged ones without a row harm nobody and are named."""
        for name in self._site.objects.names(packs_prefix(rid)):
            pack = parse_pack(name)
            if pack is None or not self._part.holds(pack) or self._site.has_pack(rid, pack):
                continue
            with self._site.writing(adopt):
                if self._site.has_pack(rid, pack) or self._site.objects.size(pack_name(rid, pack)) is None:
                    continue
                self._count(rid, pack)

    def _count(self, rid: RegistrationId, pack: PackId) -> None:
        try:
            size = self._site.verify_stored(rid, pack)
        except DataError as error:
            self._findings.append(Finding(rid, pack, f"pack {pack.hex()}", str(error)))
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
            connection.execute(insert(scrubs).prefix_with("OR REPLACE"), rows)
