"""LVM snapshots: of the volume that a file system lies on, mounted read-only below the agent's own directory.

A snapshot of a thin volume shares its pool. Another needs room of its own for what changes meanwhile: a tenth of the
volume; when that runs full, LVM drops the snapshot, and the files that are left are reported as unreadable.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from wain.agent.freeze import FreezeFailed, Frozen, Run, run_system
from wain.agent.mounts import Mount
from wain.agent.view import Place
from wain.agent.walk import join, words

NAME_PREFIX: Final = "wain-"
ROOM: Final = "10%ORIGIN"
_MOUNT_OPTIONS: Final = {
    "ext2": "ro",
    "ext3": "ro",
    "ext4": "ro",
    "xfs": "ro,nouuid",  # XFS refuses a second file system of the same UUID.
}


class _Volume(NamedTuple):
    group: str
    name: str
    pool: str


class LvmFreezer:
    """Makes LVM snapshots. `registration` is the hex that names Wain's own; they are mounted below `mounts_at`."""

    name = "LVM"

    def __init__(self, registration: str, mounts_at: Path, run: Run = run_system) -> None:
        self._prefix = f"{NAME_PREFIX}{registration}-"
        self._mounts_at = mounts_at
        self._run = run

    def why_not(self, mount: Mount) -> str:
        """Return why a file system cannot be frozen this way, or nothing when it can."""
        if mount.kind not in _MOUNT_OPTIONS:
            return f"a snapshot of {mount.kind} is not known to be sound"
        if os.geteuid() != 0:
            return "only root may make one"
        try:
            self._volume(mount)
        except FreezeFailed as error:
            return str(error)
        return ""

    def nested(self, mount: Mount) -> list[bytes]:
        """Return nothing: a volume is frozen as a whole."""
        del mount
        return []

    def freeze(self, mount: Mount, point: bytes, number: int) -> Frozen:
        """Make a snapshot of the volume below a mount point, and mount it."""
        volume = self._volume(mount)
        name = f"{self._prefix}{number}"
        room = ["--setactivationskip", "n"] if volume.pool else ["--extents", ROOM]
        self._run(["lvcreate", "--snapshot", "--name", name, *room, f"{volume.group}/{volume.name}"])
        where = self._mounts_at / name
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
            options = _MOUNT_OPTIONS[mount.kind]
            self._run(["mount", "-t", mount.kind, "-o", options, f"/dev/{volume.group}/{name}", str(where)])
            place = Place.at(
                join(os.fsencode(where), mount.root.strip(b"/")) if mount.root != b"/" else os.fsencode(where)
            )
            device = os.stat(point).st_dev
        except (OSError, FreezeFailed) as error:
            self._undo(volume.group, name)
            if isinstance(error, FreezeFailed):
                raise
            raise FreezeFailed(str(where), words(error)) from error
        return Frozen(point, place, device, mount, f"{volume.group}/{name}")

    def thaw(self, frozen: Frozen) -> None:
        """Take a snapshot from where it is mounted, and remove it."""
        group, _, name = frozen.mark.partition("/")
        self._remove(group, name)

    def clear(self, mounts: Iterable[Mount]) -> int:
        """Remove what a job that was killed has left behind, in every volume group."""
        del mounts  # A volume group may have lost its mounts.
        try:
            listed = self._run(["lvs", "--noheadings", "--separator", "|", "-o", "vg_name,lv_name"])
        except FreezeFailed:
            return 0  # No LVM here: nothing can be left of it.
        removed = 0
        for line in listed.splitlines():
            group, _, name = line.strip().partition("|")
            if name.startswith(self._prefix):
                self._remove(group, name)
                removed += 1
        return removed

    def _volume(self, mount: Mount) -> _Volume:
        asked = ["lvs", "--noheadings", "--separator", "|", "-o", "vg_name,lv_name,pool_lv", os.fsdecode(mount.source)]
        fields = self._run(asked).strip().split("|")
        if len(fields) != len(_Volume._fields) or not all(fields[:2]):
            raise FreezeFailed(os.fsdecode(mount.source), "it is not a volume of LVM's")
        return _Volume(*fields)

    def _remove(self, group: str, name: str) -> None:
        where = self._mounts_at / name
        if os.path.ismount(where):
            self._run(["umount", str(where)])
        self._run(["lvremove", "--yes", f"{group}/{name}"])
        try:
            where.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise FreezeFailed(str(where), words(error)) from error

    def _undo(self, group: str, name: str) -> None:
        """Remove a snapshot that did not come to use. The failure that made it useless is the news, not another one."""
        try:
            self._remove(group, name)
        except FreezeFailed:
            return  # The next job finds it by its name.
