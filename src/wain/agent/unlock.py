"""Opens a registration's secret with what a person knows or holds. Nothing of it is written anywhere."""

from wain.base.ids import RegistrationId
from wain.keys.secret import RestoreKey, Secret, restore_key
from wain.keys.slots import decode_slots, open_with_passphrase, open_with_recovery
from wain.wire.vault import VaultApi


def unlock(vault: VaultApi, rid: RegistrationId, answer: str | Secret) -> Secret:
    """Return the registration's secret, opened with the passphrase (text) or the recovery key (secret).

    Raises:
        WrongPassphrase, WrongRecoveryKey: it does not open.
    """
    slots = decode_slots(vault.key_slots(rid))
    return open_with_passphrase(slots, answer) if isinstance(answer, str) else open_with_recovery(slots, answer)


def unlock_restore(vault: VaultApi, rid: RegistrationId, answer: str | Secret) -> RestoreKey:
    """Return the key that opens packs, from the passphrase or the recovery key."""
    return restore_key(unlock(vault, rid, answer))
