"""Where a vault is: said once, kept beside its objects, and no stray."""

from pathlib import Path

import pytest

from wain.base.errors import Refused
from wain.vault.place import PLACE_FILE, VaultPlace, read_place, set_place
from wain.vault.service import Vault

HERE = VaultPlace("sub-1", "westeurope")


def test_a_place_is_said_once_and_is_part_of_the_vault(tmp_path: Path) -> None:
    with Vault.open(tmp_path / "vault") as vault:
        assert read_place(tmp_path / "vault") is None
        for _ in range(2):
            assert set_place(tmp_path / "vault", HERE) == HERE
        with pytest.raises(Refused, match="is in subscription sub-1, region westeurope already"):
            set_place(tmp_path / "vault", VaultPlace("sub-2"))
        assert read_place(tmp_path / "vault") == HERE
        report = vault.verify()
        assert not report.findings
        assert not report.strays


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"version":2,"subscription":"a","region":""}', b'{"version":1,"subscription":"","region":""}',
     b'{"version":1,"subscription":"a\\u0007","region":""}', b"[" * 5000],
    ids=["empty", "a list", "nothing", "another version", "no subscription", "a bell", "deep"],
)  # fmt: skip
def test_a_damaged_place_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    (tmp_path / PLACE_FILE).write_bytes(body)
    with pytest.raises(Refused):
        read_place(tmp_path)


def test_a_region_alone_is_no_place() -> None:
    with pytest.raises(Refused, match="needs a subscription"):
        VaultPlace("", "westeurope")
