"""Objects and page blobs in memory: for tests, trials and the first page of a tutorial. Nothing is durable."""

from collections.abc import Iterator
from typing import Self

from wain.base.errors import Missing, Refused, Truncated
from wain.pageblob.names import check_blob, check_container
from wain.storage.api import PageBlob
from wain.storage.blobs import check_length, check_pages
from wain.storage.directory import SET_ASIDE, check_name, check_prefix


class MemoryDraft:
    """`wain.storage.api.Draft` of a `MemoryObjects`."""

    def __init__(self, objects: "MemoryObjects") -> None:
        self._objects = objects
        self._pieces: list[bytes] = []

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""
        self._pieces.append(bytes(piece))

    def publish(self, name: str) -> bool:
        """Store what was written under `name`. Return False, and change nothing, when `name` exists."""
        return self._objects.create(name, b"".join(self._pieces))

    def close(self) -> None:
        """Let go."""
        self._pieces.clear()


class MemoryObjects:
    """`wain.storage.api.Objects` in a dictionary."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def create(self, name: str, body: bytes | memoryview) -> bool:
        """Store `body` under `name`. Return False, and change nothing, when `name` exists."""
        check_name(name)
        if name in self._bodies:
            return False
        self._bodies[name] = bytes(body)
        return True

    def draft(self) -> MemoryDraft:
        """Begin an object whose body comes in pieces and whose name is not known yet."""
        return MemoryDraft(self)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes (or all) from `offset`. A short object gives `Truncated`."""
        check_name(name)
        if name not in self._bodies:
            raise Missing(name)
        body = self._bodies[name]
        end = len(body) if length is None else offset + length
        if max(end, offset) > len(body):
            raise Truncated(name, want=max(end, offset), have=len(body))
        return body[offset:end]

    def size(self, name: str) -> int | None:
        """Return the stored size in bytes, or None when there is no such object."""
        check_name(name)
        body = self._bodies.get(name)
        return None if body is None else len(body)

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names below `prefix` (which ends with `/` or is empty), sorted."""
        check_prefix(prefix)
        for name in sorted(self._bodies):
            if name.startswith(prefix) and not name.startswith(SET_ASIDE + "/"):
                yield name

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens when it is not there."""
        check_name(name)
        self._bodies.pop(name, None)

    def set_aside(self, name: str) -> None:
        """Rename a damaged object out of the way, so that a good copy can be created."""
        check_name(name)
        if name not in self._bodies:
            raise Missing(name)
        number = 0
        while (aside := f"{SET_ASIDE}/{name}.{number}") in self._bodies:
            number += 1
        self._bodies[aside] = self._bodies.pop(name)

    def uncached(self, name: str) -> "StoredBytes":
        """Open an object: memory has no cache."""
        return StoredBytes(name, bytearray(self.read(name)))


class MemoryPageBlobs:
    """`wain.storage.api.PageBlobs` in dictionaries."""

    def __init__(self) -> None:
        self._containers: dict[str, dict[str, bytearray]] = {}

    def _blob(self, container: str, blob: str) -> bytearray:
        check_container(container)
        check_blob(blob)
        try:
            return self._containers[container][blob]
        except KeyError:
            raise Missing(f"{container}/{blob}") from None

    def containers(self) -> list[str]:
        """Return the container names, sorted."""
        return sorted(self._containers)

    def blobs(self, container: str) -> list[PageBlob]:
        """Return the blobs of a container, sorted by name; empty when there is no such container."""
        check_container(container)
        return [PageBlob(name, len(body)) for name, body in sorted(self._containers.get(container, {}).items())]

    def create(self, container: str, blob: str, length: int) -> None:
        """Make a zero-filled blob of `length` bytes. The same call again changes nothing; another length is refused."""
        check_container(container)
        check_blob(blob)
        check_length(length)
        body = self._containers.setdefault(container, {}).setdefault(blob, bytearray(length))
        if len(body) != length:
            raise Refused(f"page blob {container}/{blob} exists with {len(body)} bytes, not {length}")

    def write_pages(self, container: str, blob: str, offset: int, body: bytes | memoryview) -> None:
        """Write whole pages: `offset` and size are multiples of 512, at most 4 MiB."""
        check_pages(offset, len(body))
        pages = self._blob(container, blob)
        if offset + len(body) > len(pages):
            raise Refused(f"pages up to {offset + len(body)} lie outside {container}/{blob} of {len(pages)} bytes")
        pages[offset : offset + len(body)] = body

    def flush(self, container: str, blob: str) -> None:
        """Check that the blob is there: memory has nothing to flush."""
        self._blob(container, blob)

    def read(self, container: str, blob: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        return self.uncached(container, blob).read(offset, length)

    def uncached(self, container: str, blob: str) -> "StoredBytes":
        """Open a blob for reading."""
        return StoredBytes(f"{container}/{blob}", self._blob(container, blob))

    def delete_container(self, container: str) -> None:
        """Remove a container and its blobs; nothing happens when it is not there."""
        check_container(container)
        self._containers.pop(container, None)


class StoredBytes:
    """An object or blob that is open for reading (`wain.storage.api.StoredObject`, `StoredBlob`)."""

    def __init__(self, where: str, body: bytearray) -> None:
        self.where = where
        self.size = len(body)
        self._body = body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        if offset + length > len(self._body):
            raise Truncated(self.where, want=offset + length, have=len(self._body))
        return bytes(self._body[offset : offset + length])

    def pieces(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield them all at once."""
        yield memoryview(self.read(offset, length))
