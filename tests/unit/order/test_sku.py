import pytest

from wain.base.errors import Refused
from wain.order.sku import DATA_BOX, DATA_BOX_DISK, SKUS, Sku, check_fits, find_sku
from wain.policy.capacity import CAPACITIES


def test_the_table_is_the_seeds():
    assert find_sku("DataBoxDisk") == Sku("DataBoxDisk", 7_200_000_000_000, 7_000_000_000_000, 100_000, may_span=False)
    assert find_sku("DataBox").limit_bytes == 80_000_000_000_000


def test_the_policys_table_agrees():
    assert {row.sku: row.limit_bytes for row in CAPACITIES} == {sku.name: sku.limit_bytes for sku in SKUS.values()}


def test_an_unknown_sku_names_the_known():
    with pytest.raises(Refused, match="'DataBoxHeavy'") as caught:
        find_sku("DataBoxHeavy")
    assert "DataBox, DataBoxDisk" in caught.value.hint


def test_a_custom_sku():
    shelf = Sku("shelf", 10, 10, 10, may_span=True)
    assert find_sku("shelf", {"shelf": shelf}) is shelf
    assert find_sku("DataBox", {"shelf": shelf}) is DATA_BOX
    check_fits(shelf, 1000, 1000)


@pytest.mark.parametrize("row", [("", 1, 1, 1), ("a", 0, 1, 1), ("a", 1, -1, 1), ("a", 1, 1, 0)])
def test_senseless_skus(row):
    with pytest.raises(Refused):
        Sku(*row)


@pytest.mark.parametrize(
    ("size", "files", "reason"),
    [
        (7_000_000_000_000, 100_000, None),
        (7_000_000_000_001, 1, "holds"),
        (7_200_000_000_001, 1, "takes from one server"),
        (1, 100_001, "100,001 page blobs"),
    ],
)
def test_fits(size, files, reason):
    if reason is None:
        check_fits(DATA_BOX_DISK, size, files)
    else:
        with pytest.raises(Refused, match=reason):
            check_fits(DATA_BOX_DISK, size, files)
