"""Types of the catalog's columns. A value that no verb of ours wrote is damage, and is named as such when it is read.

SQLite keeps any value in any column, so that one flipped bit can make a number of a name. What comes out of a row is
therefore checked before anybody takes it for an id or a state.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Dialect, Integer, LargeBinary, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from wain.base.errors import Corrupt
from wain.base.ids import HASH_BYTES, UUID_BYTES
from wain.keys.secret import RESTORE_PUBLIC_BYTES

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


class _Checked(TypeDecorator[Any]):
    """A column type that looks at what it reads: only what `_SOUND` calls a `name` can be ours."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = LargeBinary
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return the check, in place of the driver's conversion, which would make bytes of a number."""
        sound, name = _SOUND[self.name], self.name

        def checked(value: Any) -> Any:
            if value is None or sound(value):
                return value
            raise CatalogDamaged(WHAT, f"a value of type {type(value).__name__} where {name} belongs")

        return checked


class _Number(_Checked):
    impl = Integer
    cache_ok = True


class _Whole(_Checked):
    impl = BigInteger
    cache_ok = True


class _Words(_Checked):
    impl = Text
    cache_ok = True


class _Flag(_Checked):
    impl = Boolean
    cache_ok = True


def _bytes_of(size: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, bytes) and len(value) == size


_SOUND: Final[dict[str, Callable[[Any], bool]]] = {
    "an id of 16 bytes": _bytes_of(UUID_BYTES),
    "a hash of 32 bytes": _bytes_of(HASH_BYTES),
    "a restore key": _bytes_of(RESTORE_PUBLIC_BYTES),
    "a number": lambda value: isinstance(value, int),
    "a word": lambda value: isinstance(value, str),
    "yes or no": lambda value: isinstance(value, int) and value in (0, 1),
}

UUID: Final = _Checked("an id of 16 bytes")
HASH: Final = _Checked("a hash of 32 bytes")
RESTORE_KEY: Final = _Checked("a restore key")
WHOLE: Final = _Whole("a number")
NUMBER: Final = _Number("a number")
WORDS: Final = _Words("a word")
FLAG: Final = _Flag("yes or no")
