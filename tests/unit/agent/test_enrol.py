"""Registering: repeatable after any cut, and keys are never overwritten."""

from pathlib import Path

import pytest

from unit.agent.engine import PASSPHRASE, RECOVERY, Clock, Faulty
from wain.agent.enrol import EnrolRequest, enrol
from wain.agent.home import AgentHome
from wain.agent.unlock import OpenKeys, unlock
from wain.base.errors import Refused, WriteFailed
from wain.keys.secret import Secret, write_keys
from wain.keys.slots import CHEAPEST, WrongPassphrase, WrongRecoveryKey, decode_slots
from wain.vault.service import Vault

REQUEST = EnrolRequest("server", "file:///v", PASSPHRASE, RECOVERY, CHEAPEST)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.open(tmp_path / "vault", clock=Clock())


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(tmp_path / "home")


def request(passphrase: str = PASSPHRASE, recovery: Secret = RECOVERY, url: str = "file:///v") -> EnrolRequest:
    return EnrolRequest("server", url, passphrase, recovery, CHEAPEST)


def test_the_server_keeps_what_writes_and_nothing_that_reads(home: AgentHome, vault: Vault) -> None:
    registration = enrol(home, vault, REQUEST, Clock()())
    secret = unlock(vault, registration.id, PASSPHRASE)
    assert secret == unlock(vault, registration.id, RECOVERY)
    assert home.require_keys().write == write_keys(secret)
    for path in home.root.rglob("*"):
        if path.is_file():
            assert secret.raw not in path.read_bytes()
            assert secret.raw.hex() not in path.read_text(errors="replace")
    assert not (home.agent / "slots.pending").exists()
    assert OpenKeys.of(secret).key.public == decode_slots(vault.key_slots(registration.id)).restore_public
    with pytest.raises(WrongPassphrase):
        unlock(vault, registration.id, "another long passphrase")
    with pytest.raises(WrongRecoveryKey):
        unlock(vault, registration.id, Secret(b"x" * 32))


def test_again_is_the_same_registration(home: AgentHome, vault: Vault) -> None:
    first = enrol(home, vault, REQUEST, Clock()())
    assert enrol(home, vault, request("another long passphrase"), Clock()()) == first
    with pytest.raises(Refused, match="registered with"):
        enrol(home, vault, request(url="file:///other"), Clock()())


def test_a_weak_passphrase_leaves_nothing(home: AgentHome, vault: Vault) -> None:
    with pytest.raises(Refused):
        enrol(home, vault, request("short"), Clock()())
    assert not home.root.exists()


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_at_the_vault_is_gone_on_from(home: AgentHome, vault: Vault, after: bool) -> None:
    with pytest.raises(WriteFailed):
        enrol(home, Faulty(vault, "register", after=after), REQUEST, Clock()())
    keys = home.require_keys()
    registration = enrol(home, vault, REQUEST, Clock()())
    assert registration.id == keys.registration
    assert len(vault.registrations()) == 1
    assert unlock(vault, registration.id, PASSPHRASE)


@pytest.mark.parametrize("cut", ["save_pending_slots", "save_keys", "save_enrolment", "forget_pending"])
@pytest.mark.parametrize("after", [False, True])
def test_a_cut_at_any_local_write_is_gone_on_from(home, vault, cut: str, after: bool, monkeypatch) -> None:
    real = getattr(AgentHome, cut)

    def strike(self: AgentHome, *args: object) -> None:
        if after:
            real(self, *args)
        raise WriteFailed("the home", "cut")

    with monkeypatch.context() as patch, pytest.raises(WriteFailed):  # noqa: PT012
        patch.setattr(AgentHome, cut, strike)
        enrol(home, vault, REQUEST, Clock()())
    registration = enrol(home, vault, REQUEST, Clock()())
    assert home.require_enrolment().registration == registration
    assert home.require_keys().registration == registration.id
    assert home.require_keys().write == write_keys(unlock(vault, registration.id, PASSPHRASE))


def test_a_second_try_with_another_passphrase_after_the_vault_heard_is_refused(home, vault) -> None:
    with pytest.raises(WriteFailed):
        enrol(home, Faulty(vault, "register", after=True), REQUEST, Clock()())
    for other in (request("another long passphrase"), request(recovery=Secret(b"x" * 32))):
        with pytest.raises(Refused, match="another passphrase or recovery key"):
            enrol(home, vault, other, Clock()())
    assert enrol(home, vault, REQUEST, Clock()())


def test_before_the_vault_heard_another_passphrase_begins_anew(home: AgentHome, vault: Vault) -> None:
    with pytest.raises(WriteFailed):
        enrol(home, Faulty(vault, "register"), REQUEST, Clock()())
    registration = enrol(home, vault, request("another long passphrase"), Clock()())
    assert unlock(vault, registration.id, "another long passphrase")


def test_the_keys_of_a_registration_are_never_overwritten(home: AgentHome, vault: Vault) -> None:
    """enrolment.json is lost: beginning anew would destroy the signing key of a chain that exists."""
    enrol(home, vault, REQUEST, Clock()())
    keys = (home.agent / "agent.keys").read_bytes()
    (home.agent / "enrolment.json").unlink()
    with pytest.raises(Refused, match="holds the keys"):
        enrol(home, vault, REQUEST, Clock()())
    assert (home.agent / "agent.keys").read_bytes() == keys
