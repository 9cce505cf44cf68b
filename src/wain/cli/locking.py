"""`wain device unlock|lock`, and the passkey: from a file, the terminal or the order, never from a command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.options import DataBox, Json, ask_hidden, first_line, is_interactive
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.device.lock import Unlocked

PasskeyFile = Annotated[
    str, typer.Option("--passkey-file", metavar="FILE", help="File whose first line is the device's passkey.")
]
_FLAG: Final = "--passkey-file"
_WHAT: Final = "the passkey"
_UNLOCKED: Final = "devices"
"""Below the home: where unlocked devices are mounted."""


@dataclass(frozen=True, slots=True)
class LockedOrder:
    """An order whose device is to be locked: its name, where its Data Box service lives, how, and with what passkey."""

    name: str
    service: Path
    lock: str
    passkey_file: str


def unlock(
    context: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="Locked devices or images. Default: all attached.")
    ] = None,
    passkey_file: PasskeyFile = "",
    order: Annotated[str, typer.Option(metavar="NAME", help="Take the passkey from this order's credentials.")] = "",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Unlock and mount devices: LUKS, and the BitLocker of Microsoft's Data Box Disks."""
    from wain.databox.credentials import read_passkey
    from wain.device.lock import unlock_all

    parts = Parts.of(context)
    if order and not passkey_file:
        parts.databox_knowing(order, databox)
        passkey = read_passkey(parts.databox_path(databox), order)
    else:
        passkey = _passkey(passkey_file)
    found = unlock_all([Path(path) for path in paths or ()], passkey, unlocked_at(parts))
    if json:
        render.emit_json([_unlocked_json(one) for one in found])
        return
    render.table(("device", "lock", "path"), [(str(one.source), one.kind, str(one.root)) for one in found])


def lock(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The device, or where it is mounted.")],
    json: Json = False,
) -> None:
    """Unmount and close a device that was unlocked here: only its passkey opens it again."""
    from wain.device.lock import lock as close

    source = close(Path(path), unlocked_at(Parts.of(context)))
    if json:
        render.emit_json({"device": str(source), "locked": True})
    else:
        render.say(f"{source} is locked. It can be unplugged.")


def format_device(parts: Parts, order: LockedOrder, device: Path, overwrite: str) -> Path:
    """Lock a device for an order, leave it open, and return where it is mounted. The order keeps the passkey.

    Raises:
        Refused: another lock than LUKS, a bad passkey, or a device that is not blank.
    """
    from wain.databox.credentials import keep_passkey
    from wain.device.lock import format_locked
    from wain.device.passkey import check_passkey, generate_passkey

    if order.lock.lower() != "luks":
        raise Refused(f"{order.lock!r} is not a lock that Wain can make", "--lock takes luks.")
    passkey = _passkey(order.passkey_file) if order.passkey_file or is_interactive() else generate_passkey()
    check_passkey(passkey)
    # Kept before the device is locked with it: a device that nobody can open is lost.
    keep_passkey(order.service, order.name, passkey)
    return format_locked(device, passkey, unlocked_at(parts), overwrite).root


def unlocked_at(parts: Parts) -> Path:
    """Return the directory below which unlocked devices are mounted."""
    return Path(parts.settings.home).absolute() / _UNLOCKED


def locked_now(parts: Parts) -> list[tuple[str, str]]:
    """Return attached devices that are locked and not open, with the kind of lock; none where they cannot be listed."""
    from wain.base.errors import WainError
    from wain.device.blank import locked_devices
    from wain.device.lock import unlocked

    try:
        found = locked_devices()
    except (WainError, ValueError):
        return []
    opened = {one.source for one in unlocked(unlocked_at(parts))}
    return [(str(path), kind) for path, kind in found.items() if path not in opened]


def _passkey(file: str) -> str:
    return first_line(file, _WHAT, _FLAG) if file else ask_hidden(_FLAG, _WHAT)


def _unlocked_json(one: "Unlocked") -> dict[str, str]:
    return {"device": str(one.source), "lock": one.kind, "path": str(one.root)}
