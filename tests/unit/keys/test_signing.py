import pytest

from wain.base.errors import Corrupt
from wain.keys import signing
from wain.keys.secret import Secret
from wain.keys.signing import public_key, sign, verify

SEED = Secret(bytes(range(32)))
PUBLIC = public_key(SEED)
DOMAINS = [
    signing.MANIFEST,
    signing.SEAL,
    signing.RECEIPT,
    signing.COUNTERSIGN,
    signing.CUSTODY,
    signing.REGISTRATION,
]


def test_a_signature_is_frozen():
    assert PUBLIC.hex() == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    assert sign(SEED, b"wain manifest v1", b"body").hex() == (
        "241b8590c76a0aa1855252ff519e7d419027ab6b579873c4b423b5fecf644506"
        "c12da2a5bccf72dd7f986938d849eab8b95a799ac3e914556ee694fe5798410f"
    )


def test_domains_are_distinct_and_hold_no_zero():
    assert len(set(DOMAINS)) == len(DOMAINS)
    assert all(b"\0" not in domain for domain in DOMAINS)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("other", DOMAINS)
def test_a_signature_serves_in_one_domain(domain, other):
    signature = sign(SEED, domain, b"body")
    if domain == other:
        verify(PUBLIC, other, b"body", signature)
    else:
        with pytest.raises(Corrupt, match=other.decode()):
            verify(PUBLIC, other, b"body", signature)


def test_a_domain_does_not_run_into_the_body():
    signature = sign(SEED, b"wain", b"a\0body")
    with pytest.raises(Corrupt):
        verify(PUBLIC, b"waina", b"body", signature)


@pytest.mark.parametrize(
    ("public", "body", "cut"),
    [
        (PUBLIC, b"Body", 64),
        (PUBLIC, b"", 64),
        (public_key(Secret(bytes(32))), b"body", 64),
        (PUBLIC[:-1], b"body", 64),
        (b"", b"body", 64),
        (PUBLIC, b"body", 63),
        (PUBLIC, b"body", 0),
    ],
)
def test_what_differs_does_not_verify(public, body, cut):
    with pytest.raises(Corrupt, match="signature"):
        verify(public, b"wain seal v1", body, sign(SEED, b"wain seal v1", b"body")[:cut])
