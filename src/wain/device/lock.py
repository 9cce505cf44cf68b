"""Locked devices: find, unlock, format and lock them again. One interface, a backend for each kind of lock.

An unlocked device lies in a directory of its own below `at`: what it was opened from, and `root`, where its file system
is mounted. The passkey is in no file, no argument and no message.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from blake3 import blake3

from wain.base.errors import Refused, RemoteError, UserError, WainError
from wain.device.blank import LOCKS, check_blank, locked_devices, probe
from wain.device.lock_bitlocker import Dislocker
from wain.device.lock_luks import KernelLuks, UserspaceLuks, format_luks, has_device_mapper
from wain.device.passkey import check_passkey
from wain.device.programs import ProgramFailed, need, run_program
from wain.storage.durable import make_dirs, write_atomic

_SOURCE: Final = "source"
_KIND: Final = "kind"
_ROOT: Final = "root"
_SMALL: Final = 8192
_MOUNT_OPTIONS: Final = "nosuid,nodev,noexec"
"""Nothing that comes on a device may act on this host."""


class Backend(Protocol):
    """One way to open one kind of lock.

    Raises (all methods): `WrongPasskey`, `ProgramMissing`, `ProgramFailed`, `Refused`.
    """

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be installed."""

    def open(self, locked: Path, passkey: str, slot: Path) -> Path:
        """Open a device; return the plain block device, or a file that stands for it."""

    def close(self, slot: Path) -> None:
        """Undo `open`. The same call again changes nothing."""


def _luks() -> Backend:
    return KernelLuks() if has_device_mapper() else UserspaceLuks()


