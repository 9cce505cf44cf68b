"""Opens a registration's secret with what a person knows or holds. Nothing of it is written anywhere.

It loads little: a passphrase is stretched in 64 MiB, and what a command holds beside them makes its peak.
"""

from dataclasses import dataclass
from typing import Self

from wain.base.ids import RegistrationId
from wain.chunk.names import Namer
from wain.keys.secret import RestoreKey, Secret, restore_key, write_keys
from wain.keys.slots import decode_slots, open_with_passphrase, open_with_recovery
from wain.wire.vault import VaultApi


@dataclass(frozen=True, slots=True)
class OpenKeys:
    """What somebody who knows the passphrase can read with, and prove chunks with."""

    key: RestoreKey
    namer: Namer

    @classmethod
    def of(cls, secret: Secret) -> Self:
        """Derive them from a registration's secret."""
        return cls(restore_key(secret), Namer(write_keys(secret).chunk_keys))


def unlock(vault: VaultApi, rid: RegistrationId, answer: str | Secret) -> Secret:
    """Return the registration's secret, opened with the passphrase (text) or the recovery key (secret).

    Raises:
        WrongPassphrase, WrongRecoveryKey: it does not open.
    """
    slots = decode_slots(vault.key_slots(rid))
    return open_with_passphrase(slots, answer) if isinstance(answer, str) else open_with_recovery(slots, answer)
