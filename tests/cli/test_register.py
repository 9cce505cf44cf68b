"""Registering: once, again, and after an interruption."""

import stat
from pathlib import Path

import pytest
from blake3 import blake3

from wain.agent.home import AgentHome
from wain.keys.phrases import recovery_from_text

from .conftest import Result, Wain


def register(wain: Wain, tmp_path: Path, passphrase: Path, code: int = 0) -> Result:
    vault = f"file://{tmp_path}/vault"
    files = ("--passphrase-file", passphrase, "--recovery-key-file", tmp_path / "recovery")
    return wain("register", "--vault", vault, "--name", "files-1", *files, "--json", code=code)


def test_the_recovery_key_is_written_for_its_owner_alone(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    assert register(wain, tmp_path, passphrase).json()["state"] == "IRPending"
    written = tmp_path / "recovery"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    recovery_from_text(written.read_text())
    assert not (tmp_path / "home" / "agent" / "recovery.pending").exists()


def test_registering_again_changes_nothing(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    first = register(wain, tmp_path, passphrase).json()
    key = (tmp_path / "recovery").read_bytes()
    assert register(wain, tmp_path, passphrase).json() == first
    assert (tmp_path / "recovery").read_bytes() == key


def test_another_vault_is_refused(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    register(wain, tmp_path, passphrase)
    assert "already" in wain("register", "--vault", tmp_path / "other", code=1).err


def test_a_file_that_is_there_is_never_overwritten(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    (tmp_path / "recovery").write_text("somebody's only copy of something\n")
    assert "never overwritten" in register(wain, tmp_path, passphrase, code=1).err
    assert (tmp_path / "recovery").read_text() == "somebody's only copy of something\n"


def test_a_recovery_key_of_another_try_is_not_taken_for_ours(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    register(wain, tmp_path, passphrase)
    (tmp_path / "home").rename(tmp_path / "elsewhere")
    assert "never overwritten" in register(wain, tmp_path, passphrase, code=1).err


def test_an_interrupted_registration_goes_on_with_its_recovery_key(
    wain: Wain, tmp_path: Path, passphrase: Path
) -> None:
    register(wain, tmp_path, passphrase)
    written = (tmp_path / "recovery").read_bytes()
    # As a kill right after the key was written leaves it: the marker, the key, no registration.
    for path in (tmp_path / "home" / "agent").iterdir():
        if path.is_file():
            path.unlink()
    home = AgentHome(tmp_path / "home")
    home.save_pending_recovery(blake3(recovery_from_text(written.decode()).raw).digest())
    register(wain, tmp_path, passphrase)
    assert (tmp_path / "recovery").read_bytes() == written


@pytest.mark.parametrize(
    ("text", "words"), [("short", "5 characters"), ("sixteen chars \u00e4\u00f6\u00fc", "printable ASCII")]
)
def test_a_weak_passphrase_is_refused_by_its_fault(wain: Wain, tmp_path: Path, text: str, words: str) -> None:
    weak = tmp_path / "weak"
    weak.write_text(text + "\n", encoding="utf-8")
    said = register(wain, tmp_path, weak, code=1)
    assert words in said.err
    assert text not in said.err
    assert not (tmp_path / "recovery").exists()
