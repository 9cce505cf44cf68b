"""Retention: which rule holds, and which recovery points it lets go.

A tombstone is written first, then the row goes. The point's object stays until the collection's grace has passed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from wain.base.ids import PointId, RegistrationId, SeriesId
from wain.policy.retention import RANGES, Retention
from wain.policy.retention import keep as kept_points
from wain.tree.manifest import decode_manifest
from wain.vault.adopting import adopt, adopt_one, keep
from wain.vault.objects import expired_name, retention_name
from wain.vault.points import list_points
from wain.vault.records import Expired, RetentionSet, decode, encode
from wain.vault.site import Site
from wain.wire.vault import PointState, RecoveryPoint

CUT_DELAY: Final = timedelta(days=14)
"""A shorter retention counts only after the soft-delete window (reliability.md 4.6): whoever holds an agent's
credential must not be able to empty a vault at once. A longer one counts at once."""


def set_retention(site: Site, rid: RegistrationId, retention: Retention) -> None:
    """Keep points by this rule from now on. The same rule again changes nothing.

    Raises:
        Refused: a number is outside its range (`Retention` itself says so when it is made).
    """
    checked = Retention(retention.daily, retention.weekly, retention.monthly, retention.yearly)
    site.row(rid)
    with site.writing(adopt):
        adopt_one(site, rid, [])
        row = site.row(rid)
        if row.retention_number and (row.daily, row.weekly, row.monthly, row.yearly) == _numbers(checked):
            return
        record = encode(RetentionSet(rid, site.clock(), checked), site.signer)
        keep(site, retention_name(rid, row.retention_number + 1), record)


def retention_in_force(site: Site, rid: RegistrationId, now: datetime) -> Retention | None:
    """Return the rule `expire` goes by at `now`: each number the largest of the last `CUT_DELAY`. None: never set."""
    newest: int = site.row(rid).retention_number
    numbers: list[tuple[int, ...]] = []
    for number in range(newest, 0, -1):
        record = decode(RetentionSet, site.objects.read(retention_name(rid, number)))
        numbers.append(_numbers(record.retention))
        if record.set_at <= now - CUT_DELAY:
            break
    return Retention(*(max(column) for column in zip(*numbers, strict=True))) if numbers else None


def expire(site: Site, now: datetime) -> tuple[Expired, ...]:
    """Let go of the recovery points that no retention rule keeps. Return their tombstones.

    Judged by the moments the vault received them, each series by itself. Always kept: the newest point, the newest
    complete point, and, when no point is complete, every one.

    Raises:
        DataError: a retention record or a manifest cannot be read; nothing more is let go.
    """
    gone: list[Expired] = []
    with site.writing(adopt):
        adopt(site)
        for rid in site.ids():
            rule = retention_in_force(site, rid, now)
            for point in _doomed_by_series(site, rid, rule, now) if rule is not None else ():
                record = Expired(rid, point.seq, point.id, point.received_at, now)
                keep(site, expired_name(rid, point.seq), encode(record, site.signer))
                gone.append(record)
    return tuple(gone)


def _doomed_by_series(site: Site, rid: RegistrationId, rule: Retention, now: datetime) -> list[RecoveryPoint]:
    """Return the points that retention lets go when each series is judged by itself.

    A database's dump must not push out the files of the same day, nor they it.

    Raises:
        DataError: a manifest cannot be read.
    """
    every = list_points(site, rid)
    if not doomed(every, rule, now):
        return []  # Judged apart, points are kept longer, never shorter: so the manifests need not be read.
    series: dict[SeriesId, list[RecoveryPoint]] = {}
    for point in every:
        series.setdefault(decode_manifest(site.kept(rid, point.seq).manifest).series, []).append(point)
    found = [point for points in series.values() for point in doomed(points, rule, now)]
    return sorted(found, key=lambda point: point.seq)


def doomed(points: Sequence[RecoveryPoint], retention: Retention, now: datetime) -> list[RecoveryPoint]:
    """Return the points of one series that retention lets go, oldest first.

    Complete points are judged among themselves too: a later point of the same day that cannot be restored must not
    push out one that can.
    """
    complete = [point for point in points if point.state is PointState.COMPLETE]
    if not complete:
        return []
    kept: set[PointId] = {points[-1].id, complete[-1].id}
    for judged in (points, complete):
        kept |= kept_points([(point.id, point.received_at) for point in judged], retention, now)
    return [point for point in points if point.id not in kept]


def _numbers(retention: Retention) -> tuple[int, ...]:
    return tuple(getattr(retention, rule) for rule in RANGES)
