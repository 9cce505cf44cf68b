import itertools
from datetime import UTC, datetime, timedelta

import pytest

from wain.base.errors import IllegalMove
from wain.order.order import DEAD, FINISHED, MOVES, AccountKind, Order, Stage, StageTime, advance

ROAD = ["DeviceOrdered", "DevicePrepared", "Dispatched", "Delivered", "PickedUp", "AtAzureDC", "DataCopy"]
ENDS = ["Completed", "CompletedWithWarnings", "CompletedWithErrors"]
LEGAL = (
    set(itertools.pairwise(ROAD))
    | {("DataCopy", end) for end in ENDS}
    | {(stage, "Aborted") for stage in ROAD}
    | {("DeviceOrdered", "Cancelled")}
)


@pytest.mark.parametrize(("now", "then"), list(itertools.product(Stage, Stage)))
def test_every_move(now, then):
    if (now.value, then.value) in LEGAL:
        assert advance(now, then) is then
    else:
        with pytest.raises(IllegalMove, match=f"order cannot go from {now.value} to {then.value}"):
            advance(now, then)


def test_ends_have_no_moves():
    assert not (FINISHED | DEAD) & set(MOVES)
    assert {stage.value for stage in FINISHED} == set(ENDS)


def test_an_order_is_where_its_history_ends():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    history = tuple(StageTime(stage, start + timedelta(days=at)) for at, stage in enumerate(list(Stage)[:4]))
    order = Order("seed-1", "DataBoxDisk", "acct", AccountKind.STORAGE_V2, "sub", "westeurope", None, history)
    assert order.stage is Stage.DELIVERED
