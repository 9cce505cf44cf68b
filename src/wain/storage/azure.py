"""Page blobs in an Azure storage account, through the official client (`azure-storage-blob`).

Writes go out in parallel, a few at a time; `flush` waits for them, and only what it answered for counts (a page that
Azure has taken is durable). Reads of large ranges are split by the client. What Azure says becomes an error of
`wain.base.errors` here: missing, refused for good, or to be tried again.
"""

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobServiceClient, BlobType, ExponentialRetry

from wain.base.errors import Missing, Refused, RemoteError, Truncated, WainError
from wain.base.sizes import MIB
from wain.pageblob.names import check_blob, check_container
from wain.storage.api import AzureAccount, PageBlob
from wain.storage.blobs import check_length, check_pages
from wain.storage.durable import reading

WRITERS: Final = 8
"""Page writes under way at once: each is up to 4 MiB, and a single connection is slow."""
READERS: Final = 4
RETRIES: Final = 4
"""How often the client repeats a call that a busy service, or a line, failed: for about half a minute in all."""
TIMEOUT_SECONDS: Final = 60
SECRET_BYTES: Final = 8192
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(eq=False)
class AccountUnreachable(RemoteError):
    """A storage account does not answer, or answers that it cannot now."""

    account: str
    why: str
    hint = "Repeat the command; it goes on from where it was."

    def __str__(self) -> str:
        return f"storage account {self.account} cannot be reached: {self.why}"


