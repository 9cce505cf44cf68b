"""How a pack comes in: verified in memory, created durably, then counted. The order is the crash safety."""

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Final, Self

from wain.base.errors import Corrupt, DataError, Refused, WriteFailed
from wain.base.ids import PackId, RegistrationId
from wain.pack.format import HEADER_BYTES, decode_header
from wain.pack.verify import StreamVerifier
from wain.storage.api import Draft
from wain.vault import rows
from wain.vault.adopting import adopt
from wain.vault.catalog import fill_asked
from wain.vault.objects import pack_name
from wain.vault.site import MAX_STORED_BYTES, Site
from wain.wire.vault import Presence

LEASE: Final = timedelta(hours=96)
"""How long asking for a pack pins it (reliability.md 4.4). Shorter than any grace of the collection."""


class PackUpload:
    """`wain.wire.vault.PackUpload`: a pack on its way in, verified while it streams past. Close it in any case."""

    def __init__(self, site: Site, rid: RegistrationId) -> None:
        site.row(rid)
        self._site = site
        self._rid = rid
        self._verifier = StreamVerifier()
        self._header = b""
        self._draft = site.objects.draft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the pack.

        Raises:
            Refused: it is larger than a pack may be.
        """
        size = self._verifier.stored_bytes + len(piece)
        if size > MAX_STORED_BYTES:
            raise Refused(f"a pack of {size} bytes is over the cap of {MAX_STORED_BYTES}")
        self._verifier.feed(piece)
        self._header += bytes(piece[: HEADER_BYTES - len(self._header)])
        self._draft.write(piece)

    def finish(self, pack: PackId) -> bool:
        """Judge what came, store it durably, and pin it. False when it was there already.

        Raises:
            Corrupt, Truncated: what came is not this pack; nothing was stored.
            Refused: it was sealed for another registration.
        """
        self._verifier.finish(pack)
        if decode_header(self._header).registration != self._rid:
            raise Refused(f"pack {pack.hex()} was sealed for another registration")
        site, rid = self._site, self._rid
        with site.writing(adopt):
            there = site.has_pack(rid, pack)
            new = not there and _publish(site, rid, pack, self._draft)
            with site.catalog.write() as connection:
                if not there:
                    rows.add_pack(connection, rid, pack, self._verifier.stored_bytes)
                fill_asked(connection, [pack])
                rows.lease_asked(connection, rid, site.clock() + LEASE)
        return new

    def close(self) -> None:
        """Let go; what was not finished is gone."""
        self._draft.close()


def _publish(site: Site, rid: RegistrationId, pack: PackId, draft: Draft) -> bool:
    """Create a pack's object. False when a whole one is there, left by a verb that was killed before it counted it.

    A damaged one is set aside (healing), never overwritten.
    """
    name = pack_name(rid, pack)
    if draft.publish(name):
        return True
    try:
        site.verify_stored(rid, pack)
    except DataError:
        site.objects.set_aside(name)
    else:
        return False
    if not draft.publish(name):
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
        with closing(site.objects.draft()) as draft:
            draft.write(body)
            new = _publish(site, rid, pack, draft)
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
