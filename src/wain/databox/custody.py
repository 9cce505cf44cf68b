"""Keeps the chain of custody of each order, signed with the service's key.

The chain's rules are `order.custody`'s. Here it gets a home: a record is written in the transaction that does what it
tells of, so that neither exists without the other.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from wain.base.errors import Corrupt, DataError
from wain.base.ids import DeviceId
from wain.databox.tables import CUSTODY
from wain.keys.secret import SECRET_BYTES, Secret
from wain.keys.signing import public_key
from wain.order.custody import (
    NO_RECORD,
    CustodyRecord,
    Event,
    Handling,
    append,
    decode_record,
    encode_record,
)
from wain.storage.durable import make_dirs, reading
from wain.storage.new_file import write_new
from wain.storage.sql import Connection

_RECORDS: Final = "SELECT record FROM custody WHERE order_id = :id ORDER BY seq"
PARTY: Final = "Data Box service"


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to the device of an order. `detail_hash`: BLAKE3 of what it is about, or zeros."""

    event: Event
    device: DeviceId
    at: datetime
    detail_hash: bytes = NO_RECORD


class Book:
    """The custody chains of all orders. `public` is the service's raw Ed25519 public key."""

    def __init__(self, signer: Secret) -> None:
        self._signer = signer
        self.public = public_key(signer)

    def append(self, rows: Connection, order_id: int, order: str, step: Step) -> None:
        """Sign the next record of an order, inside a transaction."""
        chain = self.records(rows, order_id)
        handling = Handling(step.event, order, step.device, step.at, PARTY, step.detail_hash)
        record = append(chain[-1] if chain else None, handling, self._signer)
        row = {"order_id": order_id, "seq": record.seq, "record": encode_record(record)}
        rows.execute(CUSTODY.insertion(), row)

    def records(self, rows: Connection, order_id: int) -> list[CustodyRecord]:
        """Return an order's chain, oldest first, as it lies in the catalog.

        Raises:
            Corrupt: names the first record that is none.
        """
        chain = []
        for number, body in enumerate(rows.column(_RECORDS, id=order_id), start=1):
            try:
                chain.append(decode_record(body))
            except DataError as error:
                raise Corrupt("the chain of custody", f"record {number}: {error}") from None
        return chain


def service_key(directory: Path) -> Secret:
    """Return the service's signing key from `directory`, made there (mode 0600) the first time.

    Raises:
        Corrupt: the file is not a key.
    """
    make_dirs(directory)
    path = directory / "service.key"
    if not path.exists():
        # Whoever comes second finds the first one's key: creating never replaces.
        write_new(path, secrets.token_bytes(SECRET_BYTES))
    with reading(str(path)):
        raw = path.read_bytes()
    if len(raw) != SECRET_BYTES:
        raise Corrupt(f"the service's key {path}", f"it has {len(raw)} bytes, not {SECRET_BYTES}")
    return Secret(raw)
