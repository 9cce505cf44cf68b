"""Moments: aware UTC datetimes in memory, signed 64-bit nanoseconds since 1970 on disk."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ns(moment: datetime) -> int:
    """Return nanoseconds since 1970. `moment` must be aware; precision is a microsecond."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def from_ns(count: int) -> datetime:
    """Return the UTC moment `count` nanoseconds after 1970, cut to the microsecond.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    return _EPOCH + timedelta(microseconds=count // 1000)
