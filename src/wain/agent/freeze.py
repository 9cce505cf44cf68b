"""Freezes the file systems that a policy's items lie on, and lets go of them again.

One interface, three implementations: btrfs (`freeze_btrfs`), LVM (`freeze_lvm`), VSS on Windows (`freeze_vss`). What is
frozen is a whole file system, or a whole btrfs subvolume: the *boundary* that holds an item, and every boundary below
it. What is mounted below and cannot be frozen is read as it is.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from wain.agent.mounts import Mount, within
from wain.agent.view import LIVE, Identity, Place, View
from wain.base.errors import Refused, UserError
from wain.policy.exclusion import Exclusions

COMMAND_SECONDS: Final = 300
_HINT: Final = "Choose '--source auto' or '--source live' with 'wain policy set', or protect what can be frozen."
_ROUNDS: Final = 3
"""How often a file system is asked for boundaries that came into being while others were frozen."""

Run = Callable[[Sequence[str]], str]
"""Runs one command of the system and returns what it prints, or raises `FreezeFailed`."""


@dataclass(eq=False)
class FreezeFailed(UserError):
    """A snapshot could not be made, or not be removed."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """One snapshot, ready to be read. `mark` is what its maker removes it by."""

    point: bytes
    """The path that it stands for."""
    place: Place
    device: int
    """st_dev of what it is a snapshot of."""
    mount: Mount
    mark: str
    hidden: Identity | None = None
    """A directory of the source that holds the snapshot."""


class Freezer(Protocol):
    """One way to make snapshots. Their names carry the registration, so that each Wain finds its own, and only those.

    Raises (all but `why_not`): `FreezeFailed`.
    """

    name: str
    """For people."""

    def why_not(self, mount: Mount) -> str:
        """Return why a file system cannot be frozen this way, or nothing when it can."""

    def nested(self, mount: Mount) -> list[bytes]:
        """Return the paths below a mount point that need snapshots of their own."""

    def freeze(self, mount: Mount, point: bytes, number: int) -> Frozen:
        """Freeze a mount point, or a path that `nested` gave. Nothing is left behind when it fails."""

    def thaw(self, frozen: Frozen) -> None:
        """Remove a snapshot."""

    def clear(self, mounts: Iterable[Mount]) -> int:
        """Remove what a job that was killed has left behind; return how many snapshots that were."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a policy protects, as far as it decides what is frozen."""

    includes: tuple[bytes, ...]
    exclusions: Exclusions
    one_file_system: bool = False

    def holders(self, boundaries: Iterable[bytes]) -> set[bytes]:
        """Return the boundaries that the items themselves lie in."""
        known = list(boundaries)
        nearest = (max((one for one in known if within(item, one)), key=len, default=None) for item in self.includes)
        return {one for one in nearest if one is not None}

    def above(self, boundaries: Iterable[bytes]) -> set[bytes]:
        """Return the boundaries on the way to items: a walk has to pass them, and may keep nothing of them."""
        return {one for one in boundaries if any(within(item, one) for item in self.includes)}

    def below(self, boundaries: Iterable[bytes]) -> set[bytes]:
        """Return the boundaries that a walk meets below items."""
        if self.one_file_system:
            return set()
        return {one for one in boundaries if any(self._reaches(item, one) for item in self.includes)}

    def _reaches(self, item: bytes, boundary: bytes) -> bool:
        if item == boundary or not within(boundary, item):
            return False
        path = item
        for part in boundary[len(item) :].strip(b"/").split(b"/"):
            path = os.path.join(path, part)
            if self.exclusions.matches(path, is_directory=True):
                return False
        return True


