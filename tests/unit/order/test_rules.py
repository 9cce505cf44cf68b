from datetime import UTC, datetime

import pytest

from wain.base.errors import Refused
from wain.order.order import AccountKind, Order, Stage, StageTime
from wain.order.rules import (
    check_account_kind,
    check_name,
    check_same_subscription,
    is_name,
    offered,
    region_warning,
)


@pytest.mark.parametrize("name", ["abc", "A-1", "a" * 24, "seed-2026-03", "0--0"])
def test_good_names(name):
    check_name(name)
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 25, "-ab", "ab-", "a b", "a_b", "a.b", "abc\n", "\u00e4bc", "a/b", "../x", "abc\0", "١٢٣"]
)
def test_bad_names(name):
    assert not is_name(name)
    with pytest.raises(Refused, match="cannot be the name of an order") as caught:
        check_name(name)
    assert "3 to 24" in caught.value.hint


@pytest.mark.parametrize("kind", [AccountKind.STORAGE_V2, AccountKind.STORAGE])
def test_accounts_with_page_blobs(kind):
    check_account_kind(kind)


def test_blob_storage_has_no_page_blobs():
    with pytest.raises(Refused, match="BlobStorage has no page blobs") as caught:
        check_account_kind(AccountKind.BLOB_STORAGE)
    assert "Storage V2 (general purpose v2)" in caught.value.hint


def test_one_subscription():
    check_same_subscription("6A1B", "6a1b")
    with pytest.raises(Refused, match=r"'one'.*'two'"):
        check_same_subscription("one", "two")


def test_a_region_is_advice():
    assert region_warning("westeurope", "WestEurope") is None
    warning = region_warning("westeurope", "eastus")
    assert warning is not None
    assert "westeurope" in warning
    assert "eastus" in warning


def test_only_delivered_orders_are_offered():
    def order(name: str, stage: Stage) -> Order:
        history = (StageTime(stage, datetime(2026, 1, 1, tzinfo=UTC)),)
        return Order(name, "DataBoxDisk", "acct", AccountKind.STORAGE_V2, "sub", "westeurope", None, history)

    orders = [order(stage.value, stage) for stage in Stage] + [order("second", Stage.DELIVERED)]
    assert [each.name for each in offered(orders)] == ["Delivered", "second"]
