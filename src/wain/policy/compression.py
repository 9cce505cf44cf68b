"""How hard a backup compresses: the user's choice between time and size."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Compression(Enum):
    """What compression may cost. Every Wain reads what any of them wrote."""

    FAST = "fast"
    """Where the processor is the narrow place: a quick disk, an old machine."""
    DEFAULT = "default"
    SMALL = "small"
    """Where every byte has to pass a slow line, or is paid for."""


LEVELS: Final[Mapping[Compression, int]] = {Compression.FAST: 1, Compression.DEFAULT: 3, Compression.SMALL: 9}
"""The zstd level of each choice: docs/decisions/0016-compression-levels.md has the figures."""
