"""How long recovery points are kept: MARS's four rules (days, weeks, months, years), by the vault's clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wain.base.errors import Refused
from wain.base.ids import PointId

RANGES: Final[Mapping[str, range]] = {
    "daily": range(7, 10_000),
    "weekly": range(4, 5_164),
    "monthly": range(3, 1_189),
    "yearly": range(1, 100),
}
"""MARS's (azure.md 4.2). 0 is accepted too and switches a rule off."""

_LETTERS: Final = {"d": "daily", "w": "weekly", "m": "monthly", "y": "yearly"}
_HINT: Final = "Write for example: 30d 12w 24m 10y (days, weeks, months, years); a rule that is left out is off."


@dataclass(frozen=True, slots=True)
class Retention:
    """Keep the newest point of each of the last `daily` days, `weekly` ISO weeks, and so on. 0 switches a rule off.

    Ranges are MARS's: 7-9,999 days, 4-5,163 weeks, 3-1,188 months, 1-99 years.

    Raises:
        Refused: a number is outside its range.
    """

    daily: int = 30
    weekly: int = 12
    monthly: int = 24
    yearly: int = 10

    def __post_init__(self) -> None:
        for name, accepted in RANGES.items():
            value: int = getattr(self, name)
            if value and value not in accepted:
                reason = f"{name} retention is {accepted[0]:,} to {accepted[-1]:,}, or 0 for none, not {value:,}"
                raise Refused(reason, _HINT)

    def __str__(self) -> str:
        return format_retention(self)


DEFAULT: Final = Retention()

_PERIODS: Final[Mapping[str, Callable[[datetime], int]]] = {
    "daily": lambda moment: moment.toordinal(),
    "weekly": lambda moment: (moment.toordinal() - 1) // 7,  # Ordinal 1 was a Monday, as ISO weeks begin.
    "monthly": lambda moment: 12 * moment.year + moment.month,
    "yearly": lambda moment: moment.year,
}
"""For each rule, the number of the period a UTC moment falls in."""


def keep(points: Sequence[tuple[PointId, datetime]], retention: Retention, now: datetime) -> frozenset[PointId]:
    """Return which points to keep, of points with the moments the vault received them.

    Periods are counted back from `now` in UTC, the present one included: `daily=30` is today and the 29 days before.
    In each period the newest point counts. The newest point of all always stays (MARS: the last recovery point is never
    pruned), and so does any point from after `now`: a clock that went back must not remove anything.
    """
    in_order = sorted(points, key=lambda point: point[1].astimezone(UTC))
    kept = {point for point, at in in_order if at > now}
    kept.update(point for point, _ in in_order[-1:])
    for rule, period_of in _PERIODS.items():
        span: int = getattr(retention, rule)
        present = period_of(now.astimezone(UTC))
        newest = {period_of(at.astimezone(UTC)): point for point, at in in_order if at <= now}
        kept.update(point for period, point in newest.items() if period > present - span)
    return frozenset(kept)


def parse_retention(text: str) -> Retention:
    """Return the retention that `30d 12w 24m 10y` means; a rule that is left out is off.

    Raises:
        Refused: the text has another shape, names a rule twice, or breaks a range.
    """
    rules = dict.fromkeys(RANGES, 0)
    words = text.replace(",", " ").split()
    for word in words:
        rule, digits = _LETTERS.get(word[-1].lower()), word[:-1]
        if rule is None or not (digits.isascii() and digits.isdigit()) or len(digits) > 6:
            raise Refused(f"{word!r} is not a retention rule", _HINT)
        if rules[rule]:
            raise Refused(f"{rule} retention is given twice", _HINT)
        rules[rule] = int(digits)
    if not words:
        raise Refused("there is no retention rule", _HINT)
    return Retention(**rules)


def format_retention(retention: Retention) -> str:
    """Return the text that `parse_retention` reads. Rules that are off are left out, unless all are."""
    words = [f"{value}{letter}" for letter, rule in _LETTERS.items() if (value := getattr(retention, rule))]
    return " ".join(words) or "0d"
