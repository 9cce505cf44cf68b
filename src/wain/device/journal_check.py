"""The journal of a sealed container, judged: it follows from the seal, byte for byte (FORMAT.md, Journal).

While a device is written the journal says what is durable. Once it is sealed nothing needs it any more, but nothing on
a device may lie there unwatched: START, a record for each pack of the seal, END, and not one byte behind them.
"""

from collections.abc import Iterator
from typing import Final

from wain.base.errors import Corrupt, Malformed, Truncated
from wain.device.journal import RECORD_BYTES, Chain, End, Start, intact, order_hash
from wain.device.seal import Seal
from wain.pack.verify import pack_words

_WHAT: Final = "the journal"
_NAMED_RECORDS: Final = 4


def journal_bytes(seal: Seal) -> int:
    """Return the length of the journal of a sealed container."""
    return (len(seal.packs) + 2) * RECORD_BYTES


def sealed_records(seal: Seal) -> Iterator[bytes]:
    """Yield the records that a sealed container's journal consists of."""
    chain = Chain()
    yield chain.start(Start(seal.device, seal.seed, seal.registration, order_hash(seal.order)))
    for pack in seal.packs:
        yield chain.pack(pack)
    yield chain.end(End(seal.manifest_hash, seal.manifest_bytes))


class JournalVerifier:
    """Checks a journal against its seal while its bytes stream past, in pieces of any size. Memory: one piece.

    `feed` every byte in order, then `finish`.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._expected = sealed_records(seal)
        self._rest = b""
        self._records = 0
        self._size = 0
        self._bad: list[str] = []
        self._bad_count = 0

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the journal."""
        self._size += len(piece)
        view = memoryview(self._rest + bytes(piece))
        whole = len(view) - len(view) % RECORD_BYTES
        for at in range(0, whole, RECORD_BYTES):
            expected = next(self._expected, None)
            if expected is None:
                break
            if view[at : at + RECORD_BYTES] != expected:
                self._note(view[at : at + RECORD_BYTES])
            self._records += 1
        self._rest = bytes(view[whole:])

    def _note(self, record: memoryview) -> None:
        self._bad_count += 1
        if len(self._bad) < _NAMED_RECORDS:
            start = self._records * RECORD_BYTES
            words = f"record {self._records} ({self._name()}, bytes {start} to {start + RECORD_BYTES - 1})"
            # A record that is whole in itself was not damaged on the way: somebody wrote another one.
            self._bad.append(f"{words}, which disagrees with the seal" if intact(record) else words)

    def _name(self) -> str:
        if self._records == 0:
            return "START"
        packs = self._seal.packs
        return pack_words(packs[self._records - 1].id) if self._records <= len(packs) else "END"

    def finish(self) -> None:
        """Judge.

        Raises:
            Truncated: it ends before its END record.
            Corrupt: names the records that are not those of the seal.
            Malformed: something follows the END record.
        """
        want = journal_bytes(self._seal)
        if self._size < want:
            raise Truncated(_WHAT, want=want, have=self._size)
        if self._bad:
            more = self._bad_count - len(self._bad)
            raise Corrupt(_WHAT, ", ".join(self._bad) + (f" and {more} more" if more else ""))
        if self._size > want:
            raise Malformed(_WHAT, f"{self._size - want} bytes follow its END record")
