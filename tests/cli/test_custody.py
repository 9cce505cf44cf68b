"""Custody with everything in one home: each party signs, and what could not be handed in is handed in later."""

import os
from pathlib import Path

import pytest

from cli.conftest import ORDER, Wain
from wain.base.errors import Refused
from wain.base.ids import DeviceId
from wain.databox.service import DataBox
from wain.device.seal import decode_seal
from wain.keys.secret import Secret
from wain.order.custody import CustodyRecord, Event, Handling, append, encode_record, record_hash
from wain.wire.calls import Unreachable
from wain.wire.databox import CustodyMoved

OWN = Secret(b"\7" * 32)


def events(wain: Wain) -> list[tuple[str, str]]:
    return [(each["event"], each["party"]) for each in wain("order", "show", ORDER, "--custody", "--json").json()]


def test_what_was_signed_without_a_network_is_handed_in_by_the_next_run(
    delivered: Wain, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wain, device = delivered, tmp_path / "device"
    wain("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", device)

    def cut(*_: object) -> None:
        raise Unreachable("https://service", "the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(DataBox, "hand_in", cut)
        job = wain("backup", "--json").json()
    assert job["notes"] == ["the chain of custody: https://service cannot be reached: the line is cut"]
    assert "safe to ship" in job["message"]
    assert len(events(wain)) == 3
    seal = decode_seal(next((tmp_path / "home" / "agent").glob("seed-*.seal")).read_bytes())
    with DataBox.open(tmp_path / "home" / "databox") as service:
        assert seal.custody_previous == record_hash(service.custody(ORDER)[-1])
    wain("order", "advance", ORDER, "PickedUp")
    assert wain("backup", "--json").json()["notes"] == []
    name = wain("vault", "list", "--json").json()[0]["name"]
    steps = ("written", "read back", "sealed", "handed over")
    assert events(wain)[4:] == [(step, name) for step in steps]
    # Done again, nothing is said twice.
    wain("backup")
    assert len(events(wain)) == 8


@pytest.mark.parametrize("body", [b"", b"{", b'{"version": 9}', b"[]", b"\xff\0\x80"], ids=range(5))
def test_notes_that_cannot_be_read_hinder_no_backup_and_are_named(
    delivered: Wain, tmp_path: Path, source: Path, body: bytes
) -> None:
    wain, device = delivered, tmp_path / "device"
    wain("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", device)
    written = wain("backup", "--json").json()
    notes = next((tmp_path / "home" / "agent").glob("custody-*.json"))
    notes.write_bytes(body)
    wain("order", "advance", ORDER, "PickedUp")
    waited = wain("backup", "--json").json()
    wain("order", "advance", ORDER, "AtAzureDC")
    wain("order", "copy", ORDER, device)
    imported = wain("backup", "--json").json()
    assert "safe to ship" in written["message"]
    assert (waited["state"], imported["message"]) == ("waiting", "Job Completed")
    for job in (waited, imported):
        assert any(notes.name in said for said in job["notes"]), job
    assert notes.read_bytes() == body, "what may still be of use to somebody is left"


def test_a_device_is_not_erased_before_its_server_has_counter_signed(
    delivered: Wain, tmp_path: Path, source: Path
) -> None:
    wain, device = delivered, tmp_path / "device"
    wain("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", device)
    wain("backup")
    wain("order", "advance", ORDER, "PickedUp")
    wain("order", "advance", ORDER, "AtAzureDC")
    wain("order", "copy", ORDER, device)
    refused = wain("device", "erase", ORDER, device, code=1)
    assert "has no countersigned receipt: it may exist only here" in refused.err
    assert (device / "PageBlob").is_dir()
    assert "erased" not in [event for event, _ in events(wain)]
    wain("backup")
    wain("device", "erase", ORDER, device)
    said = events(wain)
    assert [event for event, _ in said][-3:] == ["imported", "confirmed", "erased"]
    assert said[-3][1] == "vault"
    assert said[-2][1] == wain("vault", "list", "--json").json()[0]["name"]
    assert "signed" in wain("order", "show", ORDER, "--custody").out


def _flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def _step(chain: list[CustodyRecord], **changes: object) -> Handling:
    tail = chain[-1]
    fields = {"event": Event.WRITTEN, "order": tail.order, "device": tail.device, "at": tail.at, "party": "server"}
    return Handling(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["event", "order", "device", "party", "key", "signature", "short", "tail"])
def test_a_record_that_is_none_for_this_chain_is_refused_and_changes_nothing(
    delivered: Wain, tmp_path: Path, case: str
) -> None:
    del delivered
    with DataBox.open(tmp_path / "home" / "databox") as service:
        chain = service.custody(ORDER)
        good = append(chain[-1], _step(chain), OWN)
        service.hand_in(ORDER, encode_record(good))
        service.hand_in(ORDER, encode_record(good))
        before = service.custody(ORDER)
        assert before == [*chain, good]
        tail = good
        body = {
            "event": lambda: encode_record(append(tail, _step(before, event=Event.ERASED), OWN)),
            "order": lambda: encode_record(append(None, _step(before, order="another"), OWN)),
            "device": lambda: encode_record(append(None, _step(before, device=DeviceId(os.urandom(16))), OWN)),
            "party": lambda: encode_record(append(tail, _step(before, party="Data Box service"), Secret(b"\1" * 32))),
            "key": lambda: encode_record(append(tail, _step(before, party="another server"), OWN)),
            "signature": lambda: _flipped(encode_record(append(tail, _step(before), OWN))),
            "short": lambda: encode_record(append(tail, _step(before), OWN))[:-1],
            "tail": lambda: encode_record(append(chain[-1], _step(before, event=Event.SEALED), OWN)),
        }[case]()
        with pytest.raises(CustodyMoved if case == "tail" else Refused):
            service.hand_in(ORDER, body)
        assert service.custody(ORDER) == before
        service.check_custody(ORDER)
