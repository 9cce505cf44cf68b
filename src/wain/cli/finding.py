"""What `wain doctor` finds."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much a finding matters. The value is what is printed."""

    GOOD = "ok"
    ADVICE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, what was seen, and the cure (empty when all is well)."""

    level: Level
    what: str
    seen: str
    cure: str = ""
