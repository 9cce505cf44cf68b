"""Garbage collection in two steps (reliability.md 4.4): condemn what nobody needs, delete it on a later run.

Needed is what a recovery point lists, what an announced seed lists, what a seed brought that arrived in part or goes on
on another device (until a later point is complete), and what was asked for or put within the lease. A condemned pack
stays readable, and is taken off the list when a recovery point or a seed needs it again; asking alone only keeps it
while the asking job runs. Only the vault's clock counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from wain.base.errors import Refused, UserError
from wain.base.ids import PackId, RegistrationId, SeedId
from wain.base.moment import to_ns
from wain.base.sizes import format_bytes
from wain.device.seal import GOES_ON, decode_seal
from wain.storage.sql import Connection
from wain.vault import rows
from wain.vault.adopting import adopt, stored_facts
from wain.vault.catalog import fill_asked
from wain.vault.losing import give_up
from wain.vault.objects import Kind, point_name, seal_name
from wain.vault.records import LossReason
from wain.vault.rows import SeedState
from wain.vault.site import Site
from wain.vault.storing import LEASE
from wain.wire.vault import PointState

GRACE: Final = timedelta(days=14)
PACKS_LIMIT: Final = 0.10
BYTES_LIMIT: Final = 0.20


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """How a run behaves. `grace` is the wait between condemning and deleting, at least the lease."""

    grace: timedelta = GRACE
    dry_run: bool = False
    override: bool = False
    """Delete even when the breaker would refuse."""


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a run did, or would do on a dry run. Sizes in bytes."""

    packs: int
    stored_bytes: int
    condemned: int
    """Newly condemned by this run."""
    resurrected: int
    waiting: int
    """Condemned, and not deleted by this run."""
    deleted: int
    deleted_bytes: int


@dataclass(eq=False)
class BreakerTripped(UserError):
    """One run would delete more than is normal: perhaps something is wrong with what it believes is needed."""

    packs: int
    all_packs: int
    stored_bytes: int
    all_bytes: int
    hint = "Look at the recovery points first. If they are right, run the collection again with the override."

    def __str__(self) -> str:
        return (
            f"the collection would delete {self.packs} of {self.all_packs} packs ({format_bytes(self.stored_bytes)} of "
            f"{format_bytes(self.all_bytes)}), over {PACKS_LIMIT:.0%} of packs or {BYTES_LIMIT:.0%} of bytes in one run"
        )


@dataclass(slots=True)
class _Tally:
    condemned: int = 0
    resurrected: int = 0
    waiting: int = 0


def collect(site: Site, options: CollectOptions) -> CollectReport:
    """Run the collection once over the whole vault.

    Raises:
        BreakerTripped: nothing was deleted; what is unneeded is condemned all the same.
        Refused: the grace is shorter than the lease.
        DataError: a point or seal cannot be read, so nobody can say what is needed; nothing was changed.
    """
    if options.grace < LEASE:
        raise Refused(f"the grace of a collection is at least {LEASE}, not {options.grace}")
    with site.writing(adopt):
        problems = adopt(site)
        if problems:
            first = problems[0]
            raise Refused(f"{len(problems)} objects cannot be read, {first.name} first: {first.where}",
                          "Run the vault's verification before a collection.")  # fmt: skip
        now, tally = site.clock(), _Tally()
        total, total_bytes = _totals(site)
        doomed = {rid: _judge(site, rid, now, options, tally) for rid in site.ids()}
        count = sum(len(found) for found in doomed.values())
        size = sum(sum(found.values()) for found in doomed.values())
        over = count > PACKS_LIMIT * total or size > BYTES_LIMIT * total_bytes
        if over and not (options.override or options.dry_run):
            raise BreakerTripped(count, total, size, total_bytes)
        if not options.dry_run:
            for rid, found in doomed.items():
                _bury(site, rid, now - options.grace)
                give_up(site, rid, found, LossReason.COLLECTED, site.objects.delete)
    return CollectReport(
        total, total_bytes, tally.condemned, tally.resurrected, tally.waiting - count, count, size
    )  # fmt: skip


def needed_packs(site: Site, rid: RegistrationId) -> Iterator[PackId]:
    """Yield every pack that must stay, some of them more than once.

    Raises:
        DataError: a point or a seal is missing or damaged.
    """
    for manifest in site.manifests(rid):
        for ref in manifest.packs:
            yield ref.id
    for seed in _pinning_seeds(site, rid):
        for pack in decode_seal(site.objects.read(seal_name(rid, seed))).packs:
            yield pack.id


