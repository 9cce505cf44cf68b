"""Reads the copy log of a data copy, Azure's or ours (azure.md 1.8): what was put into the account under another name.

A log is a sequence of XML fragments without a root, of any length, from a place nobody vouches for: it is read piece
by piece, with a cap, and a document type (which could expand into anything) is refused.
"""

import base64
import re
from collections.abc import Iterable
from typing import Final
from xml.parsers import expat

from wain.base.errors import Malformed, TooLarge

LOG_CAP: Final = 1 << 30
"""A million findings take a third of it."""
RENAMES_CAP: Final = 100_000
TEXT_CAP: Final = 16 * 1024
_WHAT: Final = "the copy log"
_ENTRY: Final = "ErroredEntity"
_RENAMED: Final = "ContainerRenamed"
_FIELDS: Final = frozenset({"Category", "ErrorMessage"})
_SENTENCE: Final = re.compile(r"renamed to:\s*(\S+)\s*:from:")
_DECLARATION: Final = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<\?xml[^>]*\?>")
_HEAD_BYTES: Final = 1024
_LAST: Final = True


def container_renames(pieces: Iterable[bytes]) -> dict[str, str]:
    """Return the containers that a copy log says were renamed: the device's name -> the account's.

    Raises:
        Malformed: it is no copy log. TooLarge: it never ends, or names more than anybody has.
    """
    reading = _Reading()
    size, head, begun = 0, b"", False
    for piece in pieces:
        size += len(piece)
        if size > LOG_CAP:
            raise TooLarge(_WHAT, size, LOG_CAP)
        if begun:
            reading.feed(piece)
            continue
        head += piece
        if len(head) >= _HEAD_BYTES:
            reading.feed(_DECLARATION.sub(b"", head))
            begun = True
    if not begun:
        reading.feed(_DECLARATION.sub(b"", head))
    reading.finish()
    return reading.renames


class _Reading:
    """One log on its way through the parser."""

    def __init__(self) -> None:
        self.renames: dict[str, str] = {}
        self._path = ""
        self._fields: dict[str, str] = {}
        self._inside = ""
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser = parser
        self.feed(b"<log>")

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.Parse(piece)
        except expat.ExpatError as error:
            raise Malformed(_WHAT, str(error)) from None

    def finish(self) -> None:
        try:
            self._parser.Parse(b"</log>", _LAST)
        except expat.ExpatError as error:
            raise Malformed(_WHAT, str(error)) from None

    def _doctype(self, *_: object) -> None:
        raise Malformed(_WHAT, "it has a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _ENTRY:
            self._path, self._fields = _path(attributes), {}
        self._inside = name if name in _FIELDS else ""

    def _text(self, text: str) -> None:
        if self._inside:
            known = self._fields.get(self._inside, "") + text
            if len(known) > TEXT_CAP:
                raise TooLarge(f"a field of {_WHAT}", len(known), TEXT_CAP)
            self._fields[self._inside] = known

    def _end(self, name: str) -> None:
        self._inside = ""
        if name == _ENTRY and self._fields.get("Category", "").strip() == _RENAMED:
            found = _SENTENCE.search(self._fields.get("ErrorMessage", ""))
            if found is None:
                raise Malformed(_WHAT, f"it does not say what {self._path[:64]!r} was renamed to")
            self.renames[self._path] = found[1]
            if len(self.renames) > RENAMES_CAP:
                raise TooLarge(f"the renames in {_WHAT}", len(self.renames), RENAMES_CAP)


def _path(attributes: dict[str, str]) -> str:
    """Return the container's name; one that is not text stays as it is written, and is none of Wain's."""
    path = attributes.get("Path", "")
    if attributes.get("name_encoding") == "Base64":
        try:
            path = base64.b64decode(path, validate=True).decode(errors="replace")
        except ValueError:
            raise Malformed(_WHAT, f"{path[:64]!r} is not Base64") from None
    return path.strip("\\/")
