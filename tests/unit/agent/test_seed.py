"""The seed: written, cut, resumed, shipped, lost; and what the agent still knows after each."""

import os
import shutil
from pathlib import Path

import pytest

from unit.agent.engine import Faulty
from unit.agent.road import ORDER, Road
from wain.agent import seed as seeding
from wain.agent import tree_backup
from wain.base.errors import Corrupt, DeviceLost, Refused, WainError, WriteFailed
from wain.device.writer import DeviceWriter
from wain.job.job import JobState
from wain.job.seeding import COMPLETED, WAITING, SeedState
from wain.order.order import Stage
from wain.policy.policy import InitialBackup, Policy
from wain.wire.vault import PointState


@pytest.fixture
def road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setattr(tree_backup, "SETTLE_NS", -(10**12))
    road = Road(tmp_path)
    for number in range(8):
        (road.server.source / f"f{number}").write_bytes(os.urandom(60_000))
    return road


def check(road: Road, count: int = 8) -> None:
    for number in range(count):
        assert road.server.content(f"source/f{number}") == (road.server.source / f"f{number}").read_bytes()


def arrive(road: Road) -> None:
    road.copy()
    job = road.backup()
    assert (job.state, job.message) == (JobState.COMPLETED, COMPLETED)


def test_the_story(road: Road) -> None:
    assert "safe to ship" in road.backup().message
    assert not road.server.vault.points(road.server.rid)
    road.orders.stage = Stage.PICKED_UP
    (road.server.source / "f8").write_bytes(b"written while it travels")
    gap = road.backup()
    assert (gap.state, gap.message) == (JobState.WAITING, WAITING)
    assert gap.new_bytes < 5000, "only what changed goes over the wire"
    assert [one.state for one in road.server.vault.points(road.server.rid)] == [PointState.PROVISIONAL]
    arrive(road)
    assert {one.state for one in road.server.vault.points(road.server.rid)} == {PointState.COMPLETE}
    check(road, 9)
    assert road.backup().new_bytes < 2000, "at most directories above, which others touch"


def test_a_second_run_before_it_ships_changes_nothing(road: Road) -> None:
    road.backup()
    seed, head = road.server.home.seed(), road.server.home.head()
    shutil.rmtree(road.device)
    job = road.backup()
    assert job.state is JobState.WAITING
    assert road.server.home.seed() == seed
    assert road.server.home.head().seq == head.seq + 1


@pytest.mark.parametrize("lost", [(), ("seed.manifest",), ("head.json",), ("index",), ("trees",), ("seed-*.seal",)])
def test_a_crash_right_behind_the_seal(road: Road, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]) -> None:
    def die(*_: object) -> None:
        raise WriteFailed("here", "killed")

    with monkeypatch.context() as patch, pytest.raises(WriteFailed):  # noqa: PT012
        patch.setattr(seeding, "remember_sealed", die)
        road.backup()
    assert road.server.home.seed().state is SeedState.WRITING
    remove(road, lost)
    assert "safe to ship" in road.backup().message
    assert road.server.home.seed().state is SeedState.SEALED
    arrive(road)
    check(road)


def remove(road: Road, names: tuple[str, ...]) -> None:
    for name in names:
        for path in road.server.home.agent.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", ["save_head", "save_seed", "save_job"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_cut_at_each_local_record(road: Road, monkeypatch, name: str, at: int) -> None:
    home = type(road.server.home)
    real, left = getattr(home, name), at

    def strike(self: object, *args: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise WriteFailed("the home", "cut")
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(home, name, strike)
        try:
            road.backup()
        except WriteFailed:
            assert left <= 0
    road.backup()
    assert road.server.home.seed().state is SeedState.SEALED
    arrive(road)
    check(road)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["put", "commit", "finish"])
