"""`wain inspect FILE`: explains any file Wain writes."""

import json as json_format
import mmap
import os
from typing import Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.explain import FORMATS, ROWS_CAP, Explanation, find
from wain.cli.options import Json

_FIRST_BYTES: Final = 16
_KEY_BYTES: Final = 32
_JSON: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({"kind", "state", "startedAt"}), "a job's record"),
    (frozenset({"registration", "vaultUrl"}), "what this server is registered with"),
    (frozenset({"includes", "schedule", "retention"}), "a backup policy"),
    (frozenset({"id", "order", "state", "container"}), "where a seed stands"),
    (frozenset({"seq", "point"}), "the newest point that this server signed"),
    (frozenset({"standard", "sanitization", "seals"}), "the record of an erasure"),
    (frozenset({"chunks", "packs"}), "as which chunks the vault keeps an index"),
    (frozenset({"key"}), "a vault's signing key, as first seen"),
    (frozenset({"order", "steps", "end"}), "what this server did with a device"),
    (frozenset({"subscription", "region"}), "where a vault is"),
    (frozenset({"digest"}), "a recovery key that is being written: its digest"),
)
"""JSON records have no magic: the keys that must be there tell, the first row that fits."""
_RAW_KEYS: Final = frozenset({"key", "service.key"})
_TEXT: Final = (
    (b"<CopyLog", "a copy log"),
    (b'<file size="', "a list of files"),
    (b"<File CloudFormat", "a verbose log"),
)


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Any file Wain writes.")], json: Json = False
) -> None:
    """Explain a file: what it is, what it says, and whether it is whole."""
    found = _explain(file)
    if json:
        render.emit_json(
            {
                "what": found.what,
                "facts": dict(found.facts),
                "columns": list(found.columns),
                "rows": [list(r) for r in found.rows],
            }
        )
        return
    render.say(f"{file}: {found.what}")
    render.facts(found.facts)
    if found.rows:
        render.say("")
        render.table(found.columns, found.rows[:ROWS_CAP])
    if len(found.rows) > ROWS_CAP:
        render.say(f"... and {len(found.rows) - ROWS_CAP} more; --json has all")


def _explain(path: str) -> Explanation:
    """Map the file and explain it.

    Raises:
        Refused: not a file of Wain's, with the list of what is known.
        DataError: a file of Wain's that is not whole.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise Refused(f"{path} is empty")
        # Not closed by hand: an error on its way up still looks into the mapping.
        body = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    explain = find(bytes(body[:_FIRST_BYTES]))
    if explain is not None:
        return explain(body)
    first = bytes(body[: 1 << 20])
    for recognise in (_json, _azure_text, _raw_key, _recovery_key):
        known = recognise(path, first)
        if known is not None:
            return known
    words = sorted({words for words, _ in FORMATS.values()} | {words for _, words in _JSON + _TEXT})
    raise Refused(f"{path} is not a file that Wain writes", f"Known are {'; '.join(words)}.")


def _json(_path: str, body: bytes) -> Explanation | None:
    """Explain one of the JSON records that agent and Data Box service keep."""
    try:
        record = json_format.loads(body)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    what = next((words for keys, words in _JSON if keys <= record.keys()), None)
    if what is None:
        return None
    return Explanation(what, tuple((key, json_format.dumps(value)) for key, value in record.items()))


def _azure_text(_path: str, body: bytes) -> Explanation | None:
    """Explain the two texts of a data copy, which are in Azure's formats."""
    what = next((words for mark, words in _TEXT if mark in body[:400]), None)
    return Explanation(f"{what} of a data copy, in Azure's format", ()) if what else None


def _raw_key(path: str, body: bytes) -> Explanation | None:
    """Tell a service's signing key by its name and size; it has no other form."""
    if os.path.basename(path) not in _RAW_KEYS or len(body) != _KEY_BYTES:
        return None
    return Explanation("the signing key of a vault or a Data Box service (secret, not shown)", ())


def _recovery_key(_path: str, body: bytes) -> Explanation | None:
    """Tell a recovery key by its checksum."""
    from wain.keys.phrases import recovery_from_text

    try:
        recovery_from_text(body[:200].decode("ascii"))
    except (UnicodeDecodeError, Refused):
        return None
    return Explanation("a recovery key (secret, not shown): keep it away from the server", ())
