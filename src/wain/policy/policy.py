"""A backup policy: what to protect, when, how long, and which road the first backup takes."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from wain.base.errors import Refused
from wain.pageblob.parity import STRENGTHS
from wain.policy.compression import Compression
from wain.policy.consistency import NO_COMMANDS, Commands, SourceMode
from wain.policy.endpoint import Endpoint
from wain.policy.exclusion import Exclusions
from wain.policy.retention import DEFAULT, Retention
from wain.policy.schedule import DAILY, Schedule

ITEMS_CAP: Final = 10_000
"""Includes, and excludes, in one policy."""
PARITY_PERCENT: Final = 6
"""Two lost leaves of 32, or a burst of 8 MiB in a full group, are repaired without the source."""


class InitialBackup(Enum):
    """The road of the first backup (the wizard's page "Choose Initial Backup Type")."""

    ONLINE = "online"
    OFFLINE = "offline"
    """"Transfer using Microsoft Azure Data Box disks"."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the wizard asks, in one value.

    Raises:
        Refused: nothing is included, an include is not a clean absolute path, an exclusion is no pattern, a size is not
            positive, there is no such parity, or an offline first backup names no order (or an online one does).
    """

    includes: tuple[bytes, ...]
    """Absolute paths, without doubles, in path order."""
    excludes: tuple[str, ...] = ()
    """Globs (`policy.exclusion`)."""
    exclude_caches: bool = False
    """Leave out the content of directories that hold a valid CACHEDIR.TAG."""
    max_file_bytes: int | None = None
    one_file_system: bool = False
    schedule: Schedule = DAILY
    retention: Retention = DEFAULT
    initial: InitialBackup = InitialBackup.ONLINE
    order: str | None = None
    device: str | None = None
    """Path of the device's root, or None to detect it when the job runs."""
    gap_cover: bool = True
    """Whether to protect changes over the wire while the device is on the road."""
    source: SourceMode = SourceMode.LIVE
    commands: Commands = NO_COMMANDS
    compression: Compression = Compression.DEFAULT
    parity_percent: int = PARITY_PERCENT
    """How much of a device is parity: one of `STRENGTHS`, 0 for none."""
    service: Endpoint | None = None
    """Who knows the order's stage; None when it is the Data Box service of this home."""

    def __post_init__(self) -> None:
        if not self.includes:
            raise Refused("the policy protects nothing", "Name at least one item with --include.")
        if max(len(self.includes), len(self.excludes)) > ITEMS_CAP:
            raise Refused(f"a policy has at most {ITEMS_CAP:,} items and as many exclusions")
        for path in self.includes:
            _check_include(path)
        Exclusions(self.excludes)
        if self.max_file_bytes is not None and self.max_file_bytes < 1:
            raise Refused("the largest file size to protect must be at least 1 byte")
        check_parity(self.parity_percent)
        self._check_road()
        # One below another stays: it may be on another file system, or within what an exclusion leaves out.
        object.__setattr__(self, "includes", tuple(sorted(set(self.includes), key=lambda path: path.split(b"/"))))

    def _check_road(self) -> None:
        if self.initial is InitialBackup.OFFLINE and not self.order:
            hint = "Name a Delivered order with --order, or choose --initial online."
            raise Refused("an offline first backup needs a Data Box order", hint)
        if self.initial is InitialBackup.ONLINE and (self.order or self.device or self.service):
            hint = "Choose --initial offline, or leave --order, --device and --service out."
            raise Refused("an online first backup uses neither an order nor a device", hint)


def check_parity(percent: int) -> int:
    """Return how much parity to write, when devices can have that much.

    Raises:
        Refused: they cannot.
    """
    if percent not in STRENGTHS:
        known = ", ".join(str(each) for each in STRENGTHS if each)
        raise Refused(f"parity of {percent} % cannot be written", f"Choose {known} percent, or off.")
    return percent


def _check_include(path: bytes) -> None:
    shown = path.decode("utf-8", "replace")
    if not path.startswith(b"/") or b"\0" in path:
        raise Refused(f"{shown!r} is not an absolute path", "Write the item's path from / on.")
    if path != b"/" and not all(part not in {b"", b".", b".."} for part in path[1:].split(b"/")):
        hint = "Write it without '.', '..', doubled slashes and a slash at the end."
        raise Refused(f"{shown!r} is not a clean path", hint)
