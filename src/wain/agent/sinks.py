"""The vault as a place where packs rest. A device is one already: `wain.device.writer.DeviceWriter`."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from wain.base.ids import PackId, RegistrationId
from wain.pack.writer import SealedPack
from wain.wire.vault import VaultApi

RENEW_SECONDS: Final = 24 * 3600
"""How often a job that runs for days asks again for the packs it counts on: asking pins them, for four days."""


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

    def put(self, pack: SealedPack) -> None:
        """Upload a pack; one that the vault has is not stored again."""
        self._vault.put_pack(self._rid, pack.id, pack.stored)
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.monotonic()
            self._vault.presence(self._rid, list(self._counted_on()))

    def commit(self) -> None:
        """Do nothing: every pack taken is durable."""
