"""Passwords of people: Argon2id in the PHC string format, and how many guesses are allowed.

Decisions 3 and 12: `cryptography` has Argon2id; a guess costs 64 MiB.
"""

import os
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from wain.base.errors import Refused

MIN_CHARACTERS: Final = 12
CAP_BYTES: Final = 1024
MEMORY_KIB: Final = 64 * 1024
PASSES: Final = 3
LANES: Final = 4
"""RFC 9106, second recommended option."""
FREE_FAILURES: Final = 5
LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(hours=24)

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


def check_password(password: str) -> None:
    """Check that a new password may be one.

    Raises:
        Refused: it is too short, or too long to be typed.
    """
    if len(password) < MIN_CHARACTERS:
        raise Refused(f"a password has at least {MIN_CHARACTERS} characters", "Take a sentence.")
    if len(password.encode()) > CAP_BYTES:
        raise Refused(f"a password has at most {CAP_BYTES} bytes", "Take a shorter one.")


def hash_password(password: str) -> str:
    """Return the PHC string of a password, with a new salt."""
    salt = os.urandom(_SALT_BYTES)
    stretched = Argon2id(salt=salt, length=_HASH_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
    return stretched.derive_phc_encoded(password.encode())


def verify_password(password: str, kept: str) -> bool:
    """Say whether a password is the one that was kept. An over-long one is no password at all."""
    guess = password.encode(errors="surrogatepass")
    if len(guess) > CAP_BYTES:
        return False
    try:
        Argon2id.verify_phc_encoded(guess, kept)
    except (InvalidKey, ValueError):
        return False
    return True


def next_try_at(failures: int, last: datetime) -> datetime:
    """Return when the next guess is allowed after `failures` in a row, the last of them at `last`.

    Five are free; from then on each doubles the wait: 1 s, 2 s, 4 s, up to a quarter of an hour. Nobody is locked out
    for good by a stranger's guesses.
    """
    if failures < FREE_FAILURES:
        return last
    return last + min(timedelta(seconds=2 ** min(failures - FREE_FAILURES, 20)), LONGEST_WAIT)
