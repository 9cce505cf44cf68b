"""Paged records, parity, labels, journals, seals: frozen bytes and the error each must cause (the rooms' FORMAT.md)."""

import pytest

from vectors.frozen import error_name, vectors
from wain.device.journal import RECORD_BYTES, Chain, replay
from wain.device.label import decode_label, encode_label
from wain.device.seal import check_seal, encode_seal
from wain.keys.secret import Secret
from wain.keys.signing import public_key
from wain.pageblob.paged import decode_paged, encode_paged
from wain.pageblob.parity_record import decode_header, encode_header

SIGN_KEY = public_key(Secret(b"k" * 32))


def journal_again(body):
    """The records of a journal's valid prefix, made anew."""
    journal = replay(body)
    chain = Chain()
    records = [chain.start(journal.start)] if journal.start else []
    records += [chain.pack(pack) for pack in journal.packs]
    records += [chain.end(journal.end)] if journal.end else []
    assert (chain.records, chain.head) == (journal.records, journal.head)
    return b"".join(records)


AGAIN = {
    "paged": lambda body: encode_paged(decode_paged(body)),
    "parity": lambda body: encode_header(*decode_header(body)),
    "label": lambda body: encode_label(decode_label(body)),
    "journal": journal_again,
    "seal": lambda body: encode_seal(check_seal(body, SIGN_KEY)),
}
VECTORS = [(kind, vector) for kind in AGAIN for vector in vectors(kind)]


LEAST = {"paged": 17, "parity": 29, "label": 19, "journal": 39, "seal": 30}


@pytest.mark.parametrize(("kind", "least"), LEAST.items())
def test_there_are_vectors(kind, least):
    assert len(vectors(kind)) >= least


@pytest.mark.parametrize(("kind", "vector"), VECTORS, ids=[f"{kind}-{vector.name}" for kind, vector in VECTORS])
def test_vector(kind, vector):
    assert error_name(lambda: AGAIN[kind](vector.body)) == vector.expect
    if vector.expect == "ok":
        records = int(vector.facts.get("records", len(vector.body) // RECORD_BYTES))
        kept = vector.body[: records * RECORD_BYTES] if kind == "journal" else vector.body
        assert AGAIN[kind](vector.body) == kept
