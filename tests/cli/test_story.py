"""The commands of the story, their words and their JSON."""

import os
import re
import shutil
from pathlib import Path

import pytest

from wain.cli.inspect import _explain

from .conftest import ORDER, Wain

WAITING = "Waiting for Azure Data Box job to be completed"


def offline(wain: Wain, tmp_path: Path, source: Path) -> None:
    device = tmp_path / "device"
    wain("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", device)


def whole_story(wain: Wain, tmp_path: Path, source: Path) -> None:
    offline(wain, tmp_path, source)
    wain("backup")
    wain("order", "advance", ORDER, "PickedUp")
    wain("order", "advance", ORDER, "AtAzureDC")
    wain("order", "copy", ORDER, tmp_path / "device")
    wain("backup")


def test_s65_s66_d2_only_a_delivered_order_can_be_chosen(registered: Wain, tmp_path: Path, source: Path) -> None:
    registered("account", "create", "seedaccount")
    registered("order", "create", ORDER, "--account", "seedaccount")
    said = registered("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, code=1)
    assert "DeviceOrdered, and only a Delivered order" in said.err


def test_s37_s38_an_account_without_page_blobs_is_refused_with_the_reason(registered: Wain) -> None:
    registered("account", "create", "cold", "--kind", "BlobStorage")
    said = registered("order", "create", ORDER, "--account", "cold", code=1)
    assert "no page blobs" in said.err
    assert "Storage V2 (general purpose v2)" in said.err


def test_s72_d3_an_empty_mount_point_is_no_device(delivered: Wain, tmp_path: Path, source: Path) -> None:
    (tmp_path / "mnt").mkdir()
    args = ("--include", source, "--initial", "offline", "--order", ORDER, "--device", tmp_path / "mnt")
    assert "PageBlob" in delivered("policy", "set", *args, code=1).err
    assert list((tmp_path / "mnt").iterdir()) == []


def test_s77_s80_s82_s83_s84_d7_the_words_of_the_seed(delivered: Wain, tmp_path: Path, source: Path) -> None:
    wain = delivered
    offline(wain, tmp_path, source)
    assert "safe to ship" in wain("backup").out
    assert wain("points", "--json").json() == []
    wain("order", "advance", ORDER, "PickedUp")
    waiting = wain("backup", "--json").json()
    assert (waiting["message"], waiting["state"]) == (WAITING, "waiting")
    wain("order", "advance", ORDER, "AtAzureDC")
    assert wain("order", "copy", ORDER, tmp_path / "device", "--json").json()["stage"] == "Completed"
    assert wain("backup").out.splitlines()[0] == "Job Completed"
    states = {point["state"] for point in wain("points", "--json").json()}
    assert states == {"complete"}
    assert [job["message"] for job in wain("jobs", "--json").json()][1:] == [WAITING, "Job Completed"]


def test_restore_and_its_exit_codes(delivered: Wain, tmp_path: Path, source: Path, passphrase: Path) -> None:
    wain = delivered
    whole_story(wain, tmp_path, source)
    to = tmp_path / "back"
    said = wain("restore", "latest", "--to", to, "--passphrase-file", passphrase, "--json").json()
    assert said["problems"] == []
    assert said["damaged"] == []
    restored = Path(f"{to}{source}")
    assert (restored / "large").read_bytes() == (source / "large").read_bytes()
    assert os.readlink(restored / "link") == "notes/1.txt"
    by_key = ("--recovery-key-file", tmp_path / "recovery")
    wain("restore", "latest", source / "notes" / "3.txt", "--to", tmp_path / "one", *by_key)
    assert Path(f"{tmp_path}/one{source}/notes/3.txt").read_text() == (source / "notes" / "3.txt").read_text()
    wrong = tmp_path / "wrong"
    wrong.write_text("this is not the passphrase\n")
    assert "passphrase is wrong" in wain("ls", "latest", "--passphrase-file", wrong, code=1).err
    assert "--passphrase-file" in wain("ls", "latest", code=1).err
    assert "--to" in wain("restore", "latest", code=1).err
    names = [entry["name"] for entry in wain("ls", "latest", source, *by_key, "--json").json()]
    assert names == ["large", "link", "notes"]


def test_damage_ends_with_code_4_and_is_named(delivered: Wain, tmp_path: Path, source: Path) -> None:
    wain = delivered
    whole_story(wain, tmp_path, source)
    assert wain("verify", "--read-data", "--json").json()["findings"] == []
    packs = sorted((tmp_path / "vault" / "objects" / "packs").rglob("*"), key=lambda path: path.is_file())
    pack = packs[-1]
    pack.chmod(0o600)
    with open(pack, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 0x10]))
    (finding,) = wain("verify", "--read-data", "--json", code=4).json()["findings"]
    assert finding["pack"] == pack.name
    assert finding["leaf"] == 0
    assert pack.name in wain("vault", "verify", code=4).out
    assert pack.name in wain("vault", "verify", "--read-data", "--json", code=4).out