@dataclass(slots=True)
class Freezing:
    """The snapshots of one job."""

    freezers: tuple[Freezer, ...]
    mounts: Sequence[Mount]
    scope: Scope
    required: bool
    """What cannot be frozen is refused, and not read as it is."""
    live: list[str] = field(default_factory=list)
    """What is read as it is, and why."""
    stuck: int = 0
    """How many snapshots could not be removed."""
    _made: list[tuple[Freezer, Frozen]] = field(default_factory=list)

    def freeze(self) -> View:
        """Make the snapshots and return the view of them.

        Raises:
            Refused: snapshots are required, and an item lies where none can be made.
            FreezeFailed: one could not be made. What was made is still to be thawed.
        """
        able = self._able()
        ours = {mount.point: freezer for mount, freezer in able}
        boundaries = {mount.point: mount for mount in self.mounts}
        done: set[bytes] = set()
        wanted: set[bytes] = set()
        for _ in range(_ROUNDS):
            for mount, freezer in able:
                own = [path for path in freezer.nested(mount) if self._mount_of(path) is mount]
                boundaries.update((path, mount) for path in own)
            wanted = self.scope.holders(boundaries) | self.scope.below(boundaries)
            # In path order: what holds another comes first, and the other then exists in it.
            todo = [path for path in sorted(wanted - done) if boundaries[path].point in ours]
            if not todo:
                break
            for path in todo:
                freezer = ours[boundaries[path].point]
                self._made.append((freezer, freezer.freeze(boundaries[path], path, len(self._made))))
                done.add(path)
        return self._view(wanted | self.scope.above(boundaries)) if self._made else LIVE

    def _mount_of(self, path: bytes) -> Mount | None:
        """Return the mount that a path is seen through."""
        return max(
            (one for one in self.mounts if within(path, one.point)), key=lambda one: len(one.point), default=None
        )

    def thaw(self) -> list[str]:
        """Remove the snapshots, the newest first; return a sentence for each that could not be removed."""
        problems: list[str] = []
        while self._made:
            freezer, frozen = self._made.pop()
            try:
                freezer.thaw(frozen)
            except FreezeFailed as error:
                problems.append(f"a snapshot was not removed ({error}); the next job tries again")
        self.stuck += len(problems)
        return problems

    @property
    def words(self) -> str:
        """Say what was frozen, for people."""
        kinds = sorted({freezer.name for freezer, _ in self._made})
        return f"read from {len(self._made)} {' and '.join(kinds)} snapshot{'s' if len(self._made) > 1 else ''}"

    def _able(self) -> list[tuple[Mount, Freezer]]:
        """Choose a freezer for each mount that matters; note or refuse where there is none."""
        able = []
        for item in self.scope.includes if self.required else ():
            if self._mount_of(item) is None:
                raise Refused(f"nobody knows what {os.fsdecode(item)} lies on, so no snapshot can be made of it", _HINT)
        holders = self.scope.holders(mount.point for mount in self.mounts)
        below = self.scope.below(mount.point for mount in self.mounts)
        for mount in self.mounts:
            if mount.point not in holders | below:
                continue
            reasons = []
            for freezer in self.freezers:
                reason = freezer.why_not(mount)
                if not reason:
                    able.append((mount, freezer))
                    break
                reasons.append(f"{freezer.name}: {reason}")
            else:
                self._cannot(mount, "; ".join(reasons), holder=mount.point in holders)
        return able

    def _cannot(self, mount: Mount, reasons: str, *, holder: bool) -> None:
        shown = os.fsdecode(mount.point)
        if holder and self.required:
            raise Refused(f"no snapshot can be made of {shown} ({mount.kind}): {reasons}", _HINT)
        if holder or mount.has_device:
            self.live.append(f"{shown} ({mount.kind}) was read as it is: {reasons}")

    def _view(self, met: Iterable[bytes]) -> View:
        places = {one.point: one.place for _, one in self._made}
        tops = tuple(places)
        # In a snapshot, other file systems are empty directories: they are read from where they are mounted.
        for path in met:
            if path in places or not any(within(path, top) for top in tops):
                continue
            try:
                places[path] = Place.at(path)
            except OSError:
                continue  # A file that is a mount point, or one that has gone: as empty as in the snapshot.
        return View(
            places,
            {one.place.identity[0]: one.device for _, one in self._made},
            frozenset(one.hidden for _, one in self._made if one.hidden is not None),
        )


def run_system(command: Sequence[str]) -> str:
    """Run one command of the operating system and return what it prints.

    Raises:
        FreezeFailed: it is not installed, failed, or took too long.
    """
    # LC_ALL: what it prints is read by a program.
    surroundings = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="surrogateescape", stdin=subprocess.DEVNULL,
            env=surroundings, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise FreezeFailed(command[0], "it is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FreezeFailed(command[0], str(error)) from None
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise FreezeFailed(command[0], words[-500:] or f"it ended with status {done.returncode}")
    return done.stdout
