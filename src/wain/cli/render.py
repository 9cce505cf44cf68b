r"""What people and scripts read: tables, figures, JSON lines, errors.

Text and JSON carry the same facts. On a terminal tables are drawn by Rich; elsewhere they are plain aligned columns.
Names of files are bytes; whatever cannot be printed safely is shown as `\\xNN`, so that no file name can drive the
terminal.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, TextIO

from wain.base.errors import DataError, IllegalMove, RemoteError, UserError, WainError
from wain.base.sizes import format_bytes

EXIT_OK: Final = 0
EXIT_USER: Final = 1
EXIT_WARNINGS: Final = 3
EXIT_DATA: Final = 4
EXIT_STOPPED: Final = 130
TABLE_ROWS: Final = 1000

_FAMILIES: Final[tuple[tuple[type[WainError], int], ...]] = (
    (DataError, EXIT_DATA),
    (UserError, EXIT_USER),
    (RemoteError, EXIT_USER),
    (IllegalMove, EXIT_USER),
)


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error's family (design, section 4)."""
    return next((code for family, code in _FAMILIES if isinstance(error, family)), EXIT_USER)


def printable(name: bytes) -> str:
    r"""Return a file name that is safe to print: undecodable bytes and control characters as `\\xNN`."""
    text = name.decode(errors="surrogateescape")
    if text.isprintable() and text.isascii():
        return text
    return "".join(_printable_char(char) for char in text)


def _printable_char(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape"))


def json_name(name: bytes) -> str:
    """Return a file name for JSON: UTF-8, with undecodable bytes as lone surrogates (Python's surrogateescape)."""
    return name.decode(errors="surrogateescape")


def moment(at: datetime | None) -> str:
    """Return a moment for people, in local time to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def json_moment(at: datetime | None) -> str | None:
    """Return a moment for JSON: ISO 8601 in UTC."""
    return at.isoformat() if at else None


def emit_json(value: Any) -> None:
    """Print one JSON document on one line."""
    print(_compact(value), flush=True)


def stream_json(items: Iterable[Any]) -> None:
    """Print a JSON array on one line as its items come: however many they are, memory stays flat."""
    _write_array(items)
    print(flush=True)


def stream_json_object(
    head: Mapping[str, Any], name: str, items: Iterable[Any], tail: Callable[[], Mapping[str, Any]]
) -> None:
    """Print a JSON object on one line: `head`, an array `name` whose items come as they come, then what `tail` returns.

    Neither head nor tail is empty.
    """
    print(f"{_compact(head)[:-1]},{_compact(name)}:", end="")
    _write_array(items)
    print("," + _compact(tail())[1:], flush=True)


def _write_array(items: Iterable[Any]) -> None:
    print("[", end="")
    for number, item in enumerate(items):
        print("," * bool(number) + _compact(item), end="")
    print("]", end="")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def say(text: str) -> None:
    """Print one line to standard output."""
    print(_safe(text), flush=True)


def row(text: str) -> None:
    """Print one of very many lines to standard output."""
    print(_safe(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], out: TextIO | None = None) -> None:
    """Print a table; columns whose name ends with `>` are numbers and stand to the right.

    Of very many rows only the first `TABLE_ROWS` are looked at beforehand, to find out how wide the columns are.
    """
    out = sys.stdout if out is None else out
    coming = ([_safe(cell) for cell in row] for row in rows)
    first = list(islice(coming, TABLE_ROWS))
    if out.isatty() and len(first) < TABLE_ROWS:
        _rich_table(columns, first, out)
        return
    names = [column.rstrip(">") for column in columns]
    widths = [max(len(row[at]) for row in [names, *first]) for at in range(len(names))]
    for row in chain([names], first, coming):
        cells = [
            cell.rjust(width) if column.endswith(">") else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=out)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(file=out).print(drawn)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        say(f"{name.ljust(width)}  {value}".rstrip())


def show_error(error: BaseException, as_json: bool) -> int:
    """Print an error to standard error, as a sentence and its cure or as one JSON object. Return the exit code."""
    hint = getattr(error, "hint", "")
    code = exit_code(error)
    if as_json:
        body = {"error": type(error).__name__, "message": str(error), "hint": hint, "exitCode": code}
        print(_compact(body), file=sys.stderr, flush=True)
        return code
    print(f"wain: {_safe(str(error))}", file=sys.stderr)
    if hint:
        print(f"hint: {_safe(hint)}", file=sys.stderr, flush=True)
    return code


def _safe(text: str) -> str:
    """Return text without anything that could drive a terminal; messages may quote file names."""
    return "".join(_printable_char(char) for char in text)


def sizes(stored_bytes: int, source_bytes: int) -> str:
    """Return `1.2 GB (40% of 3.0 GB)`."""
    tells = source_bytes > 0 and stored_bytes <= source_bytes  # A few bytes always cost a whole pack.
    share = f" ({stored_bytes / source_bytes:.0%} of {format_bytes(source_bytes)})" if tells else ""
    return f"{format_bytes(stored_bytes)}{share}"