BACKENDS: Final[dict[str, Callable[[], Backend]]] = {"LUKS": _luks, "BitLocker": Dislocker}


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A device that is open. `root` is where it is mounted."""

    source: Path
    root: Path
    kind: str


@dataclass(eq=False)
class PartlyUnlocked(UserError):
    """Some devices of a set opened and some did not. Those that opened stay open."""

    opened: tuple[Unlocked, ...]
    failed: tuple[tuple[Path, WainError], ...]
    hint = "Correct what is named and repeat the command with the devices that did not open."

    def __str__(self) -> str:
        good = ", ".join(f"{one.source} at {one.root}" for one in self.opened)
        return f"only a part of the devices was unlocked: {good}; not unlocked: {_reasons(self.failed)}"


@dataclass(eq=False)
class NoneUnlocked(UserError):
    """No device of a set opened."""

    failed: tuple[tuple[Path, WainError], ...]
    hint = "Nothing was changed. Correct what is named and repeat the command."

    def __str__(self) -> str:
        return f"no device was unlocked: {_reasons(self.failed)}"


def _reasons(failed: Sequence[tuple[Path, WainError]]) -> str:
    return ", ".join(f"{path} ({error})" for path, error in failed)


def unlocked(at: Path) -> list[Unlocked]:
    """Return the devices that are open below `at`."""
    found = []
    for slot in sorted(at.iterdir()) if at.is_dir() else ():
        if os.path.ismount(slot / _ROOT):
            with suppress(OSError):
                source, kind = (os.fsdecode((slot / name).read_bytes()[:_SMALL]) for name in (_SOURCE, _KIND))
                found.append(Unlocked(Path(source), slot / _ROOT, kind))
    return found


def unlock_all(paths: Sequence[Path], passkey: str, at: Path) -> list[Unlocked]:
    """Unlock and mount devices or images; all attached locked devices when none is named.

    Raises:
        Refused: no locked device is there. The error of the one device, when only one was named.
        NoneUnlocked, PartlyUnlocked: which did not open, and why.
    """
    open_now = {one.source for one in unlocked(at)}
    chosen = [Path(os.path.realpath(path)) for path in paths]
    if not chosen:
        chosen = [path for path in locked_devices() if path not in open_now]
        if not chosen:
            raise Refused(
                "no locked device was found: it is unlocked already, not attached, or was formatted",
                "See what is attached with `wain device detect`. A Data Box Disk that was formatted is unusable.",
            )
    opened: list[Unlocked] = []
    failed: list[tuple[Path, WainError]] = []
    for path in chosen:
        try:
            opened.append(_unlock(path, passkey, at))
        except WainError as error:
            failed.append((path, error))
    if not failed:
        return opened
    if len(chosen) == 1:
        raise failed[0][1]
    if opened:
        raise PartlyUnlocked(tuple(opened), tuple(failed))
    raise NoneUnlocked(tuple(failed))


def _slot(source: Path, at: Path) -> Path:
    short = "".join(one if one.isascii() and one.isalnum() else "-" for one in source.name)[:24]
    return at / f"{short}-{blake3(os.fsencode(source)).hexdigest()[:8]}"


def _unlock(source: Path, passkey: str, at: Path) -> Unlocked:
    slot = _slot(source, at)
    root = slot / _ROOT
    if os.path.ismount(root):
        raise Refused(f"{source} is unlocked already, at {root}")
    found = probe(source)
    kind = LOCKS.get(found.get("TYPE", ""))
    if kind is None:
        holds = found.get("TYPE") or found.get("PTTYPE")
        what = f"it holds {holds}" if holds else "it is blank"
        hint = "Name the locked partition. If it was formatted since it was locked, what was on it is lost."
        raise Refused(f"{source} carries no lock: {what}", hint)
    backend = BACKENDS[kind]()
    need(backend.programs, f"unlock {kind}")
    make_dirs(root)
    write_atomic(slot / _SOURCE, os.fsencode(source))
    write_atomic(slot / _KIND, kind.encode())
    try:
        plain = backend.open(source, passkey, slot)
        _mount(plain, root, source)
    except BaseException:
        with suppress(WainError):
            backend.close(slot)
        _forget(slot)
        raise
    return Unlocked(source, root, kind)


def _mount(plain: Path, root: Path, source: Path) -> None:
    loop = ",loop" if plain.is_file() else ""
    try:
        run_program(["mount", "-o", _MOUNT_OPTIONS + loop, str(plain), str(root)])
    except ProgramFailed as error:
        hint = "Check its file system on the plain device; a volume that was not unmounted cleanly may need repair."
        raise Refused(f"the passkey opens {source}, but what is in it cannot be mounted: {error.said}", hint) from error


def _forget(slot: Path) -> None:
    """Remove a slot that holds no mount any more: its directories are empty, or must stay."""
    if not any(os.path.ismount(slot / name) for name in (_ROOT, "plain")):
        shutil.rmtree(slot, ignore_errors=True)


def format_locked(source: Path, passkey: str, at: Path, overwrite: str = "") -> Unlocked:
    """Format a device or image with LUKS and, in it, ext4; leave it unlocked and mounted. What was on it is lost.

    `overwrite` is the path or serial number of a device that is not blank, as the operator typed it.

    Raises:
        Refused: the passkey breaks a rule, the device is in use or not blank.
    """
    check_passkey(passkey)
    source = Path(os.path.realpath(source))
    backend = BACKENDS["LUKS"]()
    need((*backend.programs, "blkid", "mkfs.ext4"), "lock a device")
    if os.path.ismount(_slot(source, at) / _ROOT):
        raise Refused(
            f"{source} is unlocked, at {_slot(source, at) / _ROOT}", f"Lock it first: wain device lock {source}"
        )
    check_blank(source, overwrite)
    format_luks(source, passkey)
    slot = _slot(source, at)
    make_dirs(slot)
    try:
        plain = backend.open(source, passkey, slot)
        run_program(["mkfs.ext4", "-q", "-m", "0", "-L", "WAIN", str(plain)])
    finally:
        backend.close(slot)
        _forget(slot)
    return _unlock(source, passkey, at)


def lock(path: Path, at: Path) -> Path:
    """Unmount and close a device, named by its path or by where it is mounted; return its path.

    Raises:
        Refused: it is not open here, or still in use.
    """
    real = Path(os.path.realpath(path))
    for one in unlocked(at):
        if real in (one.source, Path(os.path.realpath(one.root))):
            break
    else:
        raise Refused(
            f"{path} is not a device that was unlocked here", "See what is unlocked with `wain device detect`."
        )
    try:
        run_program(["umount", str(one.root)])
    except ProgramFailed as error:
        raise Refused(f"{one.root} cannot be unmounted: {error.said}", "End what still uses it.") from error
    slot = one.root.parent
    BACKENDS[one.kind]().close(slot)
    _forget(slot)
    if slot.exists():
        raise _StillOpen(str(slot))
    return one.source


@dataclass(eq=False)
class _StillOpen(RemoteError):
    where: str

    def __str__(self) -> str:
        return f"the device below {self.where} is unmounted but could not be closed"
