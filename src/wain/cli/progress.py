"""Progress on the screen: a live bar with rate and ETA on a terminal, one calm line every ten seconds elsewhere.

Nothing is drawn for work that ends within two seconds. Everything goes to standard error, so that standard output
carries results alone.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Final, Self, TextIO

from wain.base.sizes import format_bytes

QUIET_S: Final = 2.0
"""Shorter work shows nothing."""
CALM_S: Final = 10.0
"""Pause between two lines when nobody draws."""
_REDRAW_S: Final = 0.1


def format_seconds(seconds: float) -> str:
    """Return a duration for people: `48 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


class Meter:
    """Counts one phase. Times are seconds of any steady clock."""

    def __init__(self, name: str, total_bytes: int | None, now: float) -> None:
        self.name = name
        self.total_bytes = total_bytes
        self.done_bytes = 0
        self.items = 0
        self.started_at = now

    def rate(self, now: float) -> float:
        """Return bytes a second since the phase began."""
        return self.done_bytes / max(now - self.started_at, 0.001)

    def left_s(self, now: float) -> float | None:
        """Return the seconds still needed at this rate, or None when nobody can know."""
        rate = self.rate(now)
        if self.total_bytes is None or rate <= 0:
            return None
        return max(self.total_bytes - self.done_bytes, 0) / rate

    def line(self, now: float) -> str:
        """Return the phase in one line."""
        parts = [format_bytes(self.done_bytes)]
        if self.total_bytes:
            share = min(self.done_bytes / self.total_bytes, 1.0)
            parts = [f"{parts[0]} of {format_bytes(self.total_bytes)} ({share:.0%})"]
        if self.items:
            parts.append(f"{self.items:,} items")
        parts.append(f"{format_bytes(int(self.rate(now)))}/s")
        left = self.left_s(now)
        if left is not None and self.done_bytes < (self.total_bytes or 0):
            parts.append(f"{format_seconds(left)} left")
        return f"{self.name}: " + ", ".join(parts)


class CalmProgress:
    """Progress for logs: one line every ten seconds. Implements `base.progress.Progress`."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._meter: Meter | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._out.flush()

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """A new phase begins."""
        now = self._clock()
        self._meter = Meter(name, total_bytes, now)
        self._next = now + CALM_S

    def advance(self, done_bytes: int, items: int = 0) -> None:
        """More of the phase is done."""
        meter = self._meter
        if meter is None:
            return
        meter.done_bytes += done_bytes
        meter.items += items
        now = self._clock()
        if now >= self._next:
            self._next = now + CALM_S
            self.note(meter.line(now))

    def note(self, message: str) -> None:
        """Print a remark."""
        print(message, file=self._out, flush=True)


class LiveProgress:
    """Progress on a terminal, drawn by Rich. Implements `base.progress.Progress`."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._meter: Meter | None = None
        self._drawn: Any = None
        self._task: Any = None
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._stop()

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """A new phase begins; it is drawn once it has lasted two seconds."""
        self._stop()
        now = self._clock()
        self._meter = Meter(name, total_bytes, now)
        self._next = now + QUIET_S

    def advance(self, done_bytes: int, items: int = 0) -> None:
        """More of the phase is done."""
        meter = self._meter
        if meter is None:
            return
        meter.done_bytes += done_bytes
        meter.items += items
        now = self._clock()
        if now >= self._next:
            self._next = now + _REDRAW_S
            self._draw(meter)

    def note(self, message: str) -> None:
        """Print a remark above the bar."""
        if self._drawn is None:
            print(message, file=self._out, flush=True)
        else:
            self._drawn.console.print(message, markup=False, highlight=False)

    def _draw(self, meter: Meter) -> None:
        if self._drawn is None:
            self._start(meter)
        items = f"{meter.items:,} items" if meter.items else ""
        self._drawn.update(self._task, completed=meter.done_bytes, items=items)

    def _start(self, meter: Meter) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Rate

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            DownloadColumn(),
            Rate(),
            TextColumn("{task.fields[items]}"),
            TimeRemainingColumn(),
        )
        self._drawn = Progress(*columns, console=Console(file=self._out), transient=True)
        self._task = self._drawn.add_task(meter.name, total=meter.total_bytes, items="")
        self._drawn.start()

    def _stop(self) -> None:
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None


def open_progress(out: TextIO | None = None) -> LiveProgress | CalmProgress:
    """Return the progress that suits `out` (standard error by default), as a context manager."""
    out = sys.stderr if out is None else out
    return LiveProgress(out) if out.isatty() else CalmProgress(out)