def test_a_skipped_file_ends_with_code_3(registered: Wain, source: Path) -> None:
    registered("policy", "set", "--include", source, "--include", source.parent / "gone")
    said = registered("backup", code=3)
    assert f"{source.parent}/gone: no such file or directory" in said.out


def test_a_failed_job_is_still_the_last_line_of_json(delivered: Wain, tmp_path: Path, source: Path) -> None:
    offline(delivered, tmp_path, source)
    shutil.rmtree(tmp_path / "device")
    said = delivered("backup", "--json", code=1)
    assert said.json()["state"] == "failed"
    assert "hint" in said.err


def test_an_erasure_needs_the_receipt(delivered: Wain, tmp_path: Path, source: Path) -> None:
    wain = delivered
    offline(wain, tmp_path, source)
    wain("backup")
    wain("order", "advance", ORDER, "PickedUp")
    wain("order", "advance", ORDER, "AtAzureDC")
    wain("order", "copy", ORDER, tmp_path / "device")
    wain("device", "erase", ORDER, tmp_path / "device", code=1)
    assert wain("device", "verify", tmp_path / "device", "--json").json()["findings"] == []
    wain("backup")
    assert len(wain("device", "erase", ORDER, tmp_path / "device", "--json").json()["seals"]) == 1
    assert [step["event"] for step in wain("order", "custody", ORDER, "--json").json()][-1] == "erased"


@pytest.fixture
def told(delivered: Wain, tmp_path: Path, source: Path) -> Wain:
    whole_story(delivered, tmp_path, source)
    (source / "new").write_text("new\n")
    delivered("backup")
    return delivered


def test_every_reading_command_speaks_json(told: Wain, tmp_path: Path) -> None:
    vault = f"file://{tmp_path}/vault"
    for args in (
        ("account", "list"), ("account", "show", "seedaccount"), ("order", "list"), ("order", "show", ORDER),
        ("order", "verify", ORDER), ("order", "custody", ORDER), ("device", "detect"),
        ("device", "status", tmp_path / "device"), ("vault", "list", vault), ("vault", "show", vault),
        ("vault", "gc", vault, "--dry-run"), ("vault", "scrub", vault, "--slice", "1/2"), ("vault", "expire", vault),
        ("vault", "rebuild", vault), ("points",), ("jobs",), ("policy", "show"), ("verify",), ("doctor",),
        ("inspect", tmp_path / "device" / "wain-device.label"),
    ):  # fmt: skip
        said = told(*args, "--json")
        assert said.out.count("\n") == 1, args
        said.json()
        assert told(*args).out, args


def test_every_file_that_wain_writes_is_explained(told: Wain, tmp_path: Path) -> None:
    told_of = set()
    for place in ("home", "vault", "device", "recovery"):
        for path in sorted([tmp_path / place, *(tmp_path / place).rglob("*")]):
            ours = path.is_file() and path.stat().st_size and not path.name.endswith(("-wal", "-shm"))
            if ours:  # A lock is an empty file; SQLite's own side files are SQLite's.
                told_of.add(_explain(str(path)).what)
    assert len(told_of) >= 14, told_of


def test_a_file_of_others_is_refused_with_what_is_known(wain: Wain, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"ID3 la la la")
    said = wain("inspect", tmp_path / "song.mp3", code=1)
    assert "is not a file that Wain writes" in said.err
    assert "key slots" in said.err


def test_inspect_names_a_damaged_pack(told: Wain, tmp_path: Path) -> None:
    blob = next((tmp_path / "device" / "PageBlob").rglob("packs-00000"))
    with open(blob, "r+b") as file:
        file.seek(6000)
        file.write(b"\0damaged\0")
    said = told("inspect", blob, "--json").json()
    assert "leaf 0" in said["rows"][0][-1]
    assert said["rows"][-1][-1] == "whole"


def test_an_item_named_through_a_link_is_protected_where_it_is(registered: Wain, tmp_path: Path, source: Path) -> None:
    (tmp_path / "shortcut").symlink_to(source)
    said = registered("policy", "set", "--include", tmp_path / "shortcut", "--json").json()
    assert said["includes"] == [str(source)]
    assert registered("backup", "--json").json()["files"] > 0


def test_parity_is_set_kept_and_shown(delivered: Wain, tmp_path: Path, source: Path) -> None:
    wain = delivered
    offline(wain, tmp_path, source)
    assert wain("policy", "show", "--json").json()["parityPercent"] == 6
    for said, percent, shown in (("12%", 12, "12 %"), ("off", 0, "off"), ("3", 3, "3 %")):
        wain("policy", "set", "--parity", said)
        wain("policy", "set", "--retention", "30d")
        assert wain("policy", "show", "--json").json()["parityPercent"] == percent
        assert re.search(rf"^parity +{shown}$", wain("policy", "show").out, re.MULTILINE)
    wain("backup")
    (blob,) = (tmp_path / "device" / "PageBlob").rglob("parity-*")
    said = wain("inspect", blob, "--json").json()
    assert {row[3] for row in said["rows"]} == {"1 of 32 in a row"}
    assert {row[-1] for row in said["rows"]} == {"whole"}
    assert wain("device", "verify", tmp_path / "device", "--json").json()["findings"] == []
