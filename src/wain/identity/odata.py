"""The part of OData that the Graph subset understands: `$filter` by equality, `$select`, `$top`, `$skiptoken`. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from wain.identity.refusals import GraphRefused

TEXT_CAP: Final = 1024
TOP: Final = range(1, 1000)
TOP_DEFAULT: Final = 100
_EQUAL: Final = re.compile(r"\s*(\w+)\s+eq\s+'((?:[^']|'')*)'\s*")
_ASSIGNED: Final = re.compile(r"\s*assignedTo\('([\w-]+)'\)\s*")


def equality(query: Mapping[str, str], allowed: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the property and the value that `$filter` asks to be equal; None without a filter.

    Raises:
        GraphRefused: any other filter, or a property that cannot be asked for.
    """
    text = query.get("$filter")
    if text is None:
        return None
    found = _EQUAL.fullmatch(text) if len(text) <= TEXT_CAP else None
    if found is None or found[1] not in allowed:
        names = ", ".join(f"{name} eq '...'" for name in allowed)
        raise _unsupported(f"Only these filters are supported here: {names}")
    return found[1], found[2].replace("''", "'")


def assigned_to(query: Mapping[str, str]) -> str:
    """Return the principal that a filter of role assignments is about: `assignedTo('id')` or `principalId eq 'id'`.

    Raises:
        GraphRefused: any other filter.
    """
    text = query.get("$filter", "")
    found = _ASSIGNED.fullmatch(text) if len(text) <= TEXT_CAP else None
    if found is not None:
        return found[1].lower()
    where = equality(query, ("principalId",))
    return where[1].lower() if where else ""


def selected(query: Mapping[str, str]) -> frozenset[str]:
    """Return the properties that `$select` names; none means all."""
    text = query.get("$select", "")
    if len(text) > TEXT_CAP:
        raise _unsupported("$select is too long")
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """Return where a listing goes on (a moment in nanoseconds) and how many it shows.

    Raises:
        GraphRefused: `$top` or `$skiptoken` are no such numbers.
    """
    top, token = query.get("$top", str(TOP_DEFAULT)), query.get("$skiptoken", "0")
    if not (_is_number(top, 3) and int(top) in TOP and _is_number(token, 19)):
        raise _unsupported("$top must be 1 to 999, and $skiptoken as it was given")
    return int(token), int(top)


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= digits


def _unsupported(why: str) -> GraphRefused:
    return GraphRefused("Request_UnsupportedQuery", why)
