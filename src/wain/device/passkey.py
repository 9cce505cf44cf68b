"""The passkey of a locked device: its rules, and how one is made (azure.md 1.3: 12 to 32 characters, `@ ? _ +`)."""

import secrets
import string
from collections.abc import Callable
from typing import Final

from wain.base.errors import Refused

LEAST: Final = 12
MOST: Final = 32
SPECIALS: Final = "@?_+"
_LETTERS: Final = string.ascii_letters
_ALLOWED: Final = frozenset(_LETTERS + string.digits + SPECIALS)

RULES: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    (f"it has {LEAST} to {MOST} characters", lambda text: LEAST <= len(text) <= MOST),
    ("it holds at least one digit", lambda text: any(one in string.digits for one in text)),
    (f"it holds at least one of {' '.join(SPECIALS)}", lambda text: any(one in SPECIALS for one in text)),
    (f"it holds letters A to Z, digits and {' '.join(SPECIALS)} only", lambda text: set(text) <= _ALLOWED),
)  # fmt: skip
"""What a passkey must keep to, each rule as words and as a test."""


def check_passkey(text: str) -> None:
    """Check a passkey that a device is to be locked with.

    Raises:
        Refused: names every rule it breaks, and never the passkey.
    """
    broken = [words for words, holds in RULES if not holds(text)]
    if broken:
        raise Refused("the passkey is not one: " + "; ".join(broken), "Choose another, or leave it out: one is made.")


def generate_passkey(length: int = 24) -> str:
    """Return a random passkey that keeps to the rules."""
    while True:
        text = "".join(secrets.choice(_LETTERS + string.digits + SPECIALS) for _ in range(length))
        if all(holds(text) for _, holds in RULES):
            return text
