import pytest

from wain.base.errors import Refused
from wain.pageblob.parity import STRENGTHS
from wain.policy.capacity import expected_bytes, sku_for

TB = 10**12


@pytest.mark.parametrize(
    ("size", "sku"),
    [
        (0, "DataBoxDisk"),
        (7_200_000_000_000, "DataBoxDisk"),
        (7_200_000_000_001, "DataBox"),
        (80 * TB, "DataBox"),
    ],
)
def test_s17_s18_the_table(size, sku):
    assert sku_for(size).sku == sku


@pytest.mark.parametrize("size", [80 * TB + 1, 10**18])
def test_s19_s111_above_the_table_there_is_an_address(size):
    with pytest.raises(Refused, match=r"80\.0 TB") as caught:
        sku_for(size)
    assert "AskAzureBackupTeam@microsoft.com" in caught.value.hint


def test_less_than_nothing():
    with pytest.raises(Refused):
        sku_for(-1)


def test_s20_typical_compression():
    assert expected_bytes(100 * TB) == (80 * TB, 90 * TB)
    least, most = expected_bytes(100 * TB, STRENGTHS[6])
    assert 85 * TB <= least < 85 * TB + 4096, "two cells of parity for 32 of data, in whole blocks"
    assert most > 95 * TB