class AzurePageBlobs:
    """`wain.storage.api.PageBlobs` in an account.

    Raises (all methods):
        AccountUnreachable: try again. Refused: the secret is not accepted, or does not allow this.
        Missing: no such container or blob.
    """

    def __init__(self, account: AzureAccount) -> None:
        self._service = _open(account)
        self._name = str(self._service.account_name)
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="azure")
        self._under_way: dict[tuple[str, str], deque[tuple[int, int, Future[None]]]] = {}
        """Writes that `flush` has not answered for, by blob: where they begin and end."""
        self._lengths: dict[tuple[str, str], int] = {}

    def kind(self) -> str:
        """Return Azure's word for the account's kind: `StorageV2`, `BlobStorage`, ..."""
        with self._speaking("the account"):
            return str(self._service.get_account_information()["account_kind"])

    def containers(self) -> list[str]:
        """Return the container names, sorted."""
        with self._speaking("the list of containers"):
            return sorted(str(each.name) for each in self._service.list_containers())

    def blobs(self, container: str) -> list[PageBlob]:
        """Return the page blobs of a container, sorted by name; empty when there is no such container."""
        check_container(container)
        try:
            with self._speaking(container):
                listed = self._service.get_container_client(container).list_blobs()
                pages = [each for each in listed if each.blob_type == BlobType.PAGEBLOB]
        except Missing:
            return []
        return sorted((PageBlob(each.name, each.size) for each in pages), key=lambda each: each.name)

    def create(self, container: str, blob: str, length: int) -> None:
        """Make a zero-filled blob of `length` bytes. The same call again changes nothing; another length is refused."""
        check_length(length)
        client, where = self._client(container, blob), f"{container}/{blob}"
        with self._speaking(where):
            with contextlib.suppress(ResourceExistsError):
                self._make_container(container)
            with contextlib.suppress(ResourceExistsError):
                client.create_page_blob(size=length, if_none_match="*")
                return
            found = client.get_blob_properties()
        if found.blob_type != BlobType.PAGEBLOB or found.size != length:
            have = f"with {found.size} bytes" if found.blob_type == BlobType.PAGEBLOB else f"as {found.blob_type}"
            raise Refused(f"page blob {where} exists {have}, not with {length} bytes")

    def _make_container(self, container: str) -> None:
        try:
            self._service.create_container(container)
        except HttpResponseError as error:
            if error.status_code == _CONFLICT and str(getattr(error, "error_code", "")) == "ContainerBeingDeleted":
                raise AccountUnreachable(self._name, f"container {container} is still being deleted") from error
            raise

    def write_pages(self, container: str, blob: str, offset: int, body: bytes | memoryview) -> None:
        """Write whole pages (Put Page), in the background. Durable, and known to have worked, after `flush`.

        `body` must not change until then. What an earlier write could not do is raised here or there.
        """
        check_pages(offset, len(body))
        key, client = (container, blob), self._client(container, blob)
        if offset + len(body) > (length := self._length(key, client)):
            raise Refused(f"pages up to {offset + len(body)} lie outside {container}/{blob} of {length} bytes")
        under_way = self._under_way.setdefault(key, deque())
        end = offset + len(body)
        while under_way and (
            len(under_way) >= 2 * WRITERS or any(first < end and offset < last for first, last, _ in under_way)
        ):
            self._await_oldest(key)
        under_way.append((offset, end, self._pool.submit(self._put, client, offset, body)))

    def _length(self, key: tuple[str, str], client: BlobClient) -> int:
        if key not in self._lengths:
            with self._speaking("/".join(key)):
                self._lengths[key] = int(client.get_blob_properties().size)
        return self._lengths[key]

    def _put(self, client: BlobClient, offset: int, body: bytes | memoryview) -> None:
        with self._speaking(f"{client.container_name}/{client.blob_name}"):
            client.upload_page(bytes(body), offset, len(body), validate_content=True)

    def _await_oldest(self, key: tuple[str, str]) -> None:
        _, _, future = self._under_way[key].popleft()
        try:
            future.result()
        except WainError:
            self._forget(key)
            raise

    def _forget(self, key: tuple[str, str]) -> None:
        """Let go of a blob after a failure: whoever goes on begins at its last checkpoint."""
        wait([future for _, _, future in self._under_way.pop(key, deque())])
        self._lengths.pop(key, None)

    def flush(self, container: str, blob: str) -> None:
        """Return when everything written to the blob is durable."""
        key = container, blob
        self._length(key, self._client(container, blob))
        self._settle(key)
        self._forget(key)

    def _settle(self, key: tuple[str, str]) -> None:
        while self._under_way.get(key):
            self._await_oldest(key)

    def read(self, container: str, blob: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        client, where = self._client(container, blob), f"{container}/{blob}"
        self._settle((container, blob))
        with self._speaking(where):
            size = int(client.get_blob_properties().size)
            if offset + length > size:
                raise Truncated(where, want=offset + length, have=size)
            if not length:
                return b""
            body = bytes(client.download_blob(offset, length, max_concurrency=READERS).readall())
        if len(body) != length:
            raise Truncated(where, want=offset + length, have=offset + len(body))
        return body

    def uncached(self, container: str, blob: str) -> "AzureBlob":
        """Open a blob for reading."""
        with self._speaking(f"{container}/{blob}"):
            return AzureBlob(self, container, blob, int(self._client(container, blob).get_blob_properties().size))

    def delete_container(self, container: str) -> None:
        """Remove a container and its blobs; nothing happens when it is not there."""
        check_container(container)
        for key in [key for key in self._under_way if key[0] == container]:
            self._forget(key)
        with contextlib.suppress(Missing), self._speaking(container):
            self._service.delete_container(container)

    def close(self) -> None:
        """End all connections. Pages that were not flushed are not promised."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._service.close()

    def _client(self, container: str, blob: str) -> BlobClient:
        check_container(container)
        check_blob(blob)
        return self._service.get_blob_client(container, blob)

    @contextlib.contextmanager
    def _speaking(self, where: str) -> Iterator[None]:
        """Turn what the client raises into errors of ours."""
        try:
            yield
        except (ResourceExistsError, WainError):
            raise
        except AzureError as error:
            raise self._meaning(error, where) from error

    def _meaning(self, error: AzureError, where: str) -> WainError:
        if isinstance(error, ResourceNotFoundError):
            return Missing(where)
        if not isinstance(error, HttpResponseError):
            return AccountUnreachable(self._name, _plain(error))
        code = str(getattr(error, "error_code", None) or error.reason or error.status_code)
        if isinstance(error, ClientAuthenticationError) or error.status_code == _FORBIDDEN:
            hint = "Check the secret in the account's file, what it permits, and this machine's clock."
            return Refused(f"storage account {self._name} does not admit Wain to {where}: {code}", hint)
        if error.status_code in _BUSY:
            return AccountUnreachable(self._name, code)
        return Refused(f"storage account {self._name} refuses {where}: {code}")


class AzureBlob:
    """A blob of an account, read by ranges: as `wain.storage.uncached.UncachedFile`."""

    def __init__(self, account: AzurePageBlobs, container: str, blob: str, size: int) -> None:
        self.where = f"{container}/{blob}"
        self.size = size
        self._account = account
        self._names = container, blob

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        return self._account.read(*self._names, offset, length)


def read_secret(path: Path) -> str:
    """Return the secret in an account's file.

    Raises:
        Refused: there is none, others may read it, or it is no secret.
    """
    try:
        with reading(str(path)):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                mode = os.fstat(fd).st_mode
                body = os.read(fd, SECRET_BYTES + 1)
            finally:
                os.close(fd)
    except Missing:
        raise Refused(f"there is no file {path} with the secret of the storage account") from None
    if mode & _OTHERS:
        raise Refused(f"others may read {path}, which opens the storage account", f"Run: chmod 600 {path}")
    secret = body.decode("ascii", "replace").strip()
    if not secret or len(body) > SECRET_BYTES or not secret.isprintable():
        raise Refused(f"{path} holds no access key, shared access signature or connection string")
    return secret


def _open(account: AzureAccount) -> BlobServiceClient:
    secret = read_secret(account.secret_file)
    options: dict[str, Any] = {
        "retry_policy": ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=RETRIES),
        "connection_timeout": TIMEOUT_SECONDS,
        "read_timeout": TIMEOUT_SECONDS,
        "max_single_get_size": 4 * MIB,
        "max_chunk_get_size": 4 * MIB,
    }
    try:
        if "AccountName=" in secret or "BlobEndpoint=" in secret:
            return BlobServiceClient.from_connection_string(secret, **options)
        if "sig=" in secret:
            return BlobServiceClient(account.endpoint, AzureSasCredential(secret.removeprefix("?")), **options)
        name = str(BlobServiceClient(account.endpoint).account_name)
        return BlobServiceClient(account.endpoint, AzureNamedKeyCredential(name, secret), **options)
    except ValueError as error:
        raise Refused(f"{account.endpoint} and the secret in {account.secret_file} open no account: {error}") from None


def _plain(error: AzureError) -> str:
    """Return the first line of what the client says, without the addresses it repeats."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
