"""What people type: the passphrase and the recovery key's text."""

from base64 import b32decode, b32encode
from typing import Final

from blake3 import blake3

from wain.base.errors import Refused
from wain.keys.secret import SECRET_BYTES, Secret

PASSPHRASE_MIN_CHARS: Final = 16
"""MARS's rule (azure.md 4.1)."""
PASSPHRASE_CAP_CHARS: Final = 1024
GROUP_CHARS: Final = 4
KEY_CHARS: Final = 52
"""Base32 of 32 bytes, without padding."""
CHECK_CHARS: Final = 4
"""Base32 of a 2-byte checksum, without padding."""

_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_CHECK_CONTEXT: Final = "wain v1 recovery key checksum"
_COPY_AGAIN: Final = "Compare it with the printed recovery key, group by group."


def check_passphrase(text: str) -> None:
    """Return when `text` may protect a registration: 16 to 1,024 printable ASCII characters.

    Raises:
        Refused: it is too short or too long, or has another character; the text itself is never repeated.
    """
    for at, char in enumerate(text, start=1):
        if not " " <= char <= "~":
            reason = f"character {at} of the passphrase is not a printable ASCII character"
            raise Refused(
                reason, "Use letters without accents, digits, spaces and punctuation: no keyboard lacks them."
            )
    if len(text) < PASSPHRASE_MIN_CHARS:
        reason = f"the passphrase has {len(text)} characters; at least {PASSPHRASE_MIN_CHARS} are needed"
        raise Refused(reason, "Six words chosen by dice make a good one.")
    if len(text) > PASSPHRASE_CAP_CHARS:
        raise Refused(f"the passphrase has {len(text)} characters; at most {PASSPHRASE_CAP_CHARS} are accepted")


def recovery_to_text(recovery: Secret) -> str:
    """Return the recovery key for paper: 13 groups of 4 base32 characters and a checksum group, joined by `-`."""
    body = _base32(recovery.raw) + _base32(_checksum(recovery.raw))
    return "-".join(body[at : at + GROUP_CHARS] for at in range(0, len(body), GROUP_CHARS))


def recovery_from_text(text: str) -> Secret:
    """Return the recovery key that was typed. Case, blanks and dashes do not matter.

    Raises:
        Refused: wrong length, a character outside A-Z and 2-7, or a wrong checksum; the reason says which.
    """
    chars = "".join(text.upper().split()).replace("-", "")
    for at, char in enumerate(chars):
        if char not in _ALPHABET:
            reason = f"group {at // GROUP_CHARS + 1} of the recovery key has a character outside A-Z and 2-7"
            raise Refused(reason, "There is no 0, 1, 8 or 9 in a recovery key; O, I, L and B are likely.")
    if len(chars) != KEY_CHARS + CHECK_CHARS:
        reason = f"the recovery key has {len(chars)} characters, not {KEY_CHARS + CHECK_CHARS}"
        raise Refused(reason, _COPY_AGAIN)
    raw = b32decode(chars[:KEY_CHARS] + "====")
    if _base32(raw) + _base32(_checksum(raw)) != chars:
        raise Refused("the recovery key has a typing error: its last group does not fit the others", _COPY_AGAIN)
    assert len(raw) == SECRET_BYTES
    return Secret(raw)


def _base32(raw: bytes) -> str:
    return b32encode(raw).decode().rstrip("=")


def _checksum(raw: bytes) -> bytes:
    return blake3(raw, derive_key_context=_CHECK_CONTEXT).digest(length=2)
