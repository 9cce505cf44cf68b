"""The passkeys of orders, kept by the service: Azure shows them under *Device details* and through `listCredentials`.

A file each, mode 0600, in the service's home: never on the device, in the catalog or in a log.
"""

from pathlib import Path
from typing import Final

from wain.base.errors import Refused
from wain.storage.durable import make_dirs, reading, write_atomic

_FOLDER: Final = "credentials"
_SUFFIX: Final = ".passkey"
_CAP: Final = 256


def keep_passkey(home: Path, order: str, passkey: str) -> None:
    """Keep the passkey of an order's device. An order that exists has a name that is fit for a file."""
    make_dirs(home / _FOLDER)
    write_atomic(home / _FOLDER / (order + _SUFFIX), passkey.encode() + b"\n", 0o600)


def read_passkey(home: Path, order: str) -> str:
    """Return the passkey of an order's device.

    Raises:
        Refused: none is kept for it.
    """
    path = home / _FOLDER / (order + _SUFFIX)
    with reading(f"passkey of order {order}"):
        if not path.exists():
            raise Refused(f"no passkey is kept for order {order}", "Give it with --passkey-file.")
        with open(path, "rb") as file:
            return file.read(_CAP).decode("ascii").rstrip("\n")
