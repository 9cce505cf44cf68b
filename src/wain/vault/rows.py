"""How facts change the catalog's rows. Every function works inside a write transaction of its caller.

The rules hold after each call, whatever the order of calls, so that a rebuilt catalog is the same catalog:

* `gaps` of a point = the packs in its manifest that have no row in `packs`; `lost` = nor one in `transit`;
* a point is degraded with a lost gap, provisional with another gap, complete without;
* `transit` = the packs of the seeds in state `IN_TRANSIT`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

from sqlalchemy import Connection, and_, case, delete, exists, insert, literal, not_, select, update

from wain.base.errors import Missing
from wain.base.ids import NO_SEED, PackId, PointId, RegistrationId, SeedId
from wain.base.moment import to_ns
from wain.tree.manifest import Manifest
from wain.vault.catalog import asked, condemned, fill_asked, gaps, insert_rows, leases, packs, points, seeds, transit
from wain.vault.catalog import expired as expired_table
from wain.vault.catalog import scrubs as scrubs_table
from wain.vault.records import Expired
from wain.wire.vault import PointState


class SeedState(Enum):
    """Where a seed is, as far as the vault knows."""

    IN_TRANSIT = "in transit"
    IN_VAULT = "in vault"
    PARTIAL = "partial"
    """An import found packs missing or damaged; the others are in the vault."""
    ABANDONED = "abandoned"


LEASE_ROWS: Final = (leases, condemned, scrubs_table)


def add_pack(connection: Connection, rid: RegistrationId, pack: PackId, stored_bytes: int) -> None:
    """Count a verified, durable pack as present."""
    row = {"registration": rid, "pack": pack, "stored_bytes": stored_bytes}
    connection.execute(insert(packs).prefix_with("OR IGNORE"), row)
    here = and_(gaps.c.registration == rid, gaps.c.pack == pack)
    seqs = connection.execute(select(gaps.c.seq).where(here)).scalars().all()
    if seqs:
        connection.execute(delete(gaps).where(here))
        refresh_points(connection, rid, seqs)


def drop_packs(
    connection: Connection, rid: RegistrationId, lost: Sequence[PackId], needed: Mapping[int, Sequence[PackId]]
) -> None:
    """Stop counting packs as present. `needed` says which of them each point (by seq) needs."""
    fill_asked(connection, lost)
    ids = select(asked.c.pack)
    for table in (packs, *LEASE_ROWS):
        connection.execute(delete(table).where(table.c.registration == rid, table.c.pack.in_(ids)))
    rows = ({"registration": rid, "seq": seq, "pack": pack, "lost": True} for seq in needed for pack in needed[seq])
    insert_rows(connection, gaps, rows, ignore=True)
    mark_lost(connection, rid)


def add_point(connection: Connection, received_at: datetime, manifest: Manifest, point: PointId) -> None:
    """Add a recovery point. Its packs are no longer condemned."""
    rid = manifest.registration
    fill_asked(connection, (ref.id for ref in manifest.packs))
    resurrect_asked(connection, rid)
    row = {
        "registration": rid,
        "seq": manifest.seq,
        "point": point,
        "previous": manifest.previous,
        "received_at": to_ns(received_at),
        "created_at": to_ns(manifest.created_at),
        "packs": len(manifest.packs),
        "stored_bytes": sum(ref.stored_bytes for ref in manifest.packs),
        "seed": None if manifest.seed == NO_SEED else manifest.seed,
        "state": PointState.COMPLETE.value,
    }
    connection.execute(insert(points), row)
    open_ids = select(literal(rid), literal(manifest.seq), asked.c.pack, not_(_in_transit(rid))).where(
        not_(_present(rid))
    )
    connection.execute(insert(gaps).from_select(["registration", "seq", "pack", "lost"], open_ids))
    refresh_points(connection, rid, [manifest.seq])


def expire_point(connection: Connection, record: Expired) -> None:
    """Replace a recovery point by its tombstone."""
    rid, seq = record.registration, record.seq
    row = {"registration": rid, "seq": seq, "point": record.point, "expired_at": to_ns(record.expired_at)}
    connection.execute(insert(expired_table), row)
    for table in (points, gaps):
        connection.execute(delete(table).where(table.c.registration == rid, table.c.seq == seq))


def refresh_points(connection: Connection, rid: RegistrationId, seqs: Iterable[int] | None = None) -> None:
    """Set the state of these points (or all) from their gaps."""
    here = and_(gaps.c.registration == points.c.registration, gaps.c.seq == points.c.seq)
    state = case(
        (exists().where(here, gaps.c.lost.is_(True)), PointState.DEGRADED.value),
        (exists().where(here), PointState.PROVISIONAL.value),
        else_=PointState.COMPLETE.value,
    )
    statement = update(points).where(points.c.registration == rid).values(state=state)
    if seqs is not None:
        statement = statement.where(points.c.seq.in_(list(seqs)))
    connection.execute(statement)


def mark_lost(connection: Connection, rid: RegistrationId) -> None:
    """Set `lost` of every gap from `transit`, then every point's state."""
    travels = exists().where(transit.c.registration == rid, transit.c.pack == gaps.c.pack)
    connection.execute(update(gaps).where(gaps.c.registration == rid).values(lost=not_(travels)))
    refresh_points(connection, rid)


