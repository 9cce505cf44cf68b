"""The vault as a place where packs rest. A device is one already: `wain.device.writer.DeviceWriter`."""

from wain.base.ids import RegistrationId
from wain.pack.writer import SealedPack
from wain.wire.vault import VaultApi


class VaultSink:
    """Sends packs over the wire. The vault answers only when a pack is durable, so there is nothing to commit."""

    def __init__(self, vault: VaultApi, rid: RegistrationId) -> None:
        self._vault = vault
        self._rid = rid

    def put(self, pack: SealedPack) -> None:
        """Upload a pack; one that the vault has is not stored again."""
        self._vault.put_pack(self._rid, pack.id, pack.stored)

    def commit(self) -> None:
        """Do nothing: every pack taken is durable."""
