import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wain.base.errors import Refused
from wain.keys.phrases import check_passphrase, recovery_from_text, recovery_to_text
from wain.keys.secret import Secret

TEXT = "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO-B4IB-CEQT-CQKR-MFYY-DENB-WHA5-DYPQ-LNZA"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@pytest.mark.parametrize("text", ["a" * 16, "a" * 1024, "correct horse battery staple", " " * 16, "~" * 16])
def test_good_passphrases(text):
    check_passphrase(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 characters"),
        ("a" * 15, "has 15 characters"),
        ("a" * 1025, "has 1025 characters"),
        ("correct horse\tbattery", "character 14 .* not a printable ASCII"),
        ("correct horse battery\n", "character 22"),
        ("z\u00fcrich z\u00fcrich z\u00fcrich", "character 2"),
        ("a" * 16 + "\x7f", "character 17"),
        ("a" * 16 + "\udc80", "character 17"),
    ],
)
def test_bad_passphrases(text, reason):
    with pytest.raises(Refused, match=reason):
        check_passphrase(text)


def test_a_refusal_never_repeats_the_passphrase():
    with pytest.raises(Refused) as caught:
        check_passphrase("hunter2\u00e9")
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_recovery_text_is_frozen():
    assert recovery_to_text(Secret(bytes(range(32)))) == TEXT
    assert len(TEXT.split("-")) == 14


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(["-", " ", "", " - ", "\n"]), st.booleans())
def test_what_is_printed_can_be_typed(raw, joint, lower):
    text = joint.join(recovery_to_text(Secret(raw)).split("-"))
    assert recovery_from_text(f" {text.lower() if lower else text}\n") == Secret(raw)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 characters, not 56"),
        (TEXT[:-1], "has 55 characters"),
        (TEXT + "A", "has 57 characters"),
        ("1" + TEXT[1:], "group 1 .* outside A-Z and 2-7"),
        (TEXT[:-4] + "LN0A", "group 14 .* outside"),
        (TEXT.replace("Q", "\u00c4", 1), "group 1 .* outside"),
        ("B" + TEXT[1:], "typing error"),
        (TEXT[:-1] + "B", "typing error"),  # A bit that the checksum does not use.
    ],
)
def test_bad_recovery_texts(text, reason):
    with pytest.raises(Refused, match=reason):
        recovery_from_text(text)


def test_unused_bits_of_the_key_must_be_zero():
    body = TEXT.replace("-", "")
    assert body[51] == "Q"
    with pytest.raises(Refused, match="typing error"):
        recovery_from_text(body[:51] + "R" + body[52:])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 55), st.sampled_from(ALPHABET))
@example(0, "B")
def test_one_wrong_character_is_noticed(at, char):
    body = TEXT.replace("-", "")
    wrong = body[:at] + char + body[at + 1 :]
    if wrong == body:
        assert recovery_from_text(wrong) == Secret(bytes(range(32)))
    else:
        with pytest.raises(Refused):
            recovery_from_text(wrong)
