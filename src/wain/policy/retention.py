"""How long recovery points are kept: MARS's four rules (days, weeks, months, years), by the vault's clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """Keep the newest point of each of the last `daily` days, `weekly` ISO weeks, and so on. 0 switches a rule off.

    Ranges are MARS's: 7-9,999 days, 4-5,163 weeks, 3-1,188 months, 1-99 years.
    """

    daily: int = 30
    weekly: int = 12
    monthly: int = 24
    yearly: int = 10
