"""`wain mount`: recovery points as folders."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.config import path_of
from wain.cli.opening import ALL, Opener, PointOrAll
from wain.cli.options import DataBox, PassphraseFile, RecoveryKeyFile, Vault
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from types import ModuleType

_DEVICE: Final = "/dev/fuse"


def mount(
    context: typer.Context,
    point: PointOrAll,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="An empty directory.")],
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Let other users in, as far as recorded owners and modes let them.")
    ] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until it is unmounted or Ctrl-C is pressed: always so.")
    ] = True,
    vault: Vault = "",
    databox: DataBox = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Show a recovery point as a folder, read-only; with `all`, every point as a folder, and `latest`.

    Ctrl-C, SIGTERM or `fusermount3 -u DIR` ends it.
    """
    assert foreground, "there is no flag that turns it off"
    fuse = _binding()
    target = _mount_point(directory, _kept_away(Parts.of(context), vault, databox))
    opener = Opener.of(context, (vault, databox), (point,), (passphrase_file, recovery_key_file))

    from wain.agent.mount_pipeline import SegmentPool
    from wain.agent.mount_view import MountView, folders

    view = MountView(folders(opener.chosen), opener.open, single=point != ALL)
    shown = "every recovery point" if point == ALL else f"point {opener.chosen[0].id.hex()[:12]}"

    def ready() -> None:
        render.say(f"Mounted {shown} at {target}, read-only. Ctrl-C or `fusermount3 -u {target}` ends it.")

    def said(message: str) -> None:
        print(f"wain: {render.printable(os.fsencode(message))}", file=sys.stderr, flush=True)

    if point != ALL:
        view.find(b"/")  # What cannot be opened at all is an error of this command, not of whoever looks inside.
    with SegmentPool(opener.keys.namer) as pool:
        fuse.serve(view, pool, target, fuse.MountOptions(said, ready, allow_other))


def _binding() -> "ModuleType":
    """Load libfuse.

    Raises:
        Refused: it is not there, or the kernel offers no file systems in user space.
    """
    try:
        from wain.agent import mount as fuse
    except (OSError, AttributeError) as error:
        hint = "Debian, Ubuntu: sudo apt-get install fuse3 (it brings libfuse3-3); Fedora: sudo dnf install fuse3."
        raise Refused(f"mounting needs libfuse 3, which is not installed here ({error})", hint) from error
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        hint = "Load it with `modprobe fuse`; a container must be given the device."
        raise Refused(f"there is no {_DEVICE}: this kernel offers no mounts in user space", hint) from None
    except OSError as error:
        raise Refused(f"{_DEVICE} cannot be opened: {error.strerror}", "Mount as root, or mend its mode.") from error
    return fuse


def _kept_away(parts: Parts, vault: str, databox: str) -> list[tuple[str, Path]]:
    """Return the directories that nobody may mount into, with their names."""
    return [
        ("the vault", Path(path_of(parts.vault_url(vault), "--vault"))),
        ("Wain's home", Path(parts.settings.home)),
        ("the Data Box service", parts.databox_path(databox)),
    ]


def _mount_point(text: str, kept_away: list[tuple[str, Path]]) -> Path:
    """Return where to mount, when that is an empty directory outside of what Wain itself uses.

    Raises:
        Refused: it is not.
    """
    target = Path(os.path.realpath(text))
    try:
        names = os.listdir(target)
    except FileNotFoundError:
        raise Refused(f"there is no directory {target}", f"Make it: mkdir -p {target}") from None
    except NotADirectoryError:
        raise Refused(f"{target} is not a directory", "Give an empty directory.") from None
    except OSError as error:
        hint = f"If a mount died there: fusermount3 -u {target}"
        raise Refused(f"{target} cannot be read: {error.strerror}", hint) from error
    if names:
        raise Refused(f"{target} is not empty", "Give an empty directory: what it holds would be hidden.")
    for what, place in kept_away:
        if target.is_relative_to(os.path.realpath(place)):
            raise Refused(f"{target} lies inside {what}", "Give a directory elsewhere.")
    return target
