"""The byte codec all small formats share: little-endian, strict, and capped before it allocates.

Hot formats (tree pieces, index segments) use `struct` on whole records; everything else is written with
`Encoder` and read with `Decoder`, so that each `FORMAT.md` table maps to one line per field.
"""

from typing import Self

from wain.base.errors import Malformed, TooLarge, Truncated, UnknownVersion, WrongMagic

MAGIC_BYTES = 8


class Encoder:
    """Builds one record. Methods return self, so that a layout reads from top to bottom."""

    def __init__(self, magic: bytes = b"", version: int = 0) -> None:
        self._out = bytearray(magic)
        if magic:
            assert len(magic) == MAGIC_BYTES
            self.uint(version, 2)

    def uint(self, value: int, size: int) -> Self:
        """Append an unsigned integer of `size` bytes."""
        self._out += value.to_bytes(size, "little")
        return self

    def int64(self, value: int) -> Self:
        """Append a signed 64-bit integer."""
        self._out += value.to_bytes(8, "little", signed=True)
        return self

    def fixed(self, value: bytes, size: int) -> Self:
        """Append exactly `size` raw bytes."""
        assert len(value) == size, f"{len(value)} bytes where the format has {size}"
        self._out += value
        return self

    def blob(self, value: bytes, size: int = 4) -> Self:
        """Append a length of `size` bytes, then the bytes."""
        return self.uint(len(value), size).raw(value)

    def text(self, value: str, size: int = 2) -> Self:
        """Append a UTF-8 string with a length of `size` bytes."""
        return self.blob(value.encode(), size)

    def raw(self, value: bytes) -> Self:
        """Append bytes as they are."""
        self._out += value
        return self

    def pad_to(self, multiple: int) -> Self:
        """Append zeros up to a multiple of `multiple` bytes."""
        self._out += bytes(-len(self._out) % multiple)
        return self

    def finish(self) -> bytes:
        """Return the record."""
        return bytes(self._out)


class Decoder:
    """Reads one record and refuses what `Encoder` would not have written.

    Raises (all methods):
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: named after `what`.
    """

    def __init__(self, what: str, body: bytes | memoryview, magic: bytes = b"", version: int = 0) -> None:
        self.what = what
        self._body = memoryview(body)
        self._at = 0
        if magic:
            have = bytes(self.take(MAGIC_BYTES))
            if have != magic:
                raise WrongMagic(what, want=magic, have=have)
            found = self.uint(2)
            if found != version:
                raise UnknownVersion(what, have=found, known=version)

    @property
    def at(self) -> int:
        """How many bytes have been read."""
        return self._at

    @property
    def left(self) -> int:
        """How many bytes are still unread."""
        return len(self._body) - self._at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self._at + size
        if end > len(self._body):
            raise Truncated(self.what, want=end, have=len(self._body))
        piece = bytes(self._body[self._at : end])
        self._at = end
        return piece

    def uint(self, size: int, cap: int | None = None, field: str = "a number") -> int:
        """Return an unsigned integer of `size` bytes, at most `cap`."""
        value = int.from_bytes(self.take(size), "little")
        if cap is not None and value > cap:
            raise TooLarge(f"{field} of {self.what}", have=value, cap=cap)
        return value

    def int64(self) -> int:
        """Return a signed 64-bit integer."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def blob(self, cap: int, size: int = 4, field: str = "a length") -> bytes:
        """Return length-prefixed bytes, at most `cap` of them."""
        return self.take(self.uint(size, cap, field))

    def text(self, cap: int, size: int = 2, field: str = "a string") -> str:
        """Return a UTF-8 string of at most `cap` bytes."""
        try:
            return self.blob(cap, size, field).decode()
        except UnicodeDecodeError:
            raise Malformed(self.what, f"{field} is not UTF-8") from None

    def count(self, item_bytes: int, cap: int, field: str) -> int:
        """Return a 32-bit item count, refused unless that many items of at least `item_bytes` can follow."""
        value = self.uint(4, cap, field)
        if value * item_bytes > self.left:
            raise Truncated(self.what, want=self._at + value * item_bytes, have=len(self._body))
        return value

    def refuse(self, why: str) -> Malformed:
        """Return the error for a field that reads well and means nothing."""
        return Malformed(self.what, why)

    def zeros(self, size: int) -> None:
        """Read `size` bytes that must be zero."""
        if any(self.take(size)):
            raise self.refuse("padding is not zero")

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self.left:
            raise self.refuse(f"{self.left} bytes follow the end")
