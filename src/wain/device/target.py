"""What a seed is written to, and the proof that the device on the desk is that one."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wain.base.errors import Refused
from wain.base.ids import HASH_BYTES, DeviceId, RegistrationId, SeedId
from wain.device.find import DeviceRoot
from wain.pageblob.layout import BLOB_LIMIT_BYTES
from wain.pageblob.names import container_name
from wain.pageblob.parity import Strength

NO_CUSTODY: Final = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class DeviceTarget:
    """What is written where. `root` is the path the admin gave; `sign_key` the registration's raw public key.

    `expected_device` is the device this seed was begun on, None at the first opening. `custody_previous` is the hash
    of the newest custody record the agent knows, or zeros. `parity` is how much of it is written with the packs from
    now on, None for none: an earlier opening may have had another.
    """

    root: str | Path
    registration: RegistrationId
    seed: SeedId
    order: str
    sign_key: bytes
    blob_limit: int = BLOB_LIMIT_BYTES
    expected_device: DeviceId | None = None
    custody_previous: bytes = NO_CUSTODY
    parity: Strength | None = None

    @property
    def container(self) -> str:
        """The seed's container on the device."""
        return container_name(self.registration, self.seed)


def check_identity(root: DeviceRoot, target: DeviceTarget) -> None:
    """Check, before anything is made on it, that a device is of the target's order and the one the seed was begun on.

    Raises:
        Refused: it is another; both are named. Without a label, the seed's container tells.
    """
    label = root.label
    if label is None:
        if target.expected_device is not None and not (root.pageblob / target.container).is_dir():
            device_id(root, target, None)
        return
    if label.order != target.order:
        raise Refused(
            f"the device at {root.path} belongs to order {label.order}, not to {target.order}",
            "Connect the device of that order, or name the order of this device.",
        )
    _check_same(root, target, label.device)


def device_id(root: DeviceRoot, target: DeviceTarget, begun: DeviceId | None) -> DeviceId:
    """Return the device's id: from its label, else from the container on it (`begun`), else a new one.

    Raises:
        Refused: the seed was begun on another device; both are named where both are known.
    """
    if root.label is not None:
        return root.label.device
    if begun is None and target.expected_device is not None:
        raise Refused(
            f"the device at {root.path} does not hold this seed, which was begun on device "
            f"{target.expected_device.hex()}",
            "Connect the device on which the seed was begun.",
        )
    device = begun or DeviceId(os.urandom(16))
    _check_same(root, target, device)
    return device


def _check_same(root: DeviceRoot, target: DeviceTarget, device: DeviceId) -> None:
    if target.expected_device is not None and device != target.expected_device:
        raise Refused(
            f"the device at {root.path} is {device.hex()}; this seed was begun on {target.expected_device.hex()}, "
            "and one server's seed lies on one device",
            "Connect the device on which the seed was begun.",
        )
