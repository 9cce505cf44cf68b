"""What the files Wain writes say, one function for each format, found by their first bytes.

Every function decodes with the room's own decoder, so that what a reader would refuse is refused here with the same
words. Nothing secret is shown: a key file is described, not printed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from wain.base.errors import DataError
from wain.base.sizes import format_bytes
from wain.cli import render

ROWS_CAP: Final = 200
"""Longer lists are cut, with a word about the rest."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one file is: a sentence, named facts, and rows for a table (the first `ROWS_CAP` are shown)."""

    what: str
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


Explain = Callable[[memoryview], Explanation]


def key_slots(body: memoryview) -> Explanation:
    """Explain key slots."""
    from wain.keys.slots import NO_COST, decode_slots

    slots = decode_slots(bytes(body))
    rows = []
    for number, slot in enumerate(slots.slots, start=1):
        cost = slot.argon2
        words = (
            "none" if cost == NO_COST else f"{cost.memory_kib // 1024} MiB, {cost.passes} passes, {cost.lanes} lanes"
        )
        rows.append((str(number), slot.kind.name.lower(), words))
    facts = (("registration", slots.registration.hex()), ("epoch", str(slots.epoch)))
    return Explanation(
        "key slots: the registration's secret, wrapped", facts, ("slot>", "opens with", "Argon2"), tuple(rows)
    )


def agent_keys(body: memoryview) -> Explanation:
    """Explain a server's key file without showing a key."""
    from wain.agent.write_keys import decode_keys
    from wain.keys.signing import public_key

    keys = decode_keys(bytes(body))
    facts = (("registration", keys.registration.hex()), ("signs as", public_key(keys.sign_seed).hex()))
    return Explanation("an agent's key file: enough to write and sign, not to read (secret, not shown)", facts)


def packs(body: memoryview) -> Explanation:
    """Explain one pack, or a page blob of packs end to end, and check every bit of each without any key."""
    from wain.pack.format import FOOTER_BYTES, HEADER_BYTES, decode_footer, decode_header, pack_id
    from wain.pack.verify import finding

    rows, at = [], 0
    header = decode_header(bytes(body[:HEADER_BYTES]))
    while (end := _pack_end(body, at)) is not None:
        page = bytes(body[end - FOOTER_BYTES : end])
        footer, pack = decode_footer(page), pack_id(page)
        wrong = finding(pack, body[at:end])
        state = str(wrong) if wrong else "whole"
        rows.append(
            (str(at), format_bytes(end - at), footer.kind.name.lower(), str(len(footer.leaves)), pack.hex(), state)
        )
        at = end
    left = len(body) - at
    facts = [("registration", header.registration.hex()), ("packs", str(len(rows)))]
    if left:
        rest = (
            "zeros, never written" if not any(body[at:]) else "no whole pack: cut short, damaged or still being written"
        )
        facts.append(("after them", f"{format_bytes(left)}: {rest}"))
    what = "a pack" if len(rows) == 1 and not left else "a page blob of packs, end to end"
    return Explanation(what, tuple(facts), ("offset>", "size>", "holds", "leaves>", "name", "state"), tuple(rows))


def parity(body: memoryview) -> Explanation:
    """Explain a page blob of parity."""
    from wain.cli import explain_parity

    return explain_parity.parity(body)


def _pack_end(body: memoryview, start: int) -> int | None:
    """Return where the pack that begins at `start` ends: after the first footer page that fits its distance."""
    from wain.base.sizes import BLOCK_BYTES
    from wain.pack.format import FOOTER_BYTES, FOOTER_MAGIC, MAX_PACK_BYTES, decode_footer

    last = min(len(body) - FOOTER_BYTES, start + MAX_PACK_BYTES)
    for at in range(start + BLOCK_BYTES, last + 1, BLOCK_BYTES):
        if bytes(body[at : at + len(FOOTER_MAGIC)]) != FOOTER_MAGIC:
            continue
        try:
            footer = decode_footer(bytes(body[at : at + FOOTER_BYTES]))
        except DataError:
            continue  # Ciphertext that happens to begin like a footer.
        if footer.body_bytes == at - start:
            return at + FOOTER_BYTES
    return None


