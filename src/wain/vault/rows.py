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

from wain.base.errors import Missing
from wain.base.ids import NO_SEED, PackId, PointId, RegistrationId, SeedId
from wain.base.moment import to_ns
from wain.storage.sql import Connection
from wain.tree.manifest import Manifest
from wain.vault.catalog import expired as expired_table
from wain.vault.catalog import fill_asked, gaps, packs, points, seeds, transit
from wain.vault.records import Expired
from wain.wire.vault import PointState


class SeedState(Enum):
    """Where a seed is, as far as the vault knows."""

    IN_TRANSIT = "in transit"
    IN_VAULT = "in vault"
    PARTIAL = "partial"
    """An import found packs missing or damaged; the others are in the vault."""
    ABANDONED = "abandoned"


_NOTHING: Final = "ON CONFLICT DO NOTHING"
_PRESENT: Final = "EXISTS (SELECT 1 FROM packs WHERE packs.registration = :rid AND packs.pack = asked.pack)"
_IN_TRANSIT: Final = "EXISTS (SELECT 1 FROM transit WHERE transit.registration = :rid AND transit.pack = asked.pack)"
_FORGET: Final = tuple(
    f"DELETE FROM {table} WHERE registration = :rid AND pack IN (SELECT pack FROM asked)"  # noqa: S608 - our own names
    for table in ("packs", "leases", "condemned", "scrubs")
)


def add_pack(connection: Connection, rid: RegistrationId, pack: PackId, stored_bytes: int) -> None:
    """Count a verified, durable pack as present."""
    row = {"registration": rid, "pack": pack, "stored_bytes": stored_bytes}
    connection.execute(packs.insertion(_NOTHING), row)
    here = "FROM gaps WHERE registration = :rid AND pack = :pack"
    seqs = connection.column(f"SELECT seq {here}", rid=rid, pack=pack)
    if seqs:
        connection.change(f"DELETE {here}", rid=rid, pack=pack)
        refresh_points(connection, rid, seqs)


def drop_packs(
    connection: Connection, rid: RegistrationId, lost: Sequence[PackId], needed: Mapping[int, Sequence[PackId]]
) -> None:
    """Stop counting packs as present. `needed` says which of them each point (by seq) needs."""
    fill_asked(connection, lost)
    for forget in _FORGET:
        connection.change(forget, rid=rid)
    rows = ({"registration": rid, "seq": seq, "pack": pack, "lost": True} for seq in needed for pack in needed[seq])
    connection.insert_many(gaps.insertion(_NOTHING), rows)
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
    connection.execute(points.insertion(), row)
    connection.change(
        f"""
        INSERT INTO gaps (registration, seq, pack, lost)
        SELECT :rid, :seq, asked.pack, NOT {_IN_TRANSIT} FROM asked WHERE NOT {_PRESENT}
        """,  # noqa: S608 - our own words
        rid=rid,
        seq=manifest.seq,
    )
    refresh_points(connection, rid, [manifest.seq])


def expire_point(connection: Connection, record: Expired) -> None:
    """Replace a recovery point by its tombstone."""
    rid, seq = record.registration, record.seq
    row = {"registration": rid, "seq": seq, "point": record.point, "expired_at": to_ns(record.expired_at)}
    connection.execute(expired_table.insertion(), row)
    connection.change("DELETE FROM points WHERE registration = :rid AND seq = :seq", rid=rid, seq=seq)
    connection.change("DELETE FROM gaps WHERE registration = :rid AND seq = :seq", rid=rid, seq=seq)


_REFRESH: Final = """
UPDATE points SET state = CASE
    WHEN EXISTS (SELECT 1 FROM gaps WHERE gaps.registration = points.registration AND gaps.seq = points.seq
        AND gaps.lost) THEN :degraded
    WHEN EXISTS (SELECT 1 FROM gaps WHERE gaps.registration = points.registration AND gaps.seq = points.seq)
        THEN :provisional
    ELSE :complete END
WHERE registration = :rid
"""


def refresh_points(connection: Connection, rid: RegistrationId, seqs: Iterable[int] | None = None) -> None:
    """Set the state of these points (or all) from their gaps."""
    states = {state.name.lower(): state.value for state in PointState}
    if seqs is None:
        connection.change(_REFRESH, rid=rid, **states)
        return
    for seq in seqs:
        connection.change(f"{_REFRESH} AND seq = :seq", rid=rid, seq=seq, **states)


