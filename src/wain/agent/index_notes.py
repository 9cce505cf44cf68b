"""Notes beside the local index tables: as which index chunks, in which packs, the vault keeps a table.

A note is bound to its table by the table's hash, so that a note that outlived its table says nothing of another one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from wain.base.ids import HASH_BYTES, ChunkId, PackId
from wain.storage.durable import write_atomic


@dataclass(frozen=True, slots=True)
class IndexNote:
    """As what a table is kept: the chunks, in order, and the packs that hold them."""

    table: bytes
    """The hash in the table's tail."""
    chunks: tuple[ChunkId, ...]
    packs: tuple[PackId, ...]


def write_note(path: Path, note: IndexNote) -> None:
    """Write a note durably."""
    body = {
        "table": note.table.hex(),
        "chunks": [chunk.hex() for chunk in note.chunks],
        "packs": [pack.hex() for pack in note.packs],
    }
    write_atomic(path, json.dumps(body).encode())


def read_note(path: Path, table: bytes) -> IndexNote | None:
    """Return the note about the table with this hash; None when there is none, or when it makes no sense."""
    try:
        body = json.loads(path.read_bytes())
        said = IndexNote(
            bytes.fromhex(body["table"]),
            tuple([ChunkId(bytes.fromhex(one)) for one in body["chunks"]]),
            tuple([PackId(bytes.fromhex(one)) for one in body["packs"]]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = said.chunks and said.packs and all(len(one) == HASH_BYTES for one in (*said.chunks, *said.packs))
    return said if whole and said.table == table else None
