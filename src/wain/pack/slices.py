"""Parts of all packs, for checks that read a little every day."""

import re
from dataclasses import dataclass
from typing import Final

from wain.base.errors import Refused
from wain.base.ids import PackId

MOST_SLICES: Final = 1 << 16

_SHAPE: Final = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Slice:
    """Part `n` (from 1) of `t` of all packs.

    A pack's own name decides, and nothing else: `t` slices are disjoint and complete, whatever packs there are, and a
    pack that was there before stays in its slice when others come and go.

    Raises:
        Refused: not 1 <= n <= t <= 65,536.
    """

    n: int = 1
    t: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.t <= MOST_SLICES:
            raise Refused(f"{self.n}/{self.t} is not a slice", "Write n/t with 1 <= n <= t, for example 1/30.")

    def holds(self, pack: PackId) -> bool:
        """Tell whether a pack belongs to this slice."""
        return int.from_bytes(pack[:4], "big") % self.t == self.n - 1


WHOLE: Final = Slice()


def is_slice(text: str) -> bool:
    """Tell whether a text has the shape of a slice."""
    return _SHAPE.fullmatch(text) is not None


def parse_slice(text: str) -> Slice:
    """Return the slice that `3/10` means.

    Raises:
        Refused: it is none.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise Refused(f"{text!r} is not a slice", "Write n/t with 1 <= n <= t, for example 1/30.")
    return Slice(int(found[1]), int(found[2]))
