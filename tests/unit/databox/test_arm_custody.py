"""The chain of custody beside the ARM wire: who may read it, who may add to it, and what is refused."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from unit.databox.serving import ACCOUNT, ADA, BOB, EVE, GROUP, REGION, SUBSCRIPTION, Serve
from wain.base.errors import Refused
from wain.keys.secret import Secret
from wain.order.custody import CustodyRecord, Event, Handling, append, encode_record
from wain.order.order import OrderRequest
from wain.policy.endpoint import AZURE, Endpoint
from wain.wire import arm_databox
from wain.wire.arm_custody import chain_from
from wain.wire.databox import check_chain_of

NAME = "custody-1"
AGENT = Secret(b"\5" * 32)


@pytest.fixture(scope="module")
def prepared(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    serve.databox.create_order(OrderRequest(NAME, "DataBoxDisk", ACCOUNT, SUBSCRIPTION, REGION, GROUP))
    device = tmp_path_factory.mktemp("device")
    serve.databox.prepare_device(NAME, device)
    return serve


def path_of(name: str = NAME, group: str = GROUP) -> str:
    job = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.DataBox/jobs/{name}"
    return f"{job}/wainCustody?api-version=2025-07-01"


def following(serve: Serve, event: Event = Event.WRITTEN) -> bytes:
    tail = serve.databox.custody(NAME)[-1]
    step = Handling(event, NAME, tail.device, datetime(2026, 1, 2, tzinfo=UTC), "server")
    return encode_record(append(tail, step, AGENT))


def post(serve: Serve, name: str, body: Any, path: str = "") -> httpx.Response:
    with serve.http(name) as http:
        return http.post(path or path_of(), json=body)


def as_body(record: bytes) -> dict[str, str]:
    return {"record": base64.b64encode(record).decode()}


@pytest.fixture
def chain(prepared: Serve) -> Iterator[list[CustodyRecord]]:
    """The chain before a test that must not change it."""
    before = prepared.databox.custody(NAME)
    yield before
    assert prepared.databox.custody(NAME) == before


def test_who_may_read_an_order_reads_its_chain_and_adds_a_signed_word_once(prepared: Serve) -> None:
    record = following(prepared)
    before = prepared.databox.custody(NAME)
    for _ in range(2):
        assert post(prepared, BOB, as_body(record)).status_code == 204
    assert [encode_record(one) for one in prepared.databox.custody(NAME)] == [*map(encode_record, before), record]
    with prepared.http(BOB) as http:
        shown = chain_from(http.get(path_of()).json())
    check_chain_of(shown)
    assert list(shown.parties.values()) == ["Data Box service", "server"]


@pytest.mark.parametrize(
    ("name", "path", "status", "code"),
    [
        ("", path_of(), 401, "InvalidAuthenticationToken"),
        (EVE, path_of(), 403, "AuthorizationFailed"),
        (ADA, path_of("nobodys"), 404, "ResourceNotFound"),
        (ADA, path_of(group="other"), 404, "ResourceNotFound"),
        (ADA, path_of().partition("?")[0], 400, "MissingApiVersionParameter"),
    ],
)
@pytest.mark.usefixtures("chain")
def test_nobody_else_does(prepared: Serve, name: str, path: str, status: int, code: str) -> None:
    answers = [post(prepared, name, as_body(following(prepared)), path)]
    with prepared.http(name) as http:
        answers.append(http.get(path))
    for answer in answers:
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "InvalidRequestContent"),
        ([], 400, "InvalidRequestContent"),
        ({"record": 7}, 400, "InvalidRequestContent"),
        ({"record": "%%%"}, 400, "InvalidRequestContent"),
        ({"record": "A" * 10_000}, 400, "InvalidRequestContent"),
        ({"record": "A" * 300_000}, 413, "RequestContentTooLarge"),
        ({"record": ""}, 400, "CustodyRecordNotAccepted"),
        (as_body(b"W" * 288), 400, "CustodyRecordNotAccepted"),
    ],
    ids=["empty", "a list", "a number", "no base64", "too long", "far too long", "no bytes", "no record"],
)
@pytest.mark.usefixtures("chain")
def test_what_is_no_record_changes_nothing(prepared: Serve, body: Any, status: int, code: str) -> None:
    answer = post(prepared, ADA, body)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


@pytest.mark.usefixtures("chain")
def test_what_only_the_service_may_say_and_what_does_not_follow_the_end(prepared: Serve) -> None:
    refused = post(prepared, ADA, as_body(following(prepared, Event.ERASED)))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "CustodyRecordNotAccepted")
    tail = prepared.databox.custody(NAME)[-1]
    step = Handling(Event.SEALED, NAME, tail.device, tail.at, "server")
    ahead = append(append(tail, step, AGENT), step, AGENT)
    moved = post(prepared, ADA, as_body(encode_record(ahead)))
    assert (moved.status_code, moved.json()["error"]["code"]) == (412, "PreconditionFailed")


def test_nothing_of_it_is_ever_sent_to_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        credential = object()

        def token(self, _scope: str) -> Any:
            return lambda: pytest.fail("a token was asked for")

    monkeypatch.setattr(arm_databox, "Calls", lambda *_: pytest.fail("a call was made"))
    azure = arm_databox.ArmDataBox(Endpoint(AZURE, SUBSCRIPTION, GROUP), Nobody())  # type: ignore[arg-type]
    for ask in (lambda: azure.chain(NAME), lambda: azure.hand_in(NAME, b"")):
        with pytest.raises(Refused, match="Azure keeps no chain"):
            ask()
