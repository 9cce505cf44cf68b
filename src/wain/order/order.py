"""A Data Box order: its stages and the moves between them, its SKU, its account.

Stage names are Azure's (`Microsoft.DataBox`, StageName). The rules are tables; nothing here touches the world.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from wain.base.errors import IllegalMove
from wain.base.ids import DeviceId


class Stage(Enum):
    """Where an order is. The value is Azure's REST spelling."""

    DEVICE_ORDERED = "DeviceOrdered"
    DEVICE_PREPARED = "DevicePrepared"
    DISPATCHED = "Dispatched"
    DELIVERED = "Delivered"
    PICKED_UP = "PickedUp"
    AT_AZURE_DC = "AtAzureDC"
    DATA_COPY = "DataCopy"
    COMPLETED = "Completed"
    COMPLETED_WITH_WARNINGS = "CompletedWithWarnings"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    CANCELLED = "Cancelled"
    ABORTED = "Aborted"


FINISHED: Final = frozenset({Stage.COMPLETED, Stage.COMPLETED_WITH_WARNINGS, Stage.COMPLETED_WITH_ERRORS})
"""The data copy is over and something is in the account (azure.md C21: three names for it)."""

DEAD: Final = frozenset({Stage.CANCELLED, Stage.ABORTED})
"""Nothing will ever arrive."""

MOVES: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.DEVICE_ORDERED: frozenset({Stage.DEVICE_PREPARED, Stage.CANCELLED, Stage.ABORTED}),
    Stage.DEVICE_PREPARED: frozenset({Stage.DISPATCHED, Stage.ABORTED}),
    Stage.DISPATCHED: frozenset({Stage.DELIVERED, Stage.ABORTED}),
    Stage.DELIVERED: frozenset({Stage.PICKED_UP, Stage.ABORTED}),
    Stage.PICKED_UP: frozenset({Stage.AT_AZURE_DC, Stage.ABORTED}),
    Stage.AT_AZURE_DC: frozenset({Stage.DATA_COPY, Stage.ABORTED}),
    Stage.DATA_COPY: FINISHED | {Stage.ABORTED},
}
"""Every legal move. A stage without a row is terminal. Cancelling is possible only before `DevicePrepared`."""


def advance(now: Stage, then: Stage) -> Stage:
    """Return `then`.

    Raises:
        IllegalMove: `MOVES` does not list the move.
    """
    if then not in MOVES.get(now, frozenset()):
        raise IllegalMove("order", now.value, then.value)
    return then


class AccountKind(Enum):
    """Kinds of storage account (ARM `kind`)."""

    STORAGE_V2 = "StorageV2"
    STORAGE = "Storage"
    BLOB_STORAGE = "BlobStorage"


@dataclass(frozen=True, slots=True)
class StageTime:
    """When an order reached a stage."""

    stage: Stage
    at: datetime


LOCAL_GROUP: Final = "local"
"""The resource group of an order whose maker named none."""


@dataclass(frozen=True, slots=True)
class Order:
    """One Data Box order. `history` runs from the first stage to the present one."""

    name: str
    sku: str
    """A name in `order.sku.SKUS`."""
    account: str
    account_kind: AccountKind
    subscription: str
    region: str
    device: DeviceId | None
    """Set when the device is prepared."""
    history: tuple[StageTime, ...]
    resource_group: str = LOCAL_GROUP

    @property
    def stage(self) -> Stage:
        """Where the order is now."""
        return self.history[-1].stage
