"""The chain of custody beside the ARM wire: `GET` and `POST .../jobs/NAME/wainCustody`. Pure.

Only Wain's own service has it. The body of a record is that of order/FORMAT.md, in Base64.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from wain.base.errors import Malformed
from wain.keys.signing import PUBLIC_KEY_BYTES
from wain.order.custody import RECORD_BYTES, decode_record, encode_record
from wain.wire.arm_errors import ArmRefused, Code
from wain.wire.databox import Chain

PATH: Final = "wainCustody"
_TEXT_CAP: Final = RECORD_BYTES * 2
_WHAT: Final = "the service's chain of custody"


def chain_json(chain: Chain) -> dict[str, Any]:
    """Return a chain as the service shows it."""
    return {
        "value": [base64.b64encode(encode_record(record)).decode() for record in chain.records],
        "parties": [{"publicKey": key.hex(), "party": party} for key, party in chain.parties.items()],
    }


def chain_from(body: Mapping[str, Any]) -> Chain:
    """Return the chain that `chain_json` shows. Whether it is whole is for `check_chain_of` to say.

    Raises:
        DataError: it is none.
    """
    try:
        records = tuple(decode_record(base64.b64decode(each, validate=True)) for each in body["value"])
        parties = {bytes.fromhex(each["publicKey"]): str(each["party"]) for each in body["parties"]}
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(_WHAT, f"it is shown without {error}") from None
    if any(len(key) != PUBLIC_KEY_BYTES for key in parties):
        raise Malformed(_WHAT, "a key in it is none")
    return Chain(records, parties)


def record_json(record: bytes) -> dict[str, Any]:
    """Return a record as it is handed in."""
    return {"record": base64.b64encode(record).decode()}


def handed_in(body: Mapping[str, Any]) -> bytes:
    """Return the record that was handed in, as bytes that nobody has looked at yet.

    Raises:
        ArmRefused: there is none.
    """
    said = body.get("record")
    try:
        if not isinstance(said, str) or len(said) > _TEXT_CAP:
            raise ValueError
        return base64.b64decode(said, validate=True)
    except ValueError:
        raise ArmRefused(Code.BODY, "record must be a custody record in Base64", "record") from None