def index(body: memoryview) -> Explanation:
    """Explain an index and check it whole."""
    from wain.pack.index import IndexTable

    table = IndexTable(body)
    table.verify()
    facts = (("chunks", f"{len(table):,}"), ("packs", f"{len(table.packs):,}"), ("size", format_bytes(len(body))))
    return Explanation("an index: chunk id to pack, segment, offset (whole)", facts)


def tree_piece(body: memoryview) -> Explanation:
    """Explain a piece of a directory listing."""
    from wain.tree.format import decode_piece

    entries = decode_piece(body)
    rows = tuple(
        (render.printable(e.name), e.kind.name.lower(), str(e.stat.size), f"{e.stat.mode:04o}") for e in entries
    )
    return Explanation("a tree piece", (("entries", str(len(rows))),), ("name", "kind", "size>", "mode>"), rows)


def chunk_list(body: memoryview) -> Explanation:
    """Explain a chunk list."""
    from wain.tree.lists import decode_list

    return Explanation("a list of a very large file's chunks", (("chunks", f"{len(decode_list(body)):,}"),))


def manifest(body: memoryview) -> Explanation:
    """Explain a recovery point's manifest; its details stay sealed."""
    from wain.base.ids import NO_POINT, NO_SEED, NO_SERIES
    from wain.tree.manifest import decode_manifest, point_id

    point = decode_manifest(body)
    facts = (
        ("point", point_id(bytes(body)).hex()),
        ("registration", point.registration.hex()),
        ("number", str(point.seq)),
        ("follows", "-" if point.previous == NO_POINT else point.previous.hex()),
        ("made at", render.moment(point.created_at)),
        ("travels", "over the wire" if point.seed == NO_SEED else f"as seed {point.seed.hex()}"),
        ("holds", "the policy's files" if point.series == NO_SERIES else f"a stream, of series {point.series.hex()}"),
        ("packs", f"{len(point.packs):,}, {format_bytes(sum(ref.stored_bytes for ref in point.packs))}"),
        ("details", f"{format_bytes(len(point.details))}, sealed to the restore key"),
        ("signature", "not checked here: the vault knows the server's key"),
    )
    rows = tuple((ref.id.hex(), ref.kind.name.lower(), str(ref.stored_bytes)) for ref in point.packs)
    return Explanation("a recovery point's manifest", facts, ("pack", "holds", "stored bytes>"), rows)


def details(body: memoryview) -> Explanation:
    """Explain the opened details of a manifest."""
    from wain.tree.manifest import decode_details

    return Explanation("the details of a recovery point, opened", _fields(decode_details(body)))


def receipt(body: memoryview) -> Explanation:
    """Explain the body of a vault's receipt."""
    from wain.tree.receipt import decode_receipt

    return Explanation("a vault's receipt for a seed (body alone, without signatures)", _fields(decode_receipt(body)))


def paged(body: memoryview) -> Explanation:
    """Explain a paged record by what it holds."""
    from wain.pageblob.paged import decode_paged

    held = memoryview(decode_paged(body))
    inner = find(held[:8].tobytes())
    if inner is None:
        return Explanation(f"a paged record of {len(held)} bytes", ())
    found = inner(held)
    return Explanation(f"{found.what}, in whole pages", found.facts, found.columns, found.rows)


def label(body: memoryview) -> Explanation:
    """Explain a device's label, taken out of its pages."""
    from wain.device.label import decode_label
    from wain.pageblob.paged import encode_paged

    return Explanation("a device's label", _fields(decode_label(encode_paged(bytes(body)))))


