"""When backups run: MARS's two shapes, daily and weekly, with up to three times a day (azure.md 4.2)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Final

from wain.base.errors import Refused

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TIMES_CAP: Final = 3
WEEKS_CAP: Final = 52
OFFSET_CAP_MINUTES: Final = 14 * 60

_FIRST_MONDAY: Final = datetime(1970, 1, 5)  # noqa: DTZ001 (local by the schedule's own offset)
_HINT: Final = (
    "Write for example: daily 12:30,21:00 or weekly Monday,Friday 21:00 every 2 weeks, with UTC+2 at the end."
)
_SHAPE: Final = re.compile(
    r"(?:daily|weekly\s+(?P<days>[a-z,]+))\s+(?P<times>\d{1,2}:\d{2}(?:,\d{1,2}:\d{2})*)"
    r"(?:\s+every\s+(?P<weeks>\d{1,2})\s+weeks?)?(?:\s+utc(?:(?P<sign>[+-])(?P<hours>\d{1,2})(?::(?P<minutes>[0-5]\d))?)?)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times of day, on every day or on chosen days of every so many weeks.

    Times are local by a fixed offset from UTC: as in MARS there is no daylight-saving adjustment, so no run is ever
    skipped or doubled. Weeks start on Monday and are counted from 5 January 1970, so the rhythm needs no state.

    Raises:
        Refused: not 1 to 3 different whole minutes, not 1 to 52 weeks, or an offset beyond 14 hours.
    """

    times: tuple[time, ...] = (time(21, 0),)
    weekdays: tuple[int, ...] = ()
    """0 is Monday. Empty: every day."""
    every_weeks: int = 1
    utc_offset_minutes: int = 0

    def __post_init__(self) -> None:
        times, days = self.times, self.weekdays
        rules = (
            (1 <= len(times) <= TIMES_CAP, f"a schedule has 1 to {TIMES_CAP} times a day, not {len(times)}"),
            (len(set(times)) == len(times), "a schedule names the same time twice"),
            (not any(each.second or each.microsecond or each.tzinfo for each in times), "times are whole minutes"),
            (len(set(days)) == len(days), "a schedule names the same weekday twice"),
            (all(0 <= day < len(WEEKDAYS) for day in days), "a weekday is 0 (Monday) to 6 (Sunday)"),
            (1 <= self.every_weeks <= WEEKS_CAP, f"a schedule repeats every 1 to {WEEKS_CAP} weeks"),
            (days or self.every_weeks == 1, "a schedule that repeats every few weeks names its weekdays"),
            (abs(self.utc_offset_minutes) <= OFFSET_CAP_MINUTES, "the offset from UTC is at most 14 hours"),
        )
        for kept, reason in rules:
            if not kept:
                raise Refused(reason, _HINT)
        object.__setattr__(self, "times", tuple(sorted(times)))
        object.__setattr__(self, "weekdays", tuple(sorted(days)))

    def __str__(self) -> str:
        return format_schedule(self)


DAILY: Final = Schedule()
"""Every day at 21:00 UTC."""


def next_run(schedule: Schedule, after: datetime) -> datetime:
    """Return the first run strictly after the aware moment `after`, in UTC."""
    zone = timezone(timedelta(minutes=schedule.utc_offset_minutes))
    local = after.astimezone(zone).replace(tzinfo=None)
    day = datetime(local.year, local.month, local.day)  # noqa: DTZ001 (local by the schedule's own offset)
    # The longest gap: a week is skipped `every_weeks - 1` times, and `after` may be past the week's last run.
    for _ in range(7 * (schedule.every_weeks + 1) + 1):
        if _runs_on(schedule, day):
            for each in schedule.times:
                run = datetime.combine(day, each)
                if run > local:
                    return run.replace(tzinfo=zone).astimezone(UTC)
        day += timedelta(days=1)
    raise AssertionError("every schedule has a next run")


def _runs_on(schedule: Schedule, day: datetime) -> bool:
    if not schedule.weekdays:
        return True
    week = (day - _FIRST_MONDAY).days // 7
    return day.weekday() in schedule.weekdays and week % schedule.every_weeks == 0


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that `daily 12:30,21:00` or `weekly Mon,Fri 21:00 every 2 weeks UTC+2` means.

    Raises:
        Refused: the text has another shape, or breaks a rule of `Schedule`.
    """
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise Refused(f"{text!r} is not a schedule", _HINT)
    days = tuple(_weekday(word) for word in found["days"].split(",")) if found["days"] else ()
    offset = 60 * int(found["hours"] or 0) + int(found["minutes"] or 0)
    times = tuple(_time_of_day(word) for word in found["times"].split(","))
    return Schedule(times, days, int(found["weeks"] or 1), -offset if found["sign"] == "-" else offset)


def format_schedule(schedule: Schedule) -> str:
    """Return the text that `parse_schedule` reads."""
    times = ",".join(f"{each:%H:%M}" for each in schedule.times)
    text = (
        f"weekly {','.join(WEEKDAYS[day] for day in schedule.weekdays)} {times}"
        if schedule.weekdays
        else f"daily {times}"
    )
    if schedule.every_weeks > 1:
        text += f" every {schedule.every_weeks} weeks"
    hours, minutes = divmod(abs(schedule.utc_offset_minutes), 60)
    sign = "-" if schedule.utc_offset_minutes < 0 else "+"
    return f"{text} UTC{sign}{hours}:{minutes:02}" if schedule.utc_offset_minutes else f"{text} UTC"


def _weekday(word: str) -> int:
    matches = [at for at, name in enumerate(WEEKDAYS) if len(word) >= 3 and name.lower().startswith(word.lower())]
    if len(matches) != 1:
        raise Refused(f"{word!r} is not a weekday", _HINT)
    return matches[0]


def _time_of_day(word: str) -> time:
    hour, minute = word.split(":")
    try:
        return time(int(hour), int(minute))
    except ValueError:
        raise Refused(f"{word!r} is not a time of day", _HINT) from None
