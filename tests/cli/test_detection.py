"""Detection of attached devices, and what is said when there is none."""

from pathlib import Path

import pytest

from wain.cli import devices
from wain.device import find

from .conftest import ORDER, Wain


def test_s69_s70_a_detection_that_finds_nothing_says_how_to_give_a_path(
    delivered: Wain, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tmp_path / "mountinfo"
    nothing.write_text("")
    monkeypatch.setattr(find, "_MOUNTS", str(nothing))
    monkeypatch.setattr(devices, "locked_now", lambda _: [])  # Other tests attach locked disks to this machine.
    said = delivered("device", "detect").out
    assert "No attached device holds PageBlob. A path can be given with `wain policy set --device PATH`." in said
    assert delivered("device", "detect", "--json").json() == []
    road = ("--include", source, "--initial", "offline", "--order", ORDER, "--device", tmp_path / "device")
    delivered("policy", "set", *road)
    assert delivered("policy", "show", "--json").json()["device"] == str(tmp_path / "device")


def test_s75_s76_the_policy_is_saved_with_its_offline_configuration_and_shown(
    delivered: Wain, tmp_path: Path, source: Path
) -> None:
    road = ("--include", source, "--initial", "offline", "--order", ORDER, "--device", tmp_path / "device")
    confirmed = delivered("policy", "set", *road, "--json").json()
    assert confirmed == delivered("policy", "show", "--json").json()
    assert (confirmed["order"], confirmed["device"]) == (ORDER, str(tmp_path / "device"))
    assert confirmed["initial"] == "offline"
