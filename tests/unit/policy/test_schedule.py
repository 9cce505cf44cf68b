from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Refused
from wain.policy.schedule import Schedule, format_schedule, next_run, parse_schedule

MOMENTS = st.integers(0, 15 * 365 * 24 * 60).map(
    lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
TIMES = st.lists(st.builds(time, st.integers(0, 23), st.integers(0, 59)), min_size=1, max_size=3, unique=True)
DAYS = st.lists(st.integers(0, 6), max_size=7, unique=True)


@st.composite
def schedules(draw) -> Schedule:
    days = tuple(draw(DAYS))
    return Schedule(tuple(draw(TIMES)), days, draw(st.integers(1, 8)) if days else 1, draw(st.integers(-840, 840)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "run"),
    [
        ("daily 21:00", "2026-03-01 12:00", "2026-03-01 21:00"),
        ("daily 21:00", "2026-03-01 21:00", "2026-03-02 21:00"),
        ("daily 21:00", "2026-03-01 20:59:59.999999", "2026-03-01 21:00"),
        ("daily 21:00,6:30,12:00", "2026-03-01 06:30", "2026-03-01 12:00"),
        ("daily 00:00", "2026-12-31 23:59", "2027-01-01 00:00"),
        ("daily 01:00 UTC+2", "2026-03-01 22:00", "2026-03-01 23:00"),
        ("daily 23:00 UTC-5:30", "2026-03-01 04:00", "2026-03-01 04:30"),
        ("daily 00:00", "2028-02-28 12:00", "2028-02-29 00:00"),
        ("weekly Mon 21:00", "2026-03-01 12:00", "2026-03-02 21:00"),
        ("weekly Mon,Fri 21:00", "2026-03-02 21:00", "2026-03-06 21:00"),
        ("weekly Sun 21:00", "2026-03-01 21:00", "2026-03-08 21:00"),
        # Weeks are counted from Monday 5 January 1970; the one of 2 March 2026 is number 2930, and 57 * 52 is 2964.
        ("weekly Mon 21:00 every 2 weeks", "2026-03-01 12:00", "2026-03-02 21:00"),
        ("weekly Mon 21:00 every 2 weeks", "2026-03-02 21:00", "2026-03-16 21:00"),
        ("weekly Mon,Sun 21:00 every 2 weeks", "2026-03-02 21:00", "2026-03-08 21:00"),
        ("weekly Sun 21:00 every 52 weeks", "2026-03-02 21:00", "2026-11-01 21:00"),
    ],
)
def test_next_run(text, after, run):
    assert next_run(parse_schedule(text), at(after)) == at(run)


def test_the_fixed_offset_is_not_the_askers():
    after = datetime(2026, 3, 1, 21, 30, tzinfo=timezone(timedelta(hours=9)))
    assert next_run(parse_schedule("daily 12:00"), after) == at("2026-03-02 12:00")
    assert next_run(parse_schedule("daily 12:00"), after - timedelta(hours=1)) == at("2026-03-01 12:00")


@settings(max_examples=100, deadline=None)
@given(schedules(), MOMENTS)
def test_a_run_keeps_the_schedule_and_none_is_left_out(schedule, after):
    run = next_run(schedule, after)
    assert run > after
    local = run.astimezone(timezone(timedelta(minutes=schedule.utc_offset_minutes)))
    assert local.time() in schedule.times
    assert not schedule.weekdays or local.weekday() in schedule.weekdays
    assert run - after <= timedelta(weeks=schedule.every_weeks + 1)
    # Any moment in between has the same next run.
    assert next_run(schedule, after + (run - after) / 2) == run
    assert next_run(schedule, run - timedelta(microseconds=1)) == run


@settings(max_examples=100, deadline=None)
@given(schedules())
def test_texts_come_back(schedule):
    assert parse_schedule(format_schedule(schedule)) == schedule
    assert str(schedule) == format_schedule(schedule)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("Daily 9:05", Schedule((time(9, 5),))),
        ("  daily 12:30,21:00  utc ", Schedule((time(12, 30), time(21)))),
        ("weekly fri,MONDAY 21:00 every 1 week", Schedule((time(21),), (0, 4))),
        ("weekly thu 0:00 every 3 weeks UTC-03:30", Schedule((time(0),), (3,), 3, -210)),
    ],
)
def test_texts(text, schedule):
    assert parse_schedule(text) == schedule


@pytest.mark.parametrize(
    "text",
    [
        *("", "daily", "hourly", "daily 24:00", "daily 12:60", "daily 1:00,2:00,3:00,4:00", "daily 1:00,1:00"),
        *("weekly 21:00", "weekly Mo 21:00", "weekly Mon,Mon 21:00", "weekly Mon 21:00 every 0 weeks"),
        *("weekly Mon 21:00 every 53 weeks", "daily 21:00 every 2 weeks", "daily 21:00 UTC+15", "daily 21:00 CET"),
        *("daily 21:00 UTC+1:99", "daily 21:00; rm", "weekly Tfoo 21:00"),
    ],
)
def test_what_is_no_schedule(text):
    with pytest.raises(Refused):
        parse_schedule(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"times": ()},
        {"times": (time(1, 2, 3),)},
        {"times": (time(1, tzinfo=UTC),)},
        {"weekdays": (7,)},
        {"weekdays": (-1,)},
        {"every_weeks": 2},
        {"weekdays": (0,), "every_weeks": 0},
        {"utc_offset_minutes": 841},
    ],
)
def test_rules(fields):
    with pytest.raises(Refused):
        Schedule(**fields)
