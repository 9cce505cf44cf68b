"""The packs of a seed as a storage account gives them: as they are, or repaired from the parity beside them."""

from typing import Final

from wain.base.errors import DataError, Missing
from wain.base.sizes import KIB
from wain.device.journal import JournalPack
from wain.device.seal import Seal
from wain.pack.verify import verify_pack
from wain.pageblob.names import packs_blob, parity_number
from wain.pageblob.parity_repair import Repairer
from wain.storage.api import PageBlobs

_STEP_BYTES: Final = 64 * KIB
"""The step in which a range is read again that could not be read at once."""


class ArrivingPacks:
    """What a container of an account holds of a seed. For one thread."""

    def __init__(self, blobs: PageBlobs, container: str, seal: Seal) -> None:
        self._blobs = blobs
        self._container = container
        self._seal = seal
        self._made: Repairer | None = None

    def whole(self, pack: JournalPack) -> bytes:
        """Return a pack as it is, verified without keys.

        Raises:
            DataError: it is damaged, or not there.
        """
        place = pack.placement
        body = self._blobs.read(self._container, packs_blob(place.blob), place.offset, place.length)
        verify_pack(body, pack.id)
        return body

    def repaired(self, pack: JournalPack) -> bytes:
        """Return a damaged pack as it was, verified without keys.

        Raises:
            DataError: there is no parity that can repair it.
        """
        place = pack.placement
        found = self._repairer().repair(pack.id)
        body = found.over(0, self._read(packs_blob(place.blob), place.offset, place.length))
        verify_pack(body, pack.id)
        return body

    def _repairer(self) -> Repairer:
        if self._made is None:
            listed = self._blobs.blobs(self._container)
            parity = [(blob.name, blob.length) for blob in listed if parity_number(blob.name) is not None]
            places = {pack.id: pack.placement for pack in self._seal.packs}
            self._made = Repairer(self._read, places, parity)
        return self._made

    def _read(self, blob: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes; what the account does not give is zeros."""
        try:
            return self._blobs.read(self._container, blob, offset, length)
        except Missing:
            return bytes(length)
        except DataError:
            if length <= _STEP_BYTES:
                return bytes(length)
        steps = range(offset, offset + length, _STEP_BYTES)
        return b"".join(self._read(blob, at, min(_STEP_BYTES, offset + length - at)) for at in steps)
