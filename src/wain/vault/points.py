"""Recovery points: the chain they form, and how one is committed."""

from collections.abc import Sequence
from typing import Any

from wain.base.errors import Missing, Refused
from wain.base.ids import PackId, PointId, RegistrationId, SeedId
from wain.base.moment import from_ns, to_ns
from wain.storage.sql import Connection
from wain.tree.manifest import Manifest, check_signature, point_id
from wain.vault import rows
from wain.vault.adopting import adopt, adopt_one, keep
from wain.vault.catalog import fill_asked, points
from wain.vault.columns import our_row
from wain.vault.objects import point_name
from wain.vault.records import KeptPoint, encode
from wain.vault.site import Site
from wain.wire.vault import PointState, RecoveryPoint

_FORK_HINT = "List the vault's recovery points and build the manifest on the newest one."
_NAMED = 3


def commit_point(site: Site, rid: RegistrationId, body: bytes) -> RecoveryPoint:
    """Make a recovery point of a signed manifest. The same manifest again returns the point there is.

    The place in the chain is the one after the newest point. A manifest may also follow the manifest of an announced
    seed whose point does not exist yet (gap cover), and the seed's own manifest then fills that place.

    Raises:
        Corrupt: the signature is not the registration's.
        Refused: another place in the chain, or packs that are neither in the vault nor announced.
    """
    manifest = check_signature(body, site.row(rid).sign_key)
    if manifest.registration != rid:
        raise Refused("the manifest belongs to another registration")
    point = point_id(body)
    with site.writing(adopt):
        adopt_one(site, rid, [])
        there = find_point(site, rid, point)
        if there is not None:
            return there
        with site.catalog.write() as connection:
            _check_place(connection, manifest, point)
            _check_packs(connection, rid, [ref.id for ref in manifest.packs])
            newest = "SELECT max(received_at) AS received_at FROM points WHERE registration = :rid"
            latest = connection.value(newest, rid=rid)
        now = site.clock()
        received_at = now if latest is None or latest <= to_ns(now) else from_ns(latest)
        keep(site, point_name(rid, manifest.seq), encode(KeptPoint(received_at, body), site.signer))
        # The point itself holds what the job counted on. A daily job must not pin what only expired points needed.
        with site.catalog.write() as connection:
            rows.end_leases(connection, rid)
    return get_point(site, rid, point)


def find_point(site: Site, rid: RegistrationId, point: PointId) -> RecoveryPoint | None:
    """Return a recovery point, or None."""
    with site.catalog.read() as connection:
        here = f"{points.selection} WHERE registration = :rid AND point = :point"
        row = connection.row(here, rid=rid, point=point)
    return None if row is None else _point(row)


def get_point(site: Site, rid: RegistrationId, point: PointId) -> RecoveryPoint:
    """Return a recovery point.

    Raises:
        Missing: there is no such point.
    """
    found = find_point(site, rid, point)
    if found is None:
        raise Missing(f"recovery point {point.hex()}")
    return found


def list_points(site: Site, rid: RegistrationId) -> list[RecoveryPoint]:
    """Return a registration's recovery points, oldest first."""
    with site.catalog.read() as connection:
        every = f"{points.selection} WHERE registration = :rid ORDER BY seq"
        return [_point(row) for row in connection.rows(every, rid=rid)]


def protected(connection: Connection, rid: RegistrationId) -> bool:
    """Tell whether a registration has a point that can be restored as a whole."""
    complete = "SELECT seq FROM points WHERE registration = :rid AND state = :state LIMIT 1"
    return connection.value(complete, rid=rid, state=PointState.COMPLETE.value) is not None


def _point(row: Any) -> RecoveryPoint:
    with our_row():
        return RecoveryPoint(
            id=PointId(row.point),
            seq=row.seq,
            state=PointState(row.state),
            received_at=from_ns(row.received_at),
            created_at=from_ns(row.created_at),
            packs=row.packs,
            stored_bytes=row.stored_bytes,
            seed=None if row.seed is None else SeedId(row.seed),
        )


def _check_place(connection: Connection, manifest: Manifest, point: PointId) -> None:
    rid, seq = manifest.registration, manifest.seq
    if _at(connection, rid, seq) is not None:
        raise Refused(f"another recovery point has place {seq} in the chain", _FORK_HINT)
    if seq > 1 and _before(connection, manifest) != manifest.previous:
        raise Refused(f"manifest {seq} does not follow the recovery point before it", _FORK_HINT)
    after = "SELECT previous FROM points WHERE registration = :rid AND seq = :seq"
    follower = connection.value(after, rid=rid, seq=seq + 1)
    if follower not in (None, point):
        raise Refused(f"the recovery point after place {seq} follows another one", _FORK_HINT)


def _before(connection: Connection, manifest: Manifest) -> bytes | None:
    """Return the id that `manifest.previous` must have, or None when nothing may stand in this place."""
    rid, seq = manifest.registration, manifest.seq
    before = _at(connection, rid, seq - 1)
    if before is not None:
        return before
    # The seed's own point is still on the road: its place is kept free for it.
    same = "SELECT manifest_hash FROM seeds WHERE registration = :rid AND manifest_hash = :previous LIMIT 1"
    announced = connection.value(same, rid=rid, previous=manifest.previous)
    grounded = seq == 2 or _at(connection, rid, seq - 2) is not None
    return announced if grounded else None


def _at(connection: Connection, rid: RegistrationId, seq: int) -> bytes | None:
    """Return the id of the point in a place of the chain, expired or not."""
    for table in ("points", "expired"):
        here = f"SELECT point FROM {table} WHERE registration = :rid AND seq = :seq"  # noqa: S608 - our own names
        found: bytes | None = connection.value(here, rid=rid, seq=seq)
        if found is not None:
            return found
    return None


def _check_packs(connection: Connection, rid: RegistrationId, needed: Sequence[PackId]) -> None:
    fill_asked(connection, needed)
    absent = rows.asked_absent(connection, rid)
    if absent:
        names = ", ".join(pack.hex() for pack in absent[:_NAMED])
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        raise Refused(
            f"{len(absent)} of {len(needed)} packs are neither in the vault nor on the road: {names}{more}",
            "Ask for their presence again and upload what is absent.",
        )