@pytest.mark.parametrize("at", [1, 2])
def test_a_device_that_fails_is_resumed(road: Road, monkeypatch, verb: str, after: bool, at: int) -> None:
    monkeypatch.setattr("wain.agent.packing.PACK_CHUNKS", 1)
    real, left = getattr(DeviceWriter, verb), at

    def strike(self: DeviceWriter, *args: object) -> object:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            raise DeviceLost("unplugged")
        answer = real(self, *args)
        if left == 0:
            raise DeviceLost("unplugged")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(DeviceWriter, verb, strike)
        if left == 2 and verb == "finish":
            pytest.skip("it is called once")
        with pytest.raises(DeviceLost):
            road.backup()
    assert road.server.home.jobs()[-1].state is JobState.FAILED
    assert "safe to ship" in road.backup().message
    arrive(road)
    check(road)


@pytest.mark.parametrize("lost", ["index", "trees", "device packs"])
def test_what_was_lost_between_a_cut_and_the_resumption_is_written_again(road: Road, monkeypatch, lost: str) -> None:
    def die(*_: object) -> None:
        raise DeviceLost("unplugged")

    with monkeypatch.context() as patch, pytest.raises(DeviceLost):  # noqa: PT012
        patch.setattr(DeviceWriter, "finish", die)
        road.backup()
    if lost == "device packs":
        for blob in road.device.glob("PageBlob/*/packs-*"):
            os.truncate(blob, 4096)
    else:
        shutil.rmtree(road.server.home.agent / lost)
    assert "safe to ship" in road.backup().message
    arrive(road)
    check(road)


def test_s22_another_device_is_refused_while_the_seed_is_begun(road: Road, monkeypatch) -> None:
    def die(*_: object) -> None:
        raise DeviceLost("unplugged")

    with monkeypatch.context() as patch, pytest.raises(DeviceLost):  # noqa: PT012
        patch.setattr(DeviceWriter, "finish", die)
        road.backup()
    road.plug_in(b"E" * 16)
    with pytest.raises(Refused):
        road.backup()


@pytest.mark.parametrize("stage", [Stage.ABORTED, Stage.CANCELLED])
def test_a_lost_device_is_replaced_by_the_wire(road: Road, stage: Stage) -> None:
    road.backup()
    road.orders.stage = stage
    job = road.backup()
    assert job.state is JobState.COMPLETED
    assert "over the wire" in job.message
    check(road)
    assert road.backup().new_bytes < 2000, "at most directories above, which others touch"


def test_a_lost_device_that_was_never_announced(road: Road) -> None:
    """Killed between noting the seal and announcing it; then the order dies: the job must not fail for ever."""
    with pytest.raises(WriteFailed):
        road.backup(Faulty(road.server.vault, "announce_seed"))
    assert road.server.home.seed().state is SeedState.SEALED
    remove(road, ("seed-*.seal",))
    road.orders.stage = Stage.ABORTED
    assert road.backup().state is JobState.COMPLETED
    check(road)
    assert road.backup().state is JobState.COMPLETED


def test_the_same_with_the_seal_still_here(road: Road) -> None:
    with pytest.raises(WriteFailed):
        road.backup(Faulty(road.server.vault, "announce_seed"))
    road.orders.stage = Stage.ABORTED
    assert road.backup().state is JobState.COMPLETED
    check(road)
    assert road.backup().new_bytes < 2000, "at most directories above, which others touch"


def test_a_seed_that_arrived_before_its_order_died(road: Road) -> None:
    road.backup()
    arrive(road)
    home = road.server.home
    seed = home.seed()
    home.save_seed(type(seed)(seed.id, seed.order, SeedState.SEALED, *list_of(seed)))
    road.orders.stage = Stage.ABORTED
    road.backup()
    assert home.seed().state is SeedState.IN_VAULT
    check(road)


def list_of(seed: object) -> list[str]:
    return [getattr(seed, name) for name in ("device", "root", "container", "seal_hash", "point")]


def test_a_data_copy_without_our_container(road: Road) -> None:
    road.backup()
    road.orders.stage = Stage.COMPLETED_WITH_ERRORS
    job = road.backup()
    assert "did not arrive" in job.message
    check(road)


