"""Moments: aware UTC datetimes in memory, signed 64-bit nanoseconds since 1970 on disk."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ns(moment: datetime) -> int:
    """Return nanoseconds since 1970. `moment` must be aware; precision is a microsecond."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def to_iso(moment: datetime) -> str:
    """Return an aware UTC moment as services write it: `2026-03-01T12:00:00Z` (RFC 3339)."""
    return moment.isoformat().replace("+00:00", "Z")


def from_ns(count: int) -> datetime:
    """Return the UTC moment `count` nanoseconds after 1970, cut to the microsecond.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    return _EPOCH + timedelta(microseconds=count // 1000)
