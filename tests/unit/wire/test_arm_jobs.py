"""Orders on the ARM wire: what is written is read back, and what is none is refused, whatever it is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wain.base.errors import Malformed
from wain.order.order import DEAD, FINISHED, MOVES, AccountKind, Order, Stage, StageTime
from wain.wire.arm_errors import STATUS, ArmRefused, Code
from wain.wire.arm_jobs import Job, changed_words, job_json, order_of, stages_json, wanted, words_json
from wain.wire.arm_paths import API_VERSIONS, account_of, check_version, skip_token, skipped

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


def order(*stages: Stage) -> Order:
    history = tuple(StageTime(stage, NOON + timedelta(hours=number)) for number, stage in enumerate(stages))
    return Order("o-1", "DataBoxDisk", "seeds", AccountKind.STORAGE_V2, "sub", "westeurope", None, history, "group")


def ways() -> list[tuple[Stage, ...]]:
    """Every way an order can go, to every stage on it."""
    found, open_ways = [], [(Stage.DEVICE_ORDERED,)]
    while open_ways:
        way = open_ways.pop()
        found.append(way)
        open_ways += [(*way, then) for then in sorted(MOVES.get(way[-1], frozenset()), key=lambda each: each.value)]
    return found


@pytest.mark.parametrize("way", ways(), ids=lambda way: way[-1].value)
def test_every_order_is_read_as_it_was_written(way: tuple[Stage, ...]) -> None:
    job = Job(order(*way), {}, 1)
    assert order_of(job_json(job, details=True)) == job.order
    listed = stages_json(job)
    assert len(listed) == 8
    ended = way[-1] in FINISHED | DEAD
    assert listed[-1]["stageName"] == (way[-1] if ended else Stage.COMPLETED).value
    assert [each["stageName"] for each in listed if "stageTime" in each] == [stage.value for stage in way]


@given(JSON, st.sampled_from(["id", "name", "location", "sku", "properties"]))
def test_what_is_no_order_is_malformed(value: Any, key: str) -> None:
    body = {**job_json(Job(order(Stage.DEVICE_ORDERED), {}, 1), details=True), key: value}
    try:
        order_of(body)
    except Malformed:
        return
    assert key in ("id", "name", "location", "sku")


@given(st.dictionaries(st.sampled_from(["properties", "sku", "location", "tags"]), JSON))
def test_any_request_is_understood_or_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ArmRefused):
        wanted(body)


@given(JSON)
def test_any_change_is_made_or_refused(details: Any) -> None:
    try:
        words, changes = changed_words({}, {"properties": {"details": details}})
    except ArmRefused:
        return
    assert changes <= {"contactDetails", "shippingAddress", "preferences", "reverseShippingDetails"}
    assert words == words_json({"details": {key: details[key] for key in changes}, "tags": {}} if changes else {
        "details": {}, "tags": {}})  # fmt: skip


@given(st.integers(0, 10**17))
def test_positions_come_back(position: int) -> None:
    assert skipped(skip_token(position)) == position


@given(st.text(max_size=80))
def test_any_other_token_is_refused(token: str) -> None:
    if token in ("", *map(skip_token, range(10))):
        return
    with pytest.raises(ArmRefused) as error:
        skipped(token)
    assert error.value.code is Code.SKIP_TOKEN


@given(st.text(max_size=80).filter(lambda text: text not in API_VERSIONS))
def test_resource_ids(text: str) -> None:
    with pytest.raises(ArmRefused):
        account_of(text)
    with pytest.raises(ArmRefused):
        check_version({"api-version": text})


def test_every_code_has_a_status_and_a_body() -> None:
    for code in Code:
        refused = ArmRefused(code, "a reason", "there", "Do this.")
        assert 400 <= refused.status < 600
        assert refused.body() == {"error": {"code": code.value, "message": "a reason. Do this.", "target": "there"}}
    assert set(STATUS) <= set(Code)


def test_etags_change_with_words_and_stages() -> None:
    job = Job(order(Stage.DEVICE_ORDERED), {}, 1)
    later = replace(job, order=order(Stage.DEVICE_ORDERED, Stage.CANCELLED))
    assert len({job.etag, later.etag, replace(job, version=2).etag}) == 3
