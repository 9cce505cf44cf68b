from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Refused
from wain.base.ids import PointId
from wain.policy.retention import RANGES, Retention, format_retention, keep, parse_retention

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
MOMENTS = st.integers(0, 8 * 365 * 24).map(lambda hours: NOW - timedelta(hours=hours))


def points(*moments: datetime) -> list[tuple[PointId, datetime]]:
    return [(PointId(moment.isoformat().encode()), moment) for moment in moments]


def kept(moments: list[datetime], retention: Retention, now: datetime = NOW) -> list[datetime]:
    chosen = keep(points(*moments), retention, now)
    return sorted(moment for point, moment in points(*moments) if point in chosen)


def days_ago(*days: float) -> list[datetime]:
    return [NOW - timedelta(days=each) for each in days]


def test_days_are_counted_back_from_today():
    daily = Retention(daily=7, weekly=0, monthly=0, yearly=0)
    assert kept(days_ago(*range(20)), daily) == sorted(days_ago(*range(7)))


def test_the_newest_of_a_day_counts():
    daily = Retention(daily=7, weekly=0, monthly=0, yearly=0)
    assert kept(days_ago(0.1, 0.2, 1.0, 1.1), daily) == sorted(days_ago(0.1, 1.0))


def test_the_newest_of_all_always_stays():
    for retention in (Retention(), Retention(0, 0, 0, 0), Retention(7, 0, 0, 0)):
        assert kept(days_ago(40_000, 39_999), retention) == days_ago(39_999)
    assert keep([], Retention(), NOW) == frozenset()


def test_weeks_begin_on_monday():
    weekly = Retention(daily=0, weekly=4, monthly=0, yearly=0)
    sunday, monday, last_sunday = (datetime(2026, 3, day, 23, tzinfo=UTC) for day in (8, 9, 1))
    assert monday.isoweekday() == 1
    assert kept([monday, sunday, sunday - timedelta(days=1), last_sunday], weekly) == [last_sunday, sunday, monday]


def test_months_and_years_are_the_calendars():
    january, december = datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
    older = datetime(2025, 12, 1, tzinfo=UTC)
    assert kept([january, december, older], Retention(0, 0, 4, 0)) == [december, january]
    assert kept([january, december, older], Retention(0, 0, 3, 0)) == [january]
    assert kept([january, december, older], Retention(0, 0, 0, 2)) == [december, january]
    assert kept([january, december, older], Retention(0, 0, 0, 1)) == [january]


def test_rules_add_up():
    moments = days_ago(*range(800))
    chosen = kept(moments, Retention(7, 4, 12, 3))
    assert chosen[-7:] == sorted(days_ago(*range(7)))
    assert len(chosen) == len(
        set().union(
            *(
                kept(moments, rule)
                for rule in (
                    Retention(7, 0, 0, 0),
                    Retention(0, 4, 0, 0),
                    Retention(0, 0, 12, 0),
                    Retention(0, 0, 0, 3),
                )
            )
        )
    )
    assert [moment.year for moment in chosen[:2]] == [2024, 2025]


def test_a_clock_that_went_back_removes_nothing_ahead_of_it():
    daily = Retention(daily=7, weekly=0, monthly=0, yearly=0)
    ahead = days_ago(-1, -1.1, -400)
    assert kept([*ahead, *days_ago(0, 100)], daily) == sorted([*ahead, NOW])


def test_zones_do_not_matter():
    zone = timezone(timedelta(hours=-10))
    moments = days_ago(*(hour / 24 for hour in range(0, 400, 5)))
    elsewhere = [moment.astimezone(zone) for moment in moments]
    assert kept(moments, Retention()) == kept(elsewhere, Retention(), NOW.astimezone(zone))


@st.composite
def retentions(draw) -> Retention:
    return Retention(*(draw(st.just(0) | st.sampled_from(list(each)[:200])) for each in RANGES.values()))


@settings(max_examples=100, deadline=None)
@given(st.lists(MOMENTS, unique=True, max_size=40), retentions(), st.integers(0, 1000))
def test_what_goes_never_comes_back(moments, retention, later):
    """Expiring today and again later leaves what expiring later alone would have left."""
    chosen = kept(moments, retention)
    after = NOW + timedelta(days=later)
    assert kept(chosen, retention, after) == kept(moments, retention, after)
    assert set(chosen) <= set(moments)
    assert not moments or max(moments) in chosen


@settings(max_examples=60, deadline=None)
@given(retentions())
def test_texts_come_back(retention):
    assert parse_retention(format_retention(retention)) == retention
    assert str(retention) == format_retention(retention)


def test_texts():
    assert parse_retention("30d 12w 24m 10y") == Retention() == parse_retention(" 10Y,24m 12W,30d ")
    assert parse_retention("7d") == Retention(7, 0, 0, 0)
    assert parse_retention("0d") == Retention(0, 0, 0, 0)


@pytest.mark.parametrize(
    "text", ["", " ", "30", "d", "30x", "-7d", "7.5d", "7d 8d", "6d", "10000d", "9" * 5000 + "d", "\u0667d"]
)
def test_what_is_no_retention(text):
    with pytest.raises(Refused):
        parse_retention(text)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("daily", 7, 9999), ("weekly", 4, 5163), ("monthly", 3, 1188), ("yearly", 1, 99)]
)
def test_ranges_are_mars(name, low, high):
    for good in (0, low, high):
        Retention(**{name: good})
    for bad in (-1, low - 1, high + 1):
        if bad:
            with pytest.raises(Refused, match=name):
                Retention(**{name: bad})
