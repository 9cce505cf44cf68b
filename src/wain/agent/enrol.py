"""Registers a server with a vault.

The order of writes makes every step repeatable: keys and slots are durable here before the vault hears of them, and
the enrolment record, which makes the registration count, comes last.
"""

import os
from dataclasses import dataclass
from datetime import datetime

from wain.agent.home import AgentHome, Enrolment
from wain.agent.write_keys import AgentKeys
from wain.base.errors import Missing, Refused, UserError
from wain.base.ids import UUID_BYTES, RegistrationId
from wain.keys.phrases import check_passphrase
from wain.keys.secret import SECRET_BYTES, Secret, write_keys
from wain.keys.signing import public_key
from wain.keys.slots import (
    DEFAULT,
    SALT_BYTES,
    Argon2,
    KeySlots,
    decode_slots,
    encode_slots,
    open_with_passphrase,
    open_with_recovery,
    passphrase_slot,
    recovery_slot,
)
from wain.wire.vault import ProtectionState, Registration, VaultApi


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """What registering needs. `name` is what the vault's operator may read."""

    name: str
    vault_url: str
    passphrase: str
    recovery: Secret
    cost: Argon2 = DEFAULT


def enrol(home: AgentHome, vault: VaultApi, request: EnrolRequest, now: datetime) -> Registration:
    """Register this server. The same request again, after any interruption, gives the same registration.

    Raises:
        Refused: the passphrase breaks the rules, this home belongs to another vault already, or it holds the keys of a
            registration that the vault knows: they are never overwritten.
    """
    done = home.enrolment()
    if done is not None:
        if done.vault_url != request.vault_url:
            hint = "Use another WAIN_HOME for another vault."
            raise Refused(f"this server is registered with {done.vault_url} already", hint)
        return done.registration
    check_passphrase(request.passphrase)
    keys, slots = _begun(home, vault, request) or _begin(home, request)
    registration = _known(vault, keys.registration) or Registration(
        keys.registration,
        request.name,
        public_key(keys.sign_seed),
        keys.write.restore_public,
        ProtectionState.IR_PENDING,
        now,
    )
    registration = vault.register(registration, slots)
    home.save_enrolment(Enrolment(registration, request.vault_url))
    home.forget_pending()
    return registration


def _begin(home: AgentHome, request: EnrolRequest) -> tuple[AgentKeys, bytes]:
    secret = Secret(os.urandom(SECRET_BYTES))
    rid = RegistrationId(os.urandom(UUID_BYTES))
    keys = AgentKeys(rid, write_keys(secret), Secret(os.urandom(SECRET_BYTES)))
    slots = KeySlots(
        rid,
        1,
        keys.write.restore_public,
        (
            passphrase_slot(secret, request.passphrase, os.urandom(SALT_BYTES), rid, request.cost),
            recovery_slot(secret, request.recovery, os.urandom(SALT_BYTES), rid),
        ),
    )
    body = encode_slots(slots)
    home.save_pending_slots(body)
    home.save_keys(keys)
    return keys, body


def _begun(home: AgentHome, vault: VaultApi, request: EnrolRequest) -> tuple[AgentKeys, bytes] | None:
    """Return what an interrupted registration left, when this request can go on with it."""
    keys, body = home.keys(), home.pending_slots()
    if keys is None:
        return None
    slots = None if body is None else decode_slots(body)
    if body is None or slots is None or slots.registration != keys.registration:
        if _known(vault, keys.registration) is not None:
            raise Refused(
                f"{home.agent} holds the keys of registration {keys.registration.hex()}, which this vault knows",
                "Restore enrolment.json beside them; or move agent.keys away to register anew.",
            )
        return None
    try:
        open_with_passphrase(slots, request.passphrase)
        open_with_recovery(slots, request.recovery)
    except UserError:
        if _known(vault, keys.registration) is not None:
            hint = "Repeat the command with the passphrase and recovery key file of the first try."
            raise Refused("an interrupted registration used another passphrase or recovery key", hint) from None
        return None
    return keys, body


def _known(vault: VaultApi, rid: RegistrationId) -> Registration | None:
    try:
        return vault.registration(rid)
    except Missing:
        return None
