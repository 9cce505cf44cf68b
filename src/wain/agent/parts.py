"""Goes through a directory's files and what histories remember of them side by side, a part of the directory at a time.

A part ends where a part of a history ends: so that what was remembered together, and where its content lies, can be
taken over together, however many names there are and wherever new ones were put between them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from wain.agent.history import HistoryReader, Seen
from wain.agent.listing import Found

PART_NAMES: Final = 1 << 13
"""Of a directory that comes bit by bit, a part has so many names,"""
MOST_NAMES: Final = 4 * PART_NAMES
"""or, where a history has parts, at most so many."""


class Part(NamedTuple):
    """Some of a directory's leaves, by name, and what each history that knows anything of them says, newest first."""

    leaves: list[Found]
    histories: list[Seen]


@dataclass(slots=True)
class _Cursor:
    """Where a history is in a directory."""

    reader: HistoryReader
    seen: Seen
    last: bytes = b""
    """The last name of what is `seen`."""

    def __post_init__(self) -> None:
        self._set(self.seen)

    def go_to(self, name: bytes) -> None:
        """Go on to the part that has `name`, or else the first name after it."""
        while self.seen.entries and self.last < name:
            self._set(self.reader.next_part())

    def _set(self, seen: Seen) -> None:
        self.seen = seen
        self.last = next(reversed(seen.entries), b"")


def in_parts(directory: bytes, leaves: Iterable[Found], histories: Sequence[HistoryReader]) -> Iterator[Part]:
    """Yield the parts of a directory, whose leaves come by name. A list without parts in any history is one part."""
    seen = [history.seen(directory) for history in histories]
    if isinstance(leaves, list) and not any(history.more for history in histories):
        yield Part(leaves, [one for one in seen if one.entries])
        return
    cursors = [_Cursor(history, one) for history, one in zip(histories, seen, strict=True)]
    part: list[Found] = []
    known: list[Seen] = []
    last, most = b"", 0
    for found in leaves:
        if len(part) >= most or (last and found.name > last):
            if part:
                yield Part(part, known)
            for cursor in cursors:
                cursor.go_to(found.name)
            known = [cursor.seen for cursor in cursors if cursor.seen.entries]
            last = min((cursor.last for cursor in cursors if cursor.seen.entries), default=b"")
            part, most = [], MOST_NAMES if known else PART_NAMES
        part.append(found)
    if part:
        yield Part(part, known)
