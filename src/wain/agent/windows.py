"""Buffers for reading large files, filled again once nobody looks at them any more.

A fresh buffer costs a page fault for every page, and its bytes are in no processor cache: with few that are used again
and again, reading is twice as fast.
"""

import weakref
from typing import Final

from wain.storage.buffers import mapped

KEPT: Final = 3
"""So many windows are kept for the next file; more are in use only while the pipeline is behind."""


class Window:
    """One buffer. What is lent from it must not be changed until it is gone."""

    def __init__(self, size: int) -> None:
        self.room = mapped(max(size, 1))
        self._lent: dict[int, weakref.ref[memoryview]] = {}

    def lend(self, start: int, end: int) -> memoryview:
        """Return a part of the window, in use until this view is gone. A slice of it does not keep it in use."""
        part = self.room[start:end]
        seen = weakref.ref(part, self._returned)
        self._lent[id(seen)] = seen  # Views that can be written have no hash.
        return part

    def _returned(self, seen: "weakref.ref[memoryview]") -> None:
        self._lent.pop(id(seen), None)

    @property
    def free(self) -> bool:
        """True when nothing that was lent is in use."""
        return not self._lent


class Windows:
    """The windows of one reading thread. What was lent may be dropped in any thread."""

    def __init__(self) -> None:
        self._windows: list[Window] = []

    def take(self, size: int) -> Window:
        """Return a window that nobody uses, of at least `size` bytes."""
        for window in self._windows:
            if window.free and len(window.room) >= size:
                return window
        made = Window(size)
        self._windows.append(made)
        if len(self._windows) > KEPT:
            del self._windows[0]  # It lives on until what was lent from it is gone.
        return made
