"""What a page blob of parity says: one row for each record, and whether it is whole."""

from wain.base.errors import DataError
from wain.base.sizes import format_bytes
from wain.cli.explain import Explanation
from wain.pageblob.parity_record import Located, ParityVerifier, locate

_COLUMNS = ("offset>", "size>", "rows>", "repairs", "packs>", "first pack", "state")


def parity(body: memoryview) -> Explanation:
    """Explain the records of a page blob of parity, and check every bit of them without any key."""
    found = list(locate(lambda at, length: bytes(body[at : at + length]).ljust(length, b"\0"), len(body)))
    covered = sum(min(each.end, len(body)) - each.start for each in found)
    packs = sum(len(each.record.packs) for each in found)
    stored = sum(length for each in found for _, length in each.record.packs)
    facts = [("groups", str(len(found))), ("packs", f"{packs}, {format_bytes(stored)}")]
    if covered < len(body):
        facts.append(("between them", f"{format_bytes(len(body) - covered)} that are no parity"))
    return Explanation("a page blob of parity", tuple(facts), _COLUMNS, tuple(_row(body, each) for each in found))


def _row(body: memoryview, found: Located) -> tuple[str, ...]:
    record = found.record
    verifier = ParityVerifier(dict(record.packs), found.start)
    verifier.feed(body[found.start : found.end])
    try:
        verifier.finish()
    except DataError as error:
        state = str(error)
    else:
        state = "whole"
    return (
        str(found.start),
        format_bytes(record.stored_bytes),
        str(len(record.rows)),
        f"{record.strength.parity} of {record.strength.data} in a row",
        str(len(record.packs)),
        record.packs[0][0].hex(),
        state,
    )
