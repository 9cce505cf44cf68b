"""The vault's signing key: a file beside the objects, readable by its owner alone, made on the first use."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from wain.base.errors import Missing, Refused, Truncated
from wain.keys.secret import SECRET_BYTES, Secret
from wain.storage.durable import reading, write_new
from wain.vault.records import Signer

KEY_FILE: Final = "key"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def load_signer(root: Path) -> Signer:
    """Return the vault's key, made if there is none.

    What an older key signed stays good: every record names the key that signed it.

    Raises:
        Refused: other users may read the file.
        Truncated: it is not a key.
    """
    path = root / KEY_FILE
    try:
        body, mode = _read(path)
    except Missing:
        write_new(path, secrets.token_bytes(SECRET_BYTES))
        body, mode = _read(path)
    if mode & _OTHERS:
        raise Refused(f"the vault's key {path} can be read by other users", f"Run: chmod 600 {path}")
    if len(body) != SECRET_BYTES:
        raise Truncated(f"the vault's key {path}", want=SECRET_BYTES, have=len(body))
    return Signer(Secret(body))


def _read(path: Path) -> tuple[bytes, int]:
    with reading(str(path)):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.read(fd, SECRET_BYTES + 1), os.fstat(fd).st_mode
        finally:
            os.close(fd)
