"""`wain order sku`: disks of the operator's own, from their definition to what an agent may write on one."""

import os
from pathlib import Path

from .conftest import ORDER, Wain


def ordered(wain: Wain, tmp_path: Path, source: Path) -> None:
    wain("account", "create", "seedaccount")
    wain("order", "create", ORDER, "--account", "seedaccount", "--sku", "Own")
    (tmp_path / "device").mkdir()
    wain("device", "prepare", ORDER, tmp_path / "device")
    for stage in ("Dispatched", "Delivered"):
        wain("order", "advance", ORDER, stage)
    where = ("--order", ORDER, "--device", tmp_path / "device")
    wain("policy", "set", "--include", source, "--initial", "offline", *where)


def test_s35_an_own_kind_of_device_carries_a_seed(registered: Wain, tmp_path: Path, source: Path) -> None:
    wain = registered
    assert "64.0 MB" in wain("order", "sku", "add", "Own", "--size", "64MB").out
    assert [each["name"] for each in wain("order", "sku", "list", "--json").json()] == ["DataBoxDisk", "DataBox", "Own"]
    ordered(wain, tmp_path, source)
    assert "safe to ship" in wain("backup").out
    assert "order branch-office" in wain("order", "sku", "remove", "Own", code=1).err


def test_s21_s58_d5_a_seed_must_fit_on_its_one_device(registered: Wain, tmp_path: Path, source: Path) -> None:
    wain = registered
    (source / "noise").write_bytes(os.urandom(12_000_000))
    made = wain("order", "sku", "add", "Own", "--size", "2MB", "--files", "7", "--json").json()
    assert made == {"name": "Own", "limitBytes": 2_000_000, "usableBytes": 2_000_000, "maxFiles": 7, "maySpan": False}
    ordered(wain, tmp_path, source)
    [size] = [each for each in wain("doctor", "--json", code=1).json() if each["what"] == "size"]
    assert (size["level"], "2.0 MB a Own takes" in size["seen"]) == ("bad", True)
    said = wain("backup", code=1).err
    assert "Own" in said
    assert "2.0 MB" in said


def test_a_size_that_is_none(registered: Wain) -> None:
    assert "size" in registered("order", "sku", "add", "Own", "--size", "much", code=1).err
    assert registered("order", "sku", "list").out.splitlines()[-1].startswith("DataBox ")