def _pinning_seeds(site: Site, rid: RegistrationId) -> list[SeedId]:
    pinning = """
        SELECT seed FROM seeds WHERE registration = :rid AND (state = :arriving
            OR (state = :partly OR state = :whole AND manifest_hash = :goes_on) AND NOT EXISTS (
                SELECT 1 FROM points WHERE points.registration = :rid AND points.state = :complete
                    AND points.received_at > coalesce(seeds.received_at, seeds.deficits_at)))
        """
    with site.catalog.read() as connection:
        found = connection.column(
            pinning,
            rid=rid,
            arriving=SeedState.IN_TRANSIT.value,
            partly=SeedState.PARTIAL.value,
            whole=SeedState.IN_VAULT.value,
            goes_on=GOES_ON,
            complete=PointState.COMPLETE.value,
        )
    return [SeedId(seed) for seed in found]


_DUE: Final = """
SELECT condemned.pack AS pack, packs.stored_bytes AS stored_bytes FROM condemned
JOIN packs ON packs.registration = condemned.registration AND packs.pack = condemned.pack
WHERE condemned.registration = :rid AND condemned.since <= :before
    AND NOT EXISTS (SELECT 1 FROM asked WHERE asked.pack = condemned.pack)
"""


def _judge(site: Site, rid: RegistrationId, now: datetime, options: CollectOptions, tally: _Tally) -> dict[PackId, int]:
    """Condemn and resurrect; return the packs whose wait is over, with their sizes. A dry run changes nothing."""
    with site.catalog.write() as connection:
        fill_asked(connection, needed_packs(site, rid))
        tally.resurrected += rows.resurrect_asked(connection, rid)
        # A pin keeps a pack from being condemned or deleted while a job runs; only a need takes it off the list.
        pinned = "SELECT pack FROM leases WHERE registration = :rid AND until > :now"
        connection.change(f"INSERT INTO asked (pack) {pinned} ON CONFLICT DO NOTHING", rid=rid, now=to_ns(now))
        _mend_clock(connection, rid, now)
        tally.condemned += _condemn(connection, rid, now)
        waiting = connection.value("SELECT count(*) AS number FROM condemned WHERE registration = :rid", rid=rid)
        tally.waiting += int(waiting or 0)
        due = connection.rows(_DUE, rid=rid, before=to_ns(now - options.grace))
        found = {PackId(pack): size for pack, size in due}
        if options.dry_run:
            connection.rollback()
    return found


def _mend_clock(connection: Connection, rid: RegistrationId, now: datetime) -> None:
    """A pack condemned in the future: the clock went back. Its wait begins anew."""
    moment = to_ns(now)
    connection.change(
        "UPDATE condemned SET since = :now WHERE registration = :rid AND since > :now", rid=rid, now=moment
    )
    connection.change("DELETE FROM leases WHERE registration = :rid AND until <= :now", rid=rid, now=moment)


def _condemn(connection: Connection, rid: RegistrationId, now: datetime) -> int:
    return connection.change(
        """
        INSERT INTO condemned (registration, pack, since) SELECT :rid, packs.pack, :now FROM packs
        WHERE packs.registration = :rid AND NOT EXISTS (SELECT 1 FROM asked WHERE asked.pack = packs.pack)
            AND NOT EXISTS (SELECT 1 FROM condemned WHERE condemned.registration = :rid AND condemned.pack = packs.pack)
        """,
        rid=rid,
        now=to_ns(now),
    )


def _bury(site: Site, rid: RegistrationId, before: datetime) -> None:
    """Delete the objects of points that expired before a moment. Their tombstones stay: the chain can be followed."""
    with site.catalog.read() as connection:
        old = "SELECT seq FROM expired WHERE registration = :rid AND expired_at <= :before"
        seqs = set(connection.column(old, rid=rid, before=to_ns(before)))
    for fact in stored_facts(site, rid) if seqs else ():
        if fact.kind is Kind.POINT and fact.number in seqs:
            site.objects.delete(point_name(rid, fact.number))


def _totals(site: Site) -> tuple[int, int]:
    with site.catalog.read() as connection:
        totals = connection.row("SELECT count(*) AS number, coalesce(sum(stored_bytes), 0) AS total FROM packs")
    assert totals is not None
    return int(totals.number), int(totals.total)