def test_s82_a_renamed_container_is_followed(road: Road) -> None:
    road.backup()
    road.copy()
    (name,) = road.orders.containers
    (road.account / name).rename(road.account / "databox-renamed")
    road.orders.renamed[name] = "databox-renamed"
    assert road.backup().message == COMPLETED
    check(road)


def test_damage_on_the_road_is_sent_again_and_nothing_else(road: Road) -> None:
    road.policy(parity_percent=0)
    road.backup()
    road.copy()
    blob = next(road.account.glob("*/packs-00000"))
    body = bytearray(blob.read_bytes())
    body[5000] ^= 1
    blob.write_bytes(body)
    job = road.backup()
    assert "damaged or not at all" in job.message
    check(road)
    assert road.server.home.seed().state is SeedState.PARTIAL
    assert road.backup().new_bytes < 2000, "at most directories above, which others touch"


def test_damage_on_the_road_is_repaired_from_parity_and_nothing_is_sent(road: Road) -> None:
    road.backup()
    road.copy()
    blob = next(road.account.glob("*/packs-00000"))
    body = bytearray(blob.read_bytes())
    body[5000] ^= 1
    body[-100] ^= 1
    blob.write_bytes(body)
    vault = Counting(road.server.vault)
    job = road.backup(vault)
    assert job.message.startswith(f"{COMPLETED}; 2 of ")
    assert job.message.endswith("packs of the seed arrived damaged and were repaired from parity")
    assert vault.sent == 0
    check(road)
    assert road.server.home.seed().state is SeedState.IN_VAULT
    assert road.server.vault.countersigned(road.server.rid, bytes.fromhex(road.server.home.seed().id))


class Counting:
    """A vault that counts what is sent to it over the wire."""

    def __init__(self, vault: object) -> None:
        self._vault = vault
        self.sent = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._vault, name)

    def upload(self, *args: object) -> object:
        self.sent += 1
        return self._vault.upload(*args)  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["import_seed", "countersign", "manifest", "read_pack", "announce_seed"])
def test_a_cut_at_any_call_of_the_import(road: Road, verb: str, after: bool) -> None:
    road.backup()
    road.copy()
    with pytest.raises(WainError):
        road.backup(Faulty(road.server.vault, verb, after=after))
    job = road.backup()
    assert job.message == COMPLETED
    check(road)
    assert road.server.vault.countersigned(road.server.rid, bytes.fromhex(road.server.home.seed().id))


def test_a_vault_that_gives_back_other_bytes_gets_no_signature(road: Road) -> None:
    road.backup()
    road.copy()
    real = road.server.vault

    class Lying:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def read_pack(self, *args: object) -> bytes:
            body = bytearray(real.read_pack(*args))
            body[-1] ^= 1
            return bytes(body)

    with pytest.raises(Corrupt):
        road.backup(Lying())
    assert real.countersigned(road.server.rid, bytes.fromhex(road.server.home.seed().id)) is None
    assert road.backup().message == COMPLETED


def test_a_device_that_is_still_connected_is_no_source(road: Road) -> None:
    road.backup()
    road.orders.stage = Stage.PICKED_UP
    include = (os.fsencode(road.server.root),)
    road.server.home.save_policy(Policy(include, initial=InitialBackup.OFFLINE, order=ORDER))
    road.backup()
    road.copy()
    road.backup()
    names = road.server.entries()
    assert "source/f0" in names
    assert not [name for name in names if name.startswith("device/")]


def test_waiting_needs_no_data_box_service(road: Road) -> None:
    road.backup()
    job = road.backup(databox=False)
    assert (job.state, job.message) == (JobState.WAITING, WAITING)


def test_s34_d2_an_order_that_is_not_delivered_yet(road: Road) -> None:
    road.orders.stage = Stage.DISPATCHED
    job = road.backup()
    assert (job.state, "once it is Delivered" in job.message) == (JobState.FAILED, True)
