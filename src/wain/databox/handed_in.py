"""Records of custody that others make: the agent's and the vault's, signed by them and handed in.

A record is taken when it follows the end of the chain, is about this order and device, says what only its maker can
say, and verifies. Whoever hands a key in for the first time vouches for it; from then on the key stands for one party.
"""

from collections.abc import Mapping
from typing import Final

from wain.base.errors import DataError, Refused
from wain.databox.custody import PARTY
from wain.databox.home import Parts
from wain.databox.orders import Held
from wain.databox.tables import CUSTODY, WITNESSES
from wain.keys.signing import CUSTODY as DOMAIN
from wain.keys.signing import SIGNATURE_BYTES, verify
from wain.order.custody import BY_OTHERS, NO_RECORD, CustodyRecord, decode_record, encode_record, record_hash
from wain.storage.sql import Connection
from wain.wire.databox import Chain, CustodyMoved

RECORDS_CAP: Final = 4096
"""Records of one order: a device holds the seeds of many servers, each with six."""
KEYS_CAP: Final = 512


def chain_of(parts: Parts, name: str) -> Chain:
    """Return the chain of an order, and who stands behind each key.

    Raises:
        Missing: there is no such order. DataError: a record is not one.
    """
    with parts.catalog.reading() as rows:
        held = parts.orders.held(rows, name)
        return Chain(tuple(parts.book.records(rows, held.id)), _parties(parts, rows, held))


def hand_in(parts: Parts, name: str, body: bytes, vouched_by: str) -> None:
    """Take a record that another party has signed. The same record again changes nothing.

    Raises:
        Missing: there is no such order.
        Refused: it is no record for this chain; nothing was taken.
        CustodyMoved: it does not follow the end of the chain; read the chain and sign again.
    """
    try:
        record = decode_record(body)
        verify(record.public_key, DOMAIN, body[:-SIGNATURE_BYTES], record.signature)
    except DataError as error:
        raise Refused(f"what was handed in is no custody record: {error}") from None
    with parts.catalog.writing() as rows:
        held = parts.orders.held(rows, name)
        chain = parts.book.records(rows, held.id)
        if record in chain:
            return
        _check_words(held, record)
        _check_party(_parties(parts, rows, held), record)
        tail = record_hash(chain[-1]) if chain else NO_RECORD
        if (record.seq, record.previous_hash) != (len(chain) + 1, tail):
            raise CustodyMoved(name)
        if len(chain) >= RECORDS_CAP:
            raise Refused(f"the chain of custody of order {name} takes {RECORDS_CAP} records")
        key = {"order_id": held.id, "public_key": record.public_key}
        rows.execute(
            WITNESSES.insertion("ON CONFLICT (order_id, public_key) DO NOTHING"),
            {**key, "party": record.party, "vouched_by": vouched_by},
        )
        rows.execute(CUSTODY.insertion(), {"order_id": held.id, "seq": record.seq, "record": encode_record(record)})


def _check_words(held: Held, record: CustodyRecord) -> None:
    order = held.order
    if (record.order, record.device) != (order.name, order.device):
        raise Refused(f"the record is about another order or device than {order.name}")
    if record.event not in BY_OTHERS:
        raise Refused(f"that a device was {record.event.words} is for the Data Box service to say")


def _check_party(parties: Mapping[bytes, str], record: CustodyRecord) -> None:
    known = parties.get(record.public_key)
    if known is not None and known != record.party:
        raise Refused(f"the key of the record is that of {known}, and it says it is {record.party}")
    if known is None and (record.party == PARTY or len(parties) > KEYS_CAP):
        raise Refused(f"no new key can speak for {record.party} in this chain")


def _parties(parts: Parts, rows: Connection, held: Held) -> dict[bytes, str]:
    found = rows.rows(f"{WITNESSES.selection} WHERE order_id = :id", id=held.id)
    return {parts.book.public: PARTY, **{bytes(row.public_key): row.party for row in found}}