def add_seed(connection: Connection, row: Mapping[str, Any], pack_ids: Iterable[PackId]) -> None:
    """Add an announced seed: its packs are in transit."""
    rid, seed = row["registration"], row["seed"]
    blank = {"deficit_number": 0, "deficits": 0, "state": SeedState.IN_TRANSIT.value}
    connection.execute(insert(seeds), {**blank, **row})
    rows = ({"registration": rid, "pack": pack, "seed": seed} for pack in pack_ids)
    insert_rows(connection, transit, rows, ignore=True)
    mark_lost(connection, rid)


def update_seed(connection: Connection, rid: RegistrationId, seed: SeedId, values: Mapping[str, Any]) -> None:
    """Change a seed's row; its state and what is in transit follow.

    A receipt outweighs everything, bytes that came in part outweigh the word that none will come.

    Raises:
        Missing: no such seed was announced.
    """
    here = and_(seeds.c.registration == rid, seeds.c.seed == seed)
    state = case(
        (seeds.c.received_at.is_not(None), SeedState.IN_VAULT.value),
        (seeds.c.deficit_number > 0, SeedState.PARTIAL.value),
        (seeds.c.released_at.is_not(None), SeedState.ABANDONED.value),
        else_=SeedState.IN_TRANSIT.value,
    )
    connection.execute(update(seeds).where(here).values(dict(values)))
    connection.execute(update(seeds).where(here).values(state=state))
    now = connection.execute(select(seeds.c.state).where(here)).scalar_one_or_none()
    if now is None:
        raise Missing(f"the seal of seed {seed.hex()}")
    if now != SeedState.IN_TRANSIT.value:
        connection.execute(delete(transit).where(transit.c.registration == rid, transit.c.seed == seed))
        mark_lost(connection, rid)


def asked_present(connection: Connection, rid: RegistrationId) -> set[bytes]:
    """Return which of the asked packs are in the vault."""
    return set(connection.execute(select(asked.c.pack).where(_present(rid))).scalars())


def asked_in_transit(connection: Connection, rid: RegistrationId) -> set[bytes]:
    """Return which of the asked packs an announced seed carries."""
    return set(connection.execute(select(asked.c.pack).where(_in_transit(rid))).scalars())


def asked_absent(connection: Connection, rid: RegistrationId) -> list[bytes]:
    """Return which of the asked packs are neither here nor on the road, sorted."""
    missing = select(asked.c.pack).where(not_(_present(rid)), not_(_in_transit(rid)))
    return list(connection.execute(missing.order_by(asked.c.pack)).scalars())


def resurrect_asked(connection: Connection, rid: RegistrationId) -> None:
    """Take the asked packs off the list of the condemned."""
    ids = select(asked.c.pack)
    connection.execute(delete(condemned).where(condemned.c.registration == rid, condemned.c.pack.in_(ids)))


def lease_asked(connection: Connection, rid: RegistrationId, until: datetime) -> None:
    """Pin those of the asked packs that are in the vault until a moment, or longer if they are already."""
    chosen = select(literal(rid), asked.c.pack, literal(to_ns(until))).where(_present(rid))
    statement = insert(leases).prefix_with("OR REPLACE").from_select(["registration", "pack", "until"], chosen)
    connection.execute(statement)


def end_leases(connection: Connection, rid: RegistrationId) -> None:
    """Unpin what a registration's job has asked for: the job is over."""
    connection.execute(delete(leases).where(leases.c.registration == rid))


def _present(rid: RegistrationId) -> Any:
    return exists().where(packs.c.registration == rid, packs.c.pack == asked.c.pack)


def _in_transit(rid: RegistrationId) -> Any:
    return exists().where(transit.c.registration == rid, transit.c.pack == asked.c.pack)