def journal(body: memoryview) -> Explanation:
    """Explain a device's journal: what is durable on the device."""
    from wain.device.journal import RECORD_BYTES, replay

    found = replay(body)
    start = _fields(found.start) if found.start else (("state", "empty: not even the first record is whole"),)
    torn = len(body) // RECORD_BYTES - found.records
    tail = f"{torn} records after it are torn, zero or not chained, and are ignored" if torn else "nothing"
    facts = (
        *start,
        ("packs", str(len(found.packs))),
        ("finished", "yes" if found.end else "no: the backup on this device is not complete"),
        ("after it", tail),
    )
    rows = tuple(_placed(pack) for pack in found.packs)
    return Explanation("a device's journal", facts, ("pack", "holds", "blob>", "offset>", "length>"), rows)


def seal(body: memoryview) -> Explanation:
    """Explain a seal and check its signature by the key it names."""
    from wain.device.seal import check_seal

    found = check_seal(bytes(body))
    skipped = {"packs", "signature"}
    facts = tuple(pair for pair in _fields(found) if pair[0] not in skipped)
    facts += (("goes on", "on another device, which brings the recovery point"),) if found.goes_on else ()
    facts += (("packs", f"{len(found.packs)}, {format_bytes(found.stored_bytes)}"), ("signature", "good for that key"))
    rows = tuple(_placed(pack) for pack in found.packs)
    return Explanation(
        "a device's seal: every pack was read back", facts, ("pack", "holds", "blob>", "offset>", "length>"), rows
    )


def _placed(pack: Any) -> tuple[str, ...]:
    at = pack.placement
    return pack.id.hex(), pack.kind.name.lower(), str(at.blob), str(at.offset), str(at.length)


