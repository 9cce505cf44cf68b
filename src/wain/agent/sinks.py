"""Where packs rest: the vault, which takes them piece by piece, or a device, which takes them whole."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from wain.agent.fitting import Room
from wain.base.errors import OutOfSpace
from wain.base.ids import PackId, RegistrationId
from wain.order.sku import check_fits
from wain.pack.format import FOOTER_BYTES, MAX_PACK_BYTES
from wain.pack.writer import FinishedPack, SealedPack
from wain.pageblob.parity import expected_parity
from wain.storage.buffers import mapped
from wain.wire.vault import PackUpload, VaultApi

RENEW_SECONDS: Final = 24 * 3600
"""How often a job that runs for days asks again for the packs it counts on: asking pins them, for four days."""


class PackDraft(Protocol):
    """One pack on its way to where it will rest. Close it in any case; what was not finished is gone.

    Raises (all methods): `OutOfSpace`, `WriteFailed`, `DeviceLost`, `RemoteError`: never anything about the source.
    """

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the pack."""

    def finish(self, pack: FinishedPack) -> None:
        """Take the pack. It is durable after the next `commit` of its sink, at the latest."""

    def close(self) -> None:
        """Let go. The same call again changes nothing."""


class PackSink(Protocol):
    """Where packs rest. Raises as `PackDraft` does."""

    def draft(self) -> PackDraft:
        """Begin a pack."""

    def commit(self) -> object:
        """Return when every pack taken so far is durable."""


class VaultSink:
    """Sends packs over the wire. The vault answers only when a pack is durable, so there is nothing to commit.

    `counted_on` gives the packs that a long job must not lose before its recovery point names them.
    """

    def __init__(
        self, vault: VaultApi, rid: RegistrationId, counted_on: Callable[[], Iterable[PackId]] = tuple
    ) -> None:
        self._vault = vault
        self._rid = rid
        self._counted_on = counted_on
        self._renewed = time.monotonic()

    def draft(self) -> "VaultDraft":
        """Begin to send a pack."""
        return VaultDraft(self._vault.upload(self._rid), self._renew)

    def _renew(self) -> None:
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.monotonic()
            self._vault.presence(self._rid, list(self._counted_on()))

    def commit(self) -> None:
        """Do nothing: every pack taken is durable."""


class VaultDraft:
    """A pack that is being sent."""

    def __init__(self, upload: PackUpload, finished: Callable[[], None]) -> None:
        self._upload = upload
        self._finished = finished

    def write(self, piece: bytes | memoryview) -> None:
        """Send the next bytes."""
        self._upload.write(piece)

    def finish(self, pack: FinishedPack) -> None:
        """Have the vault store the pack; one that it has is not stored again."""
        self._upload.finish(pack.id)
        self._finished()

    def close(self) -> None:
        """Let go."""
        self._upload.close()


class WholePacks(Protocol):
    """A place that takes packs whole, as `wain.device.writer.DeviceWriter` does."""

    def put(self, pack: SealedPack) -> None:
        """Take a pack."""

    def commit(self) -> object:
        """Return when every pack taken so far is durable."""


class DeviceFull(OutOfSpace):
    """The device is full, and is of a kind from which a seed may go on to another."""


class DeviceSink:
    """A device that takes no more from one server than its SKU allows (the seed's table of sizes), parity included.

    Where a seed may go on on another device, one that is full says so with `DeviceFull`.

    A device keeps the packs of a group in memory until they are durable, to write them elsewhere when the medium fails:
    so each is gathered here whole. `stored_bytes` is what lies on it already.
    """

    def __init__(self, device: WholePacks, room: Room, stored_bytes: int) -> None:
        self._device = device
        self._room = room
        self._stored_bytes = stored_bytes

    def draft(self) -> "WholeDraft":
        """Begin a pack."""
        return WholeDraft(self._put)

    def _put(self, pack: SealedPack) -> None:
        """Take a pack.

        Raises:
            Refused: with it, the server's seed would be larger than the SKU allows.
            DeviceFull: the same, or the medium is full, and the seed may go on elsewhere.
        """
        sku, stored = self._room.sku, self._stored_bytes + len(pack.stored)
        whole = stored + expected_parity(stored, self._room.parity)
        with self._filling():
            if sku.may_span and whole > sku.usable_bytes:
                self._device.commit()
                raise OutOfSpace(f"the {sku.name}", whole, sku.usable_bytes)
            check_fits(sku, whole, 0)
            self._device.put(pack)
        self._stored_bytes = stored

    def commit(self) -> object:
        """Return when every pack taken so far is durable."""
        with self._filling():
            return self._device.commit()

    @contextmanager
    def _filling(self) -> Iterator[None]:
        try:
            yield
        except OutOfSpace as error:
            if not self._room.sku.may_span:
                raise
            raise DeviceFull(error.where, error.need_bytes, error.free_bytes) from error


class WholeDraft:
    """A pack that is gathered in memory and handed on whole."""

    def __init__(self, put: Callable[[SealedPack], None]) -> None:
        self._put = put
        self._room = mapped(MAX_PACK_BYTES + FOOTER_BYTES)
        self._end = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""
        self._room[self._end : self._end + len(piece)] = piece
        self._end += len(piece)

    def finish(self, pack: FinishedPack) -> None:
        """Hand the pack on."""
        self._put(SealedPack(pack.id, pack.kind, self._room[: self._end].toreadonly(), pack.chunks))

    def close(self) -> None:
        """Let go; whoever took the pack keeps it."""
        with suppress(BufferError):
            self._room.release()
