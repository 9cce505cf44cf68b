"""What the catalog's columns hold. A value that no verb of ours wrote is damage, and is named as such when it is read.

SQLite keeps any value in any column, so that one flipped bit can make a number of a name. What comes out of a row is
therefore checked before anybody takes it for an id or a state. A column's name means the same in every table.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from wain.base.errors import Corrupt
from wain.base.ids import HASH_BYTES, UUID_BYTES
from wain.keys.secret import RESTORE_PUBLIC_BYTES
from wain.storage.sql import Check

WHAT: Final = "the vault's catalog"


class CatalogDamaged(Corrupt):
    """SQLite cannot read the catalog, or it holds what nobody wrote. The objects are the truth: nothing is lost."""

    hint = "Run `wain vault rebuild`: the catalog is made again from the objects, which are not touched."


@contextmanager
def our_row() -> Iterator[None]:
    """Turn a value that is no state, no moment, or nothing at all into the damage that it is.

    Raises:
        CatalogDamaged: what the block makes of a row cannot be made of it.
    """
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise CatalogDamaged(WHAT, f"a row that nobody wrote: {error}") from error


def _check(name: str, sound: Callable[[Any], bool]) -> Check:
    def check(value: Any) -> None:
        if not sound(value):
            raise CatalogDamaged(WHAT, f"a value of type {type(value).__name__} where {name} belongs")

    return check


def _bytes_of(size: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, bytes) and len(value) == size


_SORTS: Final = {
    _check("an id of 16 bytes", _bytes_of(UUID_BYTES)): ("id", "registration", "seed", "device"),
    _check("a hash of 32 bytes", _bytes_of(HASH_BYTES)): (
        "pack", "point", "previous", "sign_key", "seal_hash", "manifest_hash",
    ),
    _check("a restore key", _bytes_of(RESTORE_PUBLIC_BYTES)): ("restore_key",),
    _check("a number", lambda value: isinstance(value, int)): (
        "registered_at", "key_epoch", "retention_number", "daily", "weekly", "monthly", "yearly", "generation",
        "stored_bytes", "seq", "received_at", "created_at", "packs", "deficit_number", "deficits", "deficits_at",
        "released_at", "countersigned_at", "expired_at", "until", "since", "verified_at",
    ),
    _check("a word", lambda value: isinstance(value, str)): ("name", "order_name", "container", "state"),
    _check("yes or no", lambda value: isinstance(value, int) and value in (0, 1)): ("lost",),
}  # fmt: skip
CHECKS: Final[Mapping[str, Check]] = {name: check for check, names in _SORTS.items() for name in names}
"""What looks at the values of each column."""
