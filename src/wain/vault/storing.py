"""How a pack comes in: verified in memory, created durably, then counted. The order is the crash safety."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from wain.base.errors import Corrupt, DataError, Refused, WriteFailed
from wain.base.ids import PackId, RegistrationId
from wain.pack.format import HEADER_BYTES, decode_header
from wain.pack.verify import verify_pack
from wain.vault import rows
from wain.vault.adopting import adopt
from wain.vault.catalog import fill_asked
from wain.vault.objects import pack_name
from wain.vault.site import MAX_STORED_BYTES, Site
from wain.wire.vault import Presence

LEASE: Final = timedelta(hours=96)
"""How long asking for a pack pins it (reliability.md 4.4). Shorter than any grace of the collection."""


def put_pack(site: Site, rid: RegistrationId, pack: PackId, body: bytes | memoryview) -> bool:
    """Store a pack that came over the wire, and pin it. False when it was there already.

    Raises:
        Corrupt, Truncated: what came is not this pack; nothing was stored.
        Refused: larger than a pack may be, or sealed for another registration.
    """
    site.row(rid)
    if len(body) > MAX_STORED_BYTES:
        raise Refused(f"a pack of {len(body)} bytes is over the cap of {MAX_STORED_BYTES}")
    verify_pack(body, pack)
    if decode_header(bytes(body[:HEADER_BYTES])).registration != rid:
        raise Refused(f"pack {pack.hex()} was sealed for another registration")
    with site.writing(adopt):
        there = site.has_pack(rid, pack)
        new = not there and create_pack(site, rid, pack, body)
        with site.catalog.write() as connection:
            if not there:
                rows.add_pack(connection, rid, pack, len(body))
            fill_asked(connection, [pack])
            rows.lease_asked(connection, rid, site.clock() + LEASE)
        return new


def create_pack(site: Site, rid: RegistrationId, pack: PackId, body: bytes | memoryview) -> bool:
    """Create a pack's object. False when a whole one is there, left by a verb that was killed before it counted it.

    A damaged one is set aside (healing), never overwritten.
    """
    name = pack_name(rid, pack)
    if site.objects.create(name, body):
        return True
    try:
        site.verify_stored(rid, pack)
    except DataError:
        site.objects.set_aside(name)
    else:
        return False
    if not site.objects.create(name, body):
        raise WriteFailed(name, "a damaged object of that name could not be set aside")
    return True


def take_pack(site: Site, rid: RegistrationId, pack: PackId, body: bytes | memoryview) -> bool:
    """Store a pack of a seed, read it again from the medium, then count it. False when it was there already.

    Raises:
        WriteFailed: the vault's own storage does not give back what was written.
    """
    with site.writing(adopt):
        if site.has_pack(rid, pack):
            return False
        new = create_pack(site, rid, pack, body)
        try:
            size = site.verify_stored(rid, pack)
        except DataError as error:
            site.objects.set_aside(pack_name(rid, pack))
            why = error.where if isinstance(error, Corrupt) else str(error)
            raise WriteFailed(pack_name(rid, pack), f"it was read back damaged: {why}") from error
        site.count_pack(rid, pack, size)
        return new


def presence(site: Site, rid: RegistrationId, asked: Sequence[PackId]) -> list[Presence]:
    """Say where packs are, and pin those that are here. A whole pack that a killed verb left is counted now."""
    site.row(rid)
    with site.mending(adopt):
        with site.catalog.write() as connection:
            fill_asked(connection, asked)
            rows.lease_asked(connection, rid, site.clock() + LEASE)
            here = rows.asked_present(connection, rid)
            travels = rows.asked_in_transit(connection, rid)
        left = [pack for pack in dict.fromkeys(asked) if pack not in here and pack not in travels]
        found = [pack for pack in left if _adopted(site, rid, pack)]
        if found:
            with site.catalog.write() as connection:
                fill_asked(connection, found)
                rows.lease_asked(connection, rid, site.clock() + LEASE)
            here.update(found)
    states = {True: Presence.IN_VAULT, False: Presence.ABSENT}
    travels -= here
    return [Presence.IN_TRANSIT if pack in travels else states[pack in here] for pack in asked]


def _adopted(site: Site, rid: RegistrationId, pack: PackId) -> bool:
    if site.objects.size(pack_name(rid, pack)) is None:
        return False
    try:
        size = site.verify_stored(rid, pack)
    except DataError:
        return False
    site.count_pack(rid, pack, size)
    return True
