"""What a Recovery Services vault offers, as a Protocol spoken in domain types.

The agent drives it; `wain.vault` implements it in-process; a client over HTTP will implement it too. An agent
credential has no verb that removes anything: there is none in this Protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from wain.base.ids import PackId, PointId, RegistrationId, SeedId
from wain.base.progress import Progress
from wain.policy.retention import Retention


class Presence(Enum):
    """Where a pack is, as far as the vault knows."""

    IN_VAULT = "in vault"
    IN_TRANSIT = "in transit"
    ABSENT = "absent"


class PointState(Enum):
    """How much of a recovery point can be restored."""

    PROVISIONAL = "provisional"
    """Some of its packs are still on the road."""
    COMPLETE = "complete"
    DEGRADED = "degraded"
    """A pack it needs was lost or is damaged."""


class ProtectionState(Enum):
    """Azure's `protectionState` of a protected item, and what follows a stop."""

    IR_PENDING = "IRPending"
    PROTECTED = "Protected"
    STOPPED_KEEP = "ProtectionStopped"


@dataclass(frozen=True, slots=True)
class Registration:
    """One protected server in one vault. `name` is what the admin calls it; the vault host may read it."""

    id: RegistrationId
    name: str
    sign_key: bytes
    """The agent's raw Ed25519 public key, 32 bytes."""
    restore_key: bytes
    """The registration's HPKE public key; the private half never reaches the vault."""
    state: ProtectionState
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A recovery point in a vault's listing. Sizes in bytes, moments in UTC and by the vault's clock."""

    id: PointId
    seq: int
    state: PointState
    received_at: datetime
    created_at: datetime
    packs: int
    stored_bytes: int
    """What all its packs occupy, shared with other points or not."""
    seed: SeedId | None
    """The seed that carried it, or None when it came over the wire."""


@dataclass(frozen=True, slots=True)
class SeedRef:
    """Where the data copy put one seed: a storage account and the container (after any rename) in it."""

    account: str
    container: str


@dataclass(frozen=True, slots=True)
class Deficit:
    """One pack of a seed that did not arrive whole. `where` names the leaf or says what is missing."""

    pack: PackId
    where: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The vault's signed word that a seed is in it (device/receipt format: see `tree/FORMAT.md`, receipt)."""

    body: bytes
    """The encoded receipt that was signed."""
    signature: bytes
    """Raw Ed25519 signature by the vault over the body."""
    vault_key: bytes
    """The vault's raw Ed25519 public key."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import found. `point` is None when a deficit kept the seed's own point from being made.

    `repaired` of the `new_packs` were damaged in the account and are whole again by parity: they are no deficits.
    """

    seed: SeedId
    packs: int
    new_packs: int
    new_bytes: int
    deficits: tuple[Deficit, ...]
    point: PointId | None
    receipt: Receipt | None
    repaired: int = 0


class PackUpload(Protocol):
    """One pack on its way into the vault, under no name yet. Close it in any case; what was not finished is gone."""

    def write(self, piece: bytes | memoryview) -> None:
        """Send the next bytes of the pack."""

    def finish(self, pack: PackId) -> bool:
        """Have it verified without keys, stored durably and pinned. False when it was there already.

        Raises:
            DataError: what came is not this pack. Refused: it is another registration's. Nothing was stored.
        """

    def close(self) -> None:
        """Let go. The same call again changes nothing."""


class VaultApi(Protocol):
    """A vault, as one agent sees it.

    Raises (all methods): `Refused` for a request that breaks a rule, `Missing` for an unknown registration, point
    or pack (the same for foreign ones), `RemoteError` when the vault cannot be reached or cannot write.
    """

    def register(self, registration: Registration, key_slots: bytes) -> Registration:
        """Enrol a server. The same call again changes nothing; other content under the same id is `Refused`."""

    def registration(self, rid: RegistrationId) -> Registration:
        """Return one registration."""

    def registrations(self) -> list[Registration]:
        """Return every registration of the vault, oldest first."""

    def key_slots(self, rid: RegistrationId) -> bytes:
        """Return the newest key slots (keys/FORMAT.md). They are useless without passphrase or recovery key."""

    def set_retention(self, rid: RegistrationId, retention: Retention) -> None:
        """Keep points by this rule from now on."""

    def generation(self, rid: RegistrationId) -> int:
        """Return a number that grows whenever the vault gave up a pack: a changed one voids cached presence."""

    def presence(self, rid: RegistrationId, packs: Sequence[PackId]) -> list[Presence]:
        """Say for each pack, in order, where it is. Asking pins the pack for the length of a job."""

    def upload(self, rid: RegistrationId) -> PackUpload:
        """Begin to store a pack, whose bytes come in pieces and whose name comes last."""

    def announce_seed(self, rid: RegistrationId, seal: bytes) -> None:
        """Tell the vault which packs travel on a sealed device: they are in transit, pinned, until import."""

    def release_seed(self, rid: RegistrationId, seed: SeedId) -> None:
        """Say that a seed will never arrive (order cancelled, device lost): its packs are absent from now on."""

    def import_seed(self, rid: RegistrationId, seed: SeedRef, progress: Progress) -> ImportReport:
        """Take a seed in: account -> vault. Idempotent and resumable; verified again from the vault's storage."""

    def commit_point(self, rid: RegistrationId, manifest: bytes) -> RecoveryPoint:
        """Make a recovery point from a signed manifest whose packs are all in the vault or in transit."""

    def points(self, rid: RegistrationId) -> list[RecoveryPoint]:
        """Return the recovery points, oldest first."""

    def manifest(self, rid: RegistrationId, point: PointId) -> bytes:
        """Return the manifest of a point, as the agent signed it."""

    def pack_size(self, rid: RegistrationId, pack: PackId) -> int:
        """Return the stored size of a pack in bytes."""

    def read_pack(self, rid: RegistrationId, pack: PackId, offset: int, length: int) -> bytes:
        """Return exactly `length` stored bytes of a pack from `offset`."""

    def countersign(self, rid: RegistrationId, receipt: bytes, signature: bytes) -> None:
        """Record the agent's signature under a receipt body: from now on the device may be erased."""
