"""Registrations: who is in this vault."""

from typing import Any

from wain.base.errors import DataError, Missing, Refused
from wain.base.ids import RegistrationId
from wain.base.moment import from_ns
from wain.keys.secret import RESTORE_PUBLIC_BYTES
from wain.keys.signing import PUBLIC_KEY_BYTES
from wain.keys.slots import decode_slots
from wain.vault.adopting import adopt, adopt_one, keep
from wain.vault.catalog import registrations
from wain.vault.columns import our_row
from wain.vault.objects import keys_name, registration_name
from wain.vault.points import protected
from wain.vault.records import MAX_NAME_BYTES, KeptSlots, Registered, decode, decode_unchecked, encode
from wain.vault.site import Site
from wain.wire.vault import ProtectionState, Registration


def register(site: Site, wanted: Registration, key_slots: bytes) -> Registration:
    """Enrol a server. The vault sets the state and the moment.

    Raises:
        Refused: the keys do not fit together, or other content is registered under this id.
        DataError: the key slots cannot be decoded.
    """
    slots = decode_slots(key_slots)
    _check(wanted)
    if slots.registration != wanted.id or slots.restore_public != wanted.restore_key:
        raise Refused("the key slots belong to another registration")
    with site.writing(adopt):
        adopt_one(site, wanted.id, [])
        try:
            known = registration(site, wanted.id)
        except Missing:
            _enrol(site, wanted, keys_name(wanted.id, slots.epoch), key_slots)
            return registration(site, wanted.id)
        same = (known.name, known.sign_key, known.restore_key) == (wanted.name, wanted.sign_key, wanted.restore_key)
        if not same or stored_slots(site, wanted.id) != key_slots:
            raise Refused(f"another server is registered under id {wanted.id.hex()}")
        return known


def registration(site: Site, rid: RegistrationId) -> Registration:
    """Return one registration.

    Raises:
        Missing: this vault has no such registration.
    """
    with site.catalog.read() as connection:
        row = connection.row(f"{registrations.selection} WHERE id = :rid", rid=rid)
        if row is None:
            raise Missing(f"registration {rid.hex()}")
        return _registration(row, whole=protected(connection, rid))


def list_registrations(site: Site) -> list[Registration]:
    """Return every registration, oldest first."""
    return [registration(site, rid) for rid in site.ids()]


def stored_slots(site: Site, rid: RegistrationId) -> bytes:
    """Return the newest key slots of a registration, as the agent made them.

    A damaged record is the verification's finding. Here its slots count all the same, as far as they can be read: each
    commits to its own key, so that a wrong bit opens nothing, and another slot may still open everything.

    Raises:
        DataError: they cannot be read.
    """
    return decode_unchecked(KeptSlots, site.objects.read(keys_name(rid, site.row(rid).key_epoch))).slots


def _enrol(site: Site, wanted: Registration, slots_name: str, key_slots: bytes) -> None:
    # Until the registration's record is there, slots are what a killed attempt left: they unlock nothing.
    slots = encode(KeptSlots(key_slots), site.signer)
    if not site.objects.create(slots_name, slots) and not _holds(site.objects.read(slots_name), key_slots):
        site.objects.set_aside(slots_name)
        site.objects.create(slots_name, slots)
    record = Registered(wanted.id, wanted.name, wanted.sign_key, wanted.restore_key, site.clock())
    keep(site, registration_name(wanted.id), encode(record, site.signer))
    keep(site, slots_name, slots)


def _holds(body: bytes, key_slots: bytes) -> bool:
    try:
        return decode(KeptSlots, body).slots == key_slots
    except DataError:
        return False


def _check(wanted: Registration) -> None:
    if not 1 <= len(wanted.name.encode()) <= MAX_NAME_BYTES:
        raise Refused(f"a server's name has 1 to {MAX_NAME_BYTES} bytes")
    if len(wanted.sign_key) != PUBLIC_KEY_BYTES or len(wanted.restore_key) != RESTORE_PUBLIC_BYTES:
        raise Refused("the registration's public keys have the wrong length")


def _registration(row: Any, *, whole: bool) -> Registration:
    with our_row():
        return Registration(
            id=RegistrationId(row.id),
            name=row.name,
            sign_key=row.sign_key,
            restore_key=row.restore_key,
            state=ProtectionState.PROTECTED if whole else ProtectionState.IR_PENDING,
            registered_at=from_ns(row.registered_at),
        )
