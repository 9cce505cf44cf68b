r"""Which paths a backup leaves out: globs in the manner of gitignore and restic, compiled once.

`*.iso`        the name, at any depth              `*`  any characters but `/`; `?` one of them
`cache/tmp`    that path, at any depth             `**` as a whole part of a path: any number of parts, also none
`/var/tmp`     that path, from the root            `[abc]`, `[a-z]`, `[!abc]` one of, none of; never `/`
`build/`       directories only                    `\`  takes the next character as it is

The walk asks for every entry from the top down and does not enter what is left out, so a pattern never needs to match
what lies below. Bytes that are not UTF-8 match like any other character.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from wain.base.errors import Refused

PATTERN_CAP_CHARS: Final = 4096

_MAGIC: Final = frozenset("*?[\\")
_HINT: Final = "Write for example *.iso, node_modules/ or /var/tmp."


@dataclass(frozen=True, slots=True)
class _Rules:
    """Patterns, sorted by how dear they are to ask: literal names, globs of a name, globs of a path."""

    names: frozenset[bytes]
    name_glob: re.Pattern[str] | None
    path_glob: re.Pattern[str] | None

    def match(self, path: bytes) -> bool:
        name = path[path.rfind(b"/") + 1 :]
        if name in self.names:
            return True
        if self.name_glob and self.name_glob.fullmatch(name.decode("utf-8", "surrogateescape")):
            return True
        return bool(self.path_glob and self.path_glob.fullmatch(path.decode("utf-8", "surrogateescape")))


class Exclusions:
    """Compiled patterns. False when there are none, so that a hot loop may skip the question.

    A search asks the same questions in the same language; `what` is the word for a pattern in refusals.

    Raises:
        Refused: a pattern is empty, too long, unfinished, or begins with `!` (nothing is taken back in here).
    """

    __slots__ = ("_directories", "_others", "_some")

    def __init__(self, patterns: Iterable[str], what: str = "exclusion") -> None:
        given = tuple(patterns)
        for pattern in given:
            _check(pattern, what)
        self._some = bool(given)
        self._directories = _compile([pattern.rstrip("/") for pattern in given])
        self._others = _compile([pattern for pattern in given if not pattern.endswith("/")])

    def __bool__(self) -> bool:
        return self._some

    def matches(self, path: bytes, is_directory: bool) -> bool:  # noqa: FBT001 (a frozen signature)
        """Tell whether the entry at this absolute path is left out."""
        return self._some and (self._directories if is_directory else self._others).match(path)


def _check(pattern: str, what: str) -> None:
    if not pattern.strip("/"):
        raise Refused(f"the {what} {pattern!r} names nothing", _HINT)
    if len(pattern) > PATTERN_CAP_CHARS:
        raise Refused(f"the {what} has {len(pattern):,} characters; at most {PATTERN_CAP_CHARS:,} are accepted", _HINT)
    if pattern.startswith("!"):
        raise Refused(f"the {what} {pattern!r} begins with '!'", r"Write \! for a name that begins with it.")
    if "//" in pattern:
        raise Refused(f"the {what} {pattern!r} has a doubled slash and would match nothing", _HINT)
    try:
        pattern.encode("utf-8", "surrogateescape")
        re.compile(_path_regex(pattern.rstrip("/")))
    except (UnicodeEncodeError, re.error):
        raise Refused(f"the {what} {pattern!r} is not a pattern", _HINT) from None


def _compile(patterns: list[str]) -> _Rules:
    """Sort patterns that have no slash at their end."""
    in_names = [pattern for pattern in patterns if "/" not in pattern]
    return _Rules(
        frozenset(name.encode("utf-8", "surrogateescape") for name in in_names if not _MAGIC & set(name)),
        _alternatives(_part_regex(name) for name in in_names if _MAGIC & set(name)),
        _alternatives(_path_regex(pattern) for pattern in patterns if "/" in pattern),
    )


def _alternatives(expressions: Iterable[str]) -> re.Pattern[str] | None:
    whole = "|".join(expressions)
    return re.compile(whole, re.DOTALL) if whole else None


def _path_regex(pattern: str) -> str:
    """Return the expression that matches whole absolute paths.

    What stands between two `**` is taken where it first fits and never given back: see `_part_regex`.
    """
    parts = pattern.removeprefix("/").split("/")
    if not pattern.startswith("/"):
        parts.insert(0, "**")
    runs = [""]
    for part in parts:
        if part == "**":
            runs.append("")
        else:
            runs[-1] += _part_regex(part) + "/"
    if len(runs) == 1:
        return "/" + runs[0].removesuffix("/")
    first, *middle, last = runs
    tail = "(?:.*/)?" + last.removesuffix("/") if last else ".+"
    return "/" + first + "".join(f"(?>(?:[^/]+/)*?{run})" for run in middle) + tail


def _part_regex(glob: str) -> str:
    """Return the expression for one part of a path.

    What stands between two stars is taken where it first fits and never given back (an atomic group): nothing is lost,
    because a star can make up for any place, and a pattern of many stars stays as fast as one of few.
    """
    first, *rest = _between_stars(glob)
    if not rest:
        return first
    return first + "".join(f"(?>[^/]*?{fixed})" for fixed in rest[:-1]) + "[^/]*" + rest[-1]


def _between_stars(glob: str) -> Iterator[str]:
    """Yield the expressions of what stands before, between and after the stars of a glob, each of fixed length."""
    fixed, at = "", 0
    while at < len(glob):
        if glob[at] == "*":
            yield fixed
            fixed, at = "", at + 1
            continue
        piece, at = _one_char(glob, at)
        fixed += piece
    yield fixed


def _one_char(glob: str, at: int) -> tuple[str, int]:
    """Return the expression for the character, `?`, set or escape at `at`, and where the next one stands."""
    char = glob[at]
    if char == "?":
        return "[^/]", at + 1
    if char == "\\":
        if at + 1 == len(glob):
            raise re.error("a backslash takes nothing")
        return re.escape(glob[at + 1]), at + 2
    if char == "[":
        return _set(glob, at)
    return re.escape(char), at + 1


def _set(glob: str, at: int) -> tuple[str, int]:
    """Return the expression for the set that opens at `at`. A `]` in first place stands for itself."""
    first = at + (2 if glob[at + 1 : at + 2] in {"!", "^"} else 1)
    end = glob.find("]", first + 1)
    if end < 0:
        raise re.error("a set is not closed")
    inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", glob[first:end])
    return f"(?!/)[{'^' if first > at + 1 else ''}{inner}]", end + 1
