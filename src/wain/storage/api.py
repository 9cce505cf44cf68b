"""The two contracts of storage.

*Objects* are what a vault keeps: immutable, create-only, named by `/`-separated paths of `[a-z0-9._-]`.
*Page blobs* are what a storage account keeps: sparse, written in 512-byte pages, in containers.

Both promise: when a method that writes returns, the bytes survive a power cut. A failed write leaves nothing
that a reader could take for whole. Errors: `Missing` (not there), `OutOfSpace`, `WriteFailed` (the store's fault),
`Refused` (the caller's).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class Draft(Protocol):
    """An object in the making. Close it in any case; what was not published is gone."""

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""

    def publish(self, name: str) -> bool:
        """Make what was written durable under `name`. Return False, and change nothing, when `name` exists."""

    def close(self) -> None:
        """Let go. The same call again changes nothing."""


class Objects(Protocol):
    """Immutable objects. There is no overwrite."""

    def create(self, name: str, body: bytes | memoryview) -> bool:
        """Store `body` durably under `name`. Return False, and change nothing, when `name` exists."""

    def draft(self) -> Draft:
        """Begin an object whose body comes in pieces and whose name is not known yet."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes (or all) from `offset`. A short object gives `Truncated`."""

    def size(self, name: str) -> int | None:
        """Return the stored size in bytes, or None when there is no such object."""

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names below `prefix` (which ends with `/` or is empty), sorted."""

    def delete(self, name: str) -> None:
        """Remove an object durably; nothing happens when it is not there."""

    def set_aside(self, name: str) -> None:
        """Rename a damaged object out of the way (never delete it), so that a good copy can be created."""

    def uncached(self, name: str) -> "StoredObject":
        """Open an object for reading from where it really lies, past every cache."""


class StoredObject(Protocol):
    """An object that is open for reading, past all caches. Use as a context manager. `size` in bytes."""

    size: int

    def pieces(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield `length` bytes from `offset`. A piece is valid until the next one is asked for."""

    def __enter__(self) -> Self:
        """Return it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class PageBlob:
    """One page blob in a listing. `length` is in bytes, a multiple of 512."""

    name: str
    length: int


class StoredBlob(Protocol):
    """A blob that is open for reading, past all caches. Use as a context manager."""

    where: str
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""

    def __enter__(self) -> Self:
        """Return it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it."""


class PageBlobs(Protocol):
    """Containers of page blobs, as a storage account or an embedded directory holds them."""

    def containers(self) -> list[str]:
        """Return the container names, sorted."""

    def blobs(self, container: str) -> list[PageBlob]:
        """Return the blobs of a container, sorted by name; empty when there is no such container."""

    def create(self, container: str, blob: str, length: int) -> None:
        """Make a zero-filled blob of `length` bytes (a multiple of 512). The same call again changes nothing."""

    def write_pages(self, container: str, blob: str, offset: int, body: bytes | memoryview) -> None:
        """Write whole pages: `offset` and size are multiples of 512, at most 4 MiB (Azure, Put Page)."""

    def flush(self, container: str, blob: str) -> None:
        """Return when everything written to the blob is durable."""

    def read(self, container: str, blob: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""

    def uncached(self, container: str, blob: str) -> StoredBlob:
        """Open a blob for reading from where it really lies."""

    def delete_container(self, container: str) -> None:
        """Remove a container and its blobs; nothing happens when it is not there."""


@dataclass(frozen=True, slots=True)
class AzureAccount:
    """An account in Azure: its blob service (`https://NAME.blob.core.windows.net`), and the file that opens it.

    The file, which only its owner may read, holds an access key, a shared access signature, or a connection string.
    """

    endpoint: str
    secret_file: Path


class AzureBlobs(PageBlobs, Protocol):
    """Page blobs in such an account."""

    def kind(self) -> str:
        """Return Azure's word for the account's kind: `StorageV2`, `BlobStorage`, ..."""


OpenAzure = Callable[[AzureAccount], AzureBlobs]
"""Opens an account in Azure: the official client is slow to import, so only who composes the program knows it."""