def custody(body: memoryview) -> Explanation:
    """Explain custody records, end to end, and check their chain."""
    from wain.order.custody import RECORD_BYTES, check_chain, decode_record

    count = max(1, -(-len(body) // RECORD_BYTES))
    records = [decode_record(bytes(body[at * RECORD_BYTES : (at + 1) * RECORD_BYTES])) for at in range(count)]
    if records[0].seq == 1:
        check_chain(records)
    rows = tuple((str(r.seq), r.event.words, r.order, r.party, render.moment(r.at)) for r in records)
    return Explanation(
        "custody of a device", (("records", str(count)),), ("step>", "event", "order", "party", "at"), rows
    )


def vault_record(body: memoryview) -> Explanation:
    """Explain one of the small records a vault signs."""
    from wain.vault.records import KINDS, KeptPoint, KeptSlots, decode

    kind = KINDS[bytes(body[:8])]
    record: Any = decode(kind, bytes(body))
    if isinstance(record, KeptPoint):
        inner = manifest(memoryview(record.manifest))
        facts = (("received", render.moment(record.received_at)), *inner.facts)
        return Explanation("a recovery point, as a vault keeps it", facts, inner.columns, inner.rows)
    if isinstance(record, KeptSlots):
        held = key_slots(memoryview(record.slots))
        return Explanation(f"{held.what}, as a vault keeps them", held.facts, held.columns, held.rows)
    return Explanation(f"a vault's record: {_words(kind.__name__)}", _fields(record))


def vault_key(body: memoryview) -> Explanation:
    """Explain a vault's key file without showing the key."""
    from wain.keys.signing import public_key
    from wain.vault.key import decode_key

    facts = (("signs as", public_key(decode_key(bytes(body))).hex()),)
    return Explanation("a vault's signing key (secret, not shown)", facts)


def history(body: memoryview) -> Explanation:
    """Explain a server's memory of its last walk."""
    registration = bytes(body[10:26]).hex()
    facts = (("registration", registration), ("size", format_bytes(len(body))))
    return Explanation("what the last walk saw (local, can be lost without harm)", facts)


def pack_refs(body: memoryview) -> Explanation:
    """Explain a server's list of packs."""
    from wain.agent.pending import decode_refs

    refs = decode_refs(bytes(body))
    rows = tuple((ref.id.hex(), ref.kind.name.lower(), str(ref.stored_bytes)) for ref in refs)
    return Explanation(
        "packs that a server knows of", (("packs", str(len(refs))),), ("pack", "holds", "stored bytes>"), rows
    )


def pack_checks(body: memoryview) -> Explanation:
    """Explain what a server remembers of its own checks."""
    from wain.agent.pack_checks import decode_checks
    from wain.base.moment import from_ns

    rid, checks = decode_checks(bytes(body))
    rows = tuple(
        (
            pack.hex(),
            render.moment(from_ns(one.read_ns)),
            "whole" if one.whole else "damaged",
            render.moment(from_ns(one.whole_ns) if one.whole_ns else None),
        )
        for pack, one in checks.items()
    )
    facts = (("registration", rid.hex()), ("packs", f"{len(checks):,}"))
    return Explanation("when each pack was last read in full", facts, ("pack", "read", "found", "last whole"), rows)


def pending_log(body: memoryview) -> Explanation:
    """Explain the log of an unfinished job."""
    return Explanation("the log of a job that is not finished (local)", (("size", format_bytes(len(body))),))


def sqlite(body: memoryview) -> Explanation:
    """Explain a catalog."""
    facts = (("size", format_bytes(len(body))), ("open it with", "sqlite3 -readonly FILE .schema"))
    return Explanation("an SQLite database: a vault's or Data Box service's catalog", facts)


def _fields(value: Any) -> tuple[tuple[str, str], ...]:
    """Return the fields of a dataclass, as names and words."""
    pairs: list[tuple[str, str]] = []
    for each in fields(value):
        inner = getattr(value, each.name)
        if is_dataclass(inner):
            pairs += _fields(inner)
        else:
            pairs.append((each.name.replace("_", " "), _value(inner)))
    return tuple(pairs)


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 64 else f"{len(value)} bytes"
    if isinstance(value, datetime):
        return render.moment(value)
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return f"{len(value)}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _words(name: str) -> str:
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()


FORMATS: Final[Mapping[bytes, tuple[str, Explain]]] = {
    b"WAINKEYS": ("key slots", key_slots),
    b"WAINAGNT": ("an agent's key file", agent_keys),
    b"WAINPACK": ("packs and page blobs of packs", packs),
    b"WAINPRTY": ("page blobs of parity", parity),
    b"WAININDX": ("an index", index),
    b"WAINTREE": ("a tree piece", tree_piece),
    b"WAINLIST": ("a chunk list", chunk_list),
    b"WAINPOIN": ("a manifest", manifest),
    b"WAINDTLS": ("opened details", details),
    b"WAINRCPT": ("a receipt", receipt),
    b"WAINPAGE": ("a paged record: seal, manifest, label", paged),
    b"WAINLABL": ("a label", label),
    b"WAINSEAL": ("a seal", seal),
    b"WJNL": ("a device's journal", journal),
    b"WAINCUST": ("custody records", custody),
    b"WAINHIST": ("what the last walk saw", history),
    b"WAINREFS": ("a list of packs", pack_refs),
    b"WAINCHKS": ("when packs were last read", pack_checks),
    b"WLOG": ("the log of an unfinished job", pending_log),
    b"SQLite format 3\0": ("a catalog", sqlite),
    b"WAINVKEY": ("a vault's signing key", vault_key),
    **dict.fromkeys(
        (
            b"WAINREGI", b"WAINSLOT", b"WAINRETE", b"WAINKEPT", b"WAINEXPI", b"WAINRELE",
            b"WAINDEFI", b"WAINLOSS", b"WAINRCVD", b"WAINCSIG",
        ),
        ("a vault's record", vault_record),
    ),
}  # fmt: skip
"""First bytes to words and explanation. A test compares it with the magics in the rooms."""


def find(first: bytes) -> Explain | None:
    """Return the explanation for a file that begins so, or None."""
    return next((explain for magic, (_, explain) in FORMATS.items() if first.startswith(magic)), None)