def mark_lost(connection: Connection, rid: RegistrationId) -> None:
    """Set `lost` of every gap from `transit`, then every point's state."""
    connection.change(
        """
        UPDATE gaps SET lost = NOT EXISTS (
            SELECT 1 FROM transit WHERE transit.registration = :rid AND transit.pack = gaps.pack)
        WHERE registration = :rid
        """,
        rid=rid,
    )
    refresh_points(connection, rid)


def add_seed(connection: Connection, row: Mapping[str, Any], pack_ids: Iterable[PackId]) -> None:
    """Add an announced seed: its packs are in transit."""
    rid, seed = row["registration"], row["seed"]
    blank = {"deficit_number": 0, "deficits": 0, "state": SeedState.IN_TRANSIT.value}
    whole = seeds.filled(**blank, **row)
    connection.execute(seeds.insertion(), whole)
    rows = ({"registration": rid, "pack": pack, "seed": seed} for pack in pack_ids)
    connection.insert_many(transit.insertion(_NOTHING), rows)
    mark_lost(connection, rid)


_SEED_STATE: Final = """
UPDATE seeds SET state = CASE
    WHEN received_at IS NOT NULL THEN :in_vault
    WHEN deficit_number > 0 THEN :partial
    WHEN released_at IS NOT NULL THEN :abandoned
    ELSE :in_transit END
WHERE registration = :rid AND seed = :seed
"""


def update_seed(connection: Connection, rid: RegistrationId, seed: SeedId, values: Mapping[str, Any]) -> None:
    """Change a seed's row; its state and what is in transit follow. The keys of `values` are columns.

    A receipt outweighs everything, bytes that came in part outweigh the word that none will come.

    Raises:
        Missing: no such seed was announced.
    """
    assert set(values) <= set(seeds.columns)
    changes = ", ".join(f"{column} = :{column}" for column in values)
    here = "WHERE registration = :rid AND seed = :seed"
    connection.change(f"UPDATE seeds SET {changes} {here}", rid=rid, seed=seed, **values)  # noqa: S608 - our own columns
    states = {state.name.lower(): state.value for state in SeedState}
    connection.change(_SEED_STATE, rid=rid, seed=seed, **states)
    now = connection.value(f"SELECT state FROM seeds {here}", rid=rid, seed=seed)  # noqa: S608 - our own words
    if now is None:
        raise Missing(f"the seal of seed {seed.hex()}")
    if now != SeedState.IN_TRANSIT.value:
        connection.change(f"DELETE FROM transit {here}", rid=rid, seed=seed)  # noqa: S608 - our own words
        mark_lost(connection, rid)


def asked_present(connection: Connection, rid: RegistrationId) -> set[bytes]:
    """Return which of the asked packs are in the vault."""
    return set(connection.column(f"SELECT pack FROM asked WHERE {_PRESENT}", rid=rid))  # noqa: S608 - our own words


def asked_in_transit(connection: Connection, rid: RegistrationId) -> set[bytes]:
    """Return which of the asked packs an announced seed carries."""
    return set(connection.column(f"SELECT pack FROM asked WHERE {_IN_TRANSIT}", rid=rid))  # noqa: S608 - our own words


def asked_absent(connection: Connection, rid: RegistrationId) -> list[bytes]:
    """Return which of the asked packs are neither here nor on the road, sorted."""
    return connection.column(
        f"SELECT pack FROM asked WHERE NOT {_PRESENT} AND NOT {_IN_TRANSIT} ORDER BY pack",  # noqa: S608 - our own words
        rid=rid,
    )


def resurrect_asked(connection: Connection, rid: RegistrationId) -> int:
    """Take the asked packs off the list of the condemned; return how many were on it."""
    return connection.change(
        "DELETE FROM condemned WHERE registration = :rid AND pack IN (SELECT pack FROM asked)", rid=rid
    )


def lease_asked(connection: Connection, rid: RegistrationId, until: datetime) -> None:
    """Pin those of the asked packs that are in the vault until a moment, or longer if they are already."""
    connection.change(
        f"""
        INSERT INTO leases (registration, pack, until) SELECT :rid, asked.pack, :until FROM asked WHERE {_PRESENT}
        ON CONFLICT (registration, pack) DO UPDATE SET until = excluded.until
        """,  # noqa: S608 - our own words
        rid=rid,
        until=to_ns(until),
    )


def end_leases(connection: Connection, rid: RegistrationId) -> None:
    """Unpin what a registration's job has asked for: the job is over."""
    connection.change("DELETE FROM leases WHERE registration = :rid", rid=rid)
