"""The chain of custody for people: who had the device when, each step signed, checked to its end."""

from collections import Counter
from typing import TYPE_CHECKING

from wain.base.ids import short
from wain.cli import render
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.wire.databox import Chain, CustodyApi


def show_custody(parts: Parts, keeper: "CustodyApi", name: str, as_json: bool) -> None:
    """Print and check the chain of custody of an order.

    Where this server's agent has seen the chain before, it is checked against that too.

    Raises:
        Corrupt: names the record that is changed or gone.
    """
    chain = keeper.chain(name)
    if as_json:
        _check(parts, name, chain)
        render.emit_json([_record_json(chain, number) for number in range(len(chain.records))])
        return
    rows = [(str(r.seq), r.event.words, r.party, render.moment(r.at), short(r.public_key)) for r in chain.records]
    render.table(("step>", "event", "party", "at", "signed by"), rows)
    seen = _check(parts, name, chain)
    counts = Counter(record.party for record in chain.records)
    render.say(f"{len(chain.records)} signed steps, each chained to the one before.")
    for party, count in counts.items():
        render.say(f"  {party} signed {count}.")
    if seen:
        render.say(f"This server saw the chain up to step {seen} before: it is the same.")


def _check(parts: Parts, name: str, chain: "Chain") -> int:
    """Check a chain; return up to which step this server knew it before, or 0."""
    from wain.agent.custody import check_keys, check_seen, notes_of_order
    from wain.wire.databox import check_chain_of

    check_chain_of(chain)
    home = parts.home()
    notes = notes_of_order(home, name)
    if notes is None:
        return 0
    check_seen(notes, chain)
    check_keys(home, notes, chain)
    return notes.seq


def _record_json(chain: "Chain", number: int) -> dict[str, object]:
    record = chain.records[number]
    return {
        "seq": record.seq,
        "event": record.event.words,
        "device": record.device.hex(),
        "at": render.json_moment(record.at),
        "party": record.party,
        "detailHash": record.detail_hash.hex(),
        "publicKey": record.public_key.hex(),
    }
