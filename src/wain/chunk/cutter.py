"""Cuts large files into chunks where their content says so (FastCDC 2020), with a secret seed.

A restored file never depends on where it was cut; deduplication does. So the numbers below are part of the format:
a change of any of them stores every large file anew.
"""

from typing import Final

from pyfastcdc import FastCDC

from wain.base.sizes import KIB, MIB

SMALL_BYTES: Final = 512 * KIB
"""Files up to this size are one chunk; the cutter agrees, because its minimum is the same."""
MIN_BYTES: Final = 512 * KIB
TARGET_BYTES: Final = 1 * MIB
MAX_BYTES: Final = 8 * MIB


class Cutter:
    """Cuts one stream after another. `seed` is `WriteKeys.cutter_seed`. Not to be shared between threads."""

    __slots__ = ("_fastcdc",)

    def __init__(self, seed: int) -> None:
        assert 1 <= seed < 2**63
        self._fastcdc = FastCDC(avg_size=TARGET_BYTES, min_size=MIN_BYTES, max_size=MAX_BYTES, seed=seed)

    def cut(self, window: memoryview, last: bool) -> list[int]:  # noqa: FBT001 (reads well as `last=` at each call)
        """Return the lengths of the chunks that are decided within `window`, from its start on.

        `window` starts where a chunk starts. When it is not the `last` one of its stream, the chunk that reaches its
        end is left out unless it is as long as a chunk can be: its bytes come again at the start of the next window.
        A window of at least `MAX_BYTES` always decides one chunk or more. When it is the last, the lengths add up to
        the window. Cuts depend on the bytes since the chunk's start alone, so the size of windows changes nothing.
        """
        lengths = [chunk.length for chunk in self._fastcdc.cut_buf(window)]
        # A natural cut lies before the last byte it has seen, so a chunk that ends with the window is undecided.
        if lengths and not last and lengths[-1] < MAX_BYTES:
            lengths.pop()
        return lengths
