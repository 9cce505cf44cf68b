"""The tag by which programs mark directories that hold nothing but a cache."""

import os
from typing import Final

CACHE_TAG: Final = b"CACHEDIR.TAG"
CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"
"""The first bytes of a cache directory's tag (Cache Directory Tagging Specification)."""


def is_cache(fd: int) -> bool:
    """Return True when the open directory carries a valid CACHEDIR.TAG."""
    try:
        tag = os.open(CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return False
    try:
        return os.read(tag, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(tag)
