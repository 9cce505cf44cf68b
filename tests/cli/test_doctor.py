"""The doctor finds what would stop a backup, and says what to do."""

from pathlib import Path

import pytest

from wain.cli.measure import Extent

from .conftest import ORDER, Wain


def findings(wain: Wain, code: int = 0) -> dict[str, tuple[str, str]]:
    return {
        each["what"] + ":" + each["level"]: (each["seen"], each["cure"])
        for each in wain("doctor", "--json", code=code).json()
    }


def test_a_new_machine_is_told_to_register(wain: Wain) -> None:
    _, cure = findings(wain, 1)["registration:bad"]
    assert "wain register" in cure


def test_a_registered_server_is_told_to_make_a_policy(registered: Wain) -> None:
    _, cure = findings(registered, 1)["policy:bad"]
    assert "wain policy set" in cure


def test_a_ready_server_has_nothing_bad(registered: Wain, source: Path) -> None:
    registered("policy", "set", "--include", source)
    registered("backup")
    found = findings(registered)
    assert not [name for name in found if name.endswith(":bad")]
    assert "the newest is complete" in found["points:ok"][0]


def test_keys_that_others_may_read_are_bad(registered: Wain, source: Path, tmp_path: Path) -> None:
    registered("policy", "set", "--include", source)
    (tmp_path / "home" / "agent" / "agent.keys").chmod(0o644)
    seen, cure = findings(registered, 1)["keys:bad"]
    assert "0644" in seen
    assert cure.startswith("chmod 600")


def test_a_vault_that_is_not_mounted_is_bad_and_hides_nothing_else(
    registered: Wain, source: Path, tmp_path: Path
) -> None:
    registered("policy", "set", "--include", source)
    (tmp_path / "vault").rename(tmp_path / "unmounted")
    found = findings(registered, 1)
    assert "there is no vault" in found["vault:bad"][0]
    assert "policy:ok" in found
    assert not (tmp_path / "vault").exists()


def offline(wain: Wain, tmp_path: Path, source: Path) -> None:
    device = tmp_path / "device"
    wain("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", device)


def test_a_device_that_can_be_written_is_measured_against_the_items(
    delivered: Wain, tmp_path: Path, source: Path
) -> None:
    offline(delivered, tmp_path, source)
    found = findings(delivered)
    assert "the items hold 2.1 MB" in found["size:ok"][0]
    assert "can be written" in found["device:ok"][0]


@pytest.mark.parametrize(
    ("terabytes", "words", "cure"),
    [
        (9.1, "are more than the 7.2 TB a DataBoxDisk takes from one server", "larger SKU"),
        (101, "that one server may seed offline", "AskAzureBackupTeam@microsoft.com"),
    ],
)
def test_items_beyond_the_table_of_sizes_are_named_before_anything_is_written(
    delivered: Wain,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    terabytes: float,
    words: str,
    cure: str,
) -> None:
    offline(delivered, tmp_path, source)
    monkeypatch.setattr("wain.cli.doctor.measure", lambda *_: Extent(1, int(terabytes * 10**12)))
    seen, said = findings(delivered, 1)["size:bad"]
    assert words in seen
    assert cure in said
