"""Sizes in bytes, and their words."""

from typing import Final

from wain.base.errors import Refused

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40
TB: Final = 10**12
PAGE_BYTES: Final = 512
"""A page of a page blob (Azure, Put Page)."""
BLOCK_BYTES: Final = 4096
"""What packs are padded to."""

_UNITS: Final = {"": 1, "B": 1, "K": KIB, "KB": 1000, "KIB": KIB, "M": MIB, "MB": 10**6, "MIB": MIB,
                 "G": GIB, "GB": 10**9, "GIB": GIB, "T": TIB, "TB": TB, "TIB": TIB}  # fmt: skip


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


def format_bytes(count: int) -> str:
    """Return `count` bytes for people, in decimal units as Azure and disks use them: `7.2 TB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":
            return f"{int(value)} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def parse_bytes(text: str) -> int:
    """Return the bytes that `512`, `64MiB`, `64M` (binary) or `7.2TB` (decimal) mean.

    Raises:
        Refused: the text is not a size.
    """
    digits = text.strip().rstrip("BbIiKkMmGgTt ")
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        return int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        hint = "Write a number with an optional unit, such as 64MiB or 7.2TB."
        raise Refused(f"{text!r} is not a size", hint) from None
