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
_STATE: Final = {
    "enrolment.json": "what this server is registered with",
    "policy.json": "the backup policy",
    "seed.json": "where the seed stands",
    "head.json": "the newest point this server signed",
    "vault-key.json": "the vault's signing key, as first seen",
    "recovery.pending": "a recovery key that is being written (its digest)",
}
"""The agent's JSON records have no magic: their names tell."""


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
    state = _state(os.path.basename(path), bytes(body[: 1 << 20]))
    if state is not None:
        return state
    known = sorted({words for words, _ in FORMATS.values()} | {"the agent's JSON records"})
    raise Refused(f"{path} is not a file that Wain writes", f"Known are {'; '.join(known)}.")


def _state(name: str, body: bytes) -> Explanation | None:
    """Explain one of the agent's JSON records, or a job's."""
    try:
        record = json_format.loads(body)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    what = "a job's record" if {"kind", "state", "startedAt"} <= record.keys() else _STATE.get(name)
    if what is None:
        return None
    return Explanation(what, tuple((key, json_format.dumps(value)) for key, value in record.items()))
