"""What the agent remembers of its full reads."""

from datetime import timedelta
from pathlib import Path

import pytest

from unit.agent.engine import START, Clock
from unit.agent.points import RID
from wain.agent.home import AgentHome
from wain.agent.pack_checks import CheckLog, PackCheck, ages, encode_checks, load_checks
from wain.base.errors import Malformed
from wain.base.ids import PackId, RegistrationId
from wain.base.moment import to_ns
from wain.chunk.names import ChunkType
from wain.tree.manifest import PackRef


def pack(number: int) -> PackId:
    return PackId(number.to_bytes(32, "big"))


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(tmp_path)


def test_only_a_pack_found_whole_renews_its_age(home: AgentHome) -> None:
    clock = Clock()
    with CheckLog(home, RID, clock) as log:
        log.note(pack(1), whole=True)
        log.note(pack(2), whole=False)
    first = load_checks(home, RID)
    assert first[pack(1)].read_ns == first[pack(1)].whole_ns
    assert (first[pack(2)].whole, first[pack(2)].whole_ns) == (False, 0)
    with CheckLog(home, RID, clock) as log:
        log.note(pack(1), whole=False)
    (again, other) = load_checks(home, RID).values()
    assert (again.whole, again.whole_ns) == (False, first[pack(1)].whole_ns)
    assert again.read_ns > again.whole_ns
    assert other == first[pack(2)]


def test_what_was_read_is_kept_when_a_check_is_cut_short(home: AgentHome) -> None:
    def check() -> None:
        with CheckLog(home, RID, Clock()) as log:
            log.note(pack(1), whole=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check()
    assert list(load_checks(home, RID)) == [pack(1)]


def test_a_long_check_saves_every_minute(home: AgentHome) -> None:
    clock = Clock()
    log = CheckLog(home, RID, clock)
    log.note(pack(1), whole=True)
    assert load_checks(home, RID) == {}
    clock.now += timedelta(minutes=1)
    log.note(pack(2), whole=True)
    assert list(load_checks(home, RID)) == [pack(1), pack(2)]


def test_packs_that_no_point_needs_are_forgotten(home: AgentHome) -> None:
    with CheckLog(home, RID, Clock()) as log:
        for number in range(4):
            log.note(pack(number), whole=True)
    CheckLog(home, RID, Clock()).forget_others([pack(2), pack(9)])
    assert list(load_checks(home, RID)) == [pack(2)]


def test_another_registrations_file_does_not_count(home: AgentHome) -> None:
    with CheckLog(home, RegistrationId(b"o" * 16), Clock()) as log:
        log.note(pack(1), whole=True)
    assert load_checks(home, RID) == {}


def test_a_home_that_cannot_be_written_stops_no_check(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with CheckLog(AgentHome(tmp_path / "file"), RID, Clock()) as log:
        log.note(pack(1), whole=True)
    assert log.problem is not None


def test_ages_are_counted_by_group() -> None:
    days = {1: 0, 2: 1, 3: 2, 4: 40, 5: 400, 6: -3}
    at = {number: to_ns(START - timedelta(days=ago)) for number, ago in days.items()}
    checks = {pack(number): PackCheck(whole=True, read_ns=ns, whole_ns=ns) for number, ns in at.items()}
    checks[pack(7)] = PackCheck(whole=False, read_ns=to_ns(START), whole_ns=0)
    refs = [PackRef(pack(number), ChunkType.DATA, 10) for number in range(1, 9)]
    found = ages(refs, checks, START)
    assert (found.packs, found.never, found.never_bytes, found.damaged) == (8, 2, 20, 1)
    assert [(group.up_to_days, group.packs) for group in found.groups] == [
        (1, 3), (7, 1), (30, 0), (90, 1), (365, 0), (None, 1),
    ]  # fmt: skip
    assert found.oldest == START - timedelta(days=400)
    assert found.newest == START + timedelta(days=3)


@pytest.mark.parametrize(
    "check", [PackCheck(whole=True, read_ns=5000, whole_ns=4000), PackCheck(whole=False, read_ns=1, whole_ns=0)]
)
def test_an_encoder_refuses_what_a_reader_would(check: PackCheck) -> None:
    with pytest.raises(Malformed):
        encode_checks(RID, {pack(1): check})
