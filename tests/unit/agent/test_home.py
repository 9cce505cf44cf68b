"""The agent's home: what is written is read, what makes no sense is refused by name, one job at a time."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wain.agent import home as homes
from wain.agent.home import AgentHome, Enrolment, Head, SeedRecord
from wain.base.errors import Refused, WainError
from wain.base.ids import PointId, RegistrationId
from wain.job.job import Job, JobKind, JobState, Problem
from wain.job.seeding import SeedState
from wain.policy.policy import InitialBackup, Policy
from wain.wire.vault import ProtectionState, Registration

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HEAD = Head(7, PointId(b"p" * 32))
SEED = SeedRecord("ab" * 16, "order-1", SeedState.WRITING, "cd" * 16, "/mnt/disk", "wain-x", "00" * 32, "11" * 32)
REGISTRATION = Registration(RegistrationId(b"r" * 16), "näme", b"s" * 32, b"k" * 1216, ProtectionState.PROTECTED, NOW)
POLICY = Policy(
    (b"/data", b"/odd \xff\n name"), ("*.iso",), True, 10**12, True, initial=InitialBackup.OFFLINE, order="o-1",
    parity_percent=9,
)  # fmt: skip
JOB = Job(
    "ab12", JobKind.BACKUP, JobState.COMPLETED_WITH_WARNINGS, NOW, NOW, "done", 1, 2, 3, 4, 5, 6, HEAD.point,
    (Problem(b"/odd \xff name", "it \udcff broke"),),
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(tmp_path / "home")


def test_nothing_is_made_by_looking(home: AgentHome) -> None:
    assert (
        home.enrolment()
        is home.keys()
        is home.policy()
        is home.seed()
        is home.head()
        is home.pinned_vault_key()
        is None
    )
    assert home.jobs() == []
    for need in (home.require_enrolment, home.require_keys, home.require_policy):
        with pytest.raises(Refused) as caught:
            need()
        assert caught.value.hint
    assert not home.root.exists()


def test_a_policy_from_before_there_was_parity_has_the_usual_amount(home: AgentHome) -> None:
    home.save_policy(POLICY)
    path = home.agent / "policy.json"
    body = json.loads(path.read_text())
    assert body.pop("parityPercent") == 9
    path.write_text(json.dumps(body))
    assert home.policy() == replace(POLICY, parity_percent=6)
    path.write_text(json.dumps(body | {"parityPercent": 7}))
    with pytest.raises(Refused, match="parity of 7 %"):
        home.policy()


def test_records_round_trip(home: AgentHome) -> None:
    home.save_head(HEAD)
    home.save_seed(SEED)
    home.save_policy(POLICY)
    home.save_enrolment(Enrolment(REGISTRATION, "file:///v"))
    home.save_job(JOB)
    home.pin_vault_key(b"k" * 32)
    home.save_pending_recovery(b"d" * 32)
    home.save_pending_slots(b"slots")
    again = AgentHome(home.root)
    assert again.head() == HEAD
    assert again.seed() == SEED
    assert again.policy() == POLICY
    assert again.enrolment() == Enrolment(REGISTRATION, "file:///v")
    assert again.jobs() == [JOB]
    assert again.pinned_vault_key() == b"k" * 32
    assert again.pending_recovery() == b"d" * 32
    assert again.pending_slots() == b"slots"
    again.forget_pending()
    again.forget_head()
    assert again.pending_slots() is again.pending_recovery() is again.head() is None


def test_nobody_else_may_look(home: AgentHome) -> None:
    home.save_head(HEAD)
    assert (home.agent.stat().st_mode & 0o777, (home.agent / "head.json").stat().st_mode & 0o777) == (0o700, 0o600)


READERS = {
    "enrolment.json": AgentHome.enrolment,
    "policy.json": AgentHome.policy,
    "seed.json": AgentHome.seed,
    "head.json": AgentHome.head,
    "vault-key.json": AgentHome.pinned_vault_key,
    "recovery.pending": AgentHome.pending_recovery,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"7", b"null", b"{}", b'{"seq": "x", "point": 5}', b"\xff\xfe", b'{"state": "odd"}']
)
def test_a_record_that_makes_no_sense_is_refused_by_name(home: AgentHome, name: str, body: bytes) -> None:
    home.save_head(HEAD)
    (home.agent / name).write_bytes(body)
    with pytest.raises(Refused, match=name) as caught:
        READERS[name](home)
    assert caught.value.hint


def test_a_record_that_cannot_be_read_is_an_error_of_ours(home: AgentHome) -> None:
    home.save_head(HEAD)
    (home.agent / "head.json").unlink()
    (home.agent / "head.json").mkdir()
    with pytest.raises(WainError, match=r"head\.json"):
        home.head()


def test_a_damaged_job_record_stops_no_backup(home: AgentHome) -> None:
    home.save_job(JOB)
    (home.agent / "jobs/20260101-x.json").write_text("{ torn")
    (home.agent / "jobs/20260102-x.json").write_text(json.dumps({"id": 5}))
    assert home.jobs() == [JOB]


def test_old_job_records_give_way(home: AgentHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "KEEP_JOBS", 3)
    for number in range(6):
        home.save_job(Job(f"{number}", JobKind.BACKUP, JobState.COMPLETED, NOW + timedelta(minutes=number)))
    assert [job.id for job in home.jobs()] == ["3", "4", "5"]


def test_one_job_at_a_time(home: AgentHome) -> None:
    with home.lock(), pytest.raises(Refused, match="another job"), AgentHome(home.root).lock():
        pass
    with home.lock():
        pass
