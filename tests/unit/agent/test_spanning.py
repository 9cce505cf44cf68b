"""A first backup that fills devices of a kind that may be spanned: on several of them, in any order of arrival."""

import os
import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from unit.agent.engine import START
from unit.agent.road import Road
from wain.agent import backup_run, tree_backup
from wain.agent import seed as seeding
from wain.base.errors import OutOfSpace, Refused, WriteFailed
from wain.device.label import LABEL_FILE, Label, encode_label
from wain.device.seal import decode_seal
from wain.device.writer import DeviceWriter
from wain.job.job import Job, JobState
from wain.job.seeding import COMPLETED, NEXT_DEVICE, WAITING, SeedState
from wain.order.order import Stage
from wain.pack.writer import PackFor
from wain.pageblob.names import SEAL_BLOB
from wain.pageblob.paged import decode_paged
from wain.vault.collect import CollectOptions
from wain.vault.rows import SeedState as InVault

FILES = 12
FILE_BYTES = 1_000_000
CAPACITY = 4_500_000
"""Takes some of the files, not all: every pack holds about one."""


class Shelf(Road):
    """A road with as many orders as the seed takes, each for a device of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for number in range(FILES):
            (self.server.source / f"f{number}").write_bytes(os.urandom(FILE_BYTES))
        self.count = 0

    def connect(self, *, may_span: bool = True, capacity: int = CAPACITY) -> str:
        """Connect the device of another order, and name it in the policy."""
        self.count += 1
        order, self.device = f"order-{self.count}", self.server.root / f"device-{self.count}"
        (self.device / "PageBlob").mkdir(parents=True)
        label = Label(bytes([self.count]) * 16, "S1", order, "Shelf", capacity, START, may_span)
        (self.device / LABEL_FILE).write_bytes(encode_label(label))
        self.orders.skus[order] = "Shelf"
        self.orders.names = (*self.orders.names, order)
        self.policy(order=order, device=str(self.device))
        return order

    def fill(self) -> list[str]:
        """Back up onto one device after the other, until one takes the rest. Return their orders."""
        orders = [self.connect()]
        while (job := self.backup()).state is JobState.WAITING:
            assert NEXT_DEVICE in job.message
            orders.append(self.connect())
        assert "safe to ship" in job.message
        return orders

    def arrive(self, order: str) -> None:
        """The data copy of one order."""
        device = self.server.root / f"device-{order.removeprefix('order-')}"
        for container in (device / "PageBlob").iterdir():
            shutil.copytree(container, self.account / container.name, dirs_exist_ok=True)
            self.orders.containers.append(container.name)
        self.orders.stages[order] = Stage.COMPLETED

    def packs(self) -> list[bytes]:
        seals = sorted(self.server.root.glob(f"device-*/PageBlob/*/{SEAL_BLOB}"))
        return [pack.id for path in seals for pack in decode_seal(decode_paged(path.read_bytes())).packs]

    def check(self) -> None:
        for path in self.server.source.iterdir():
            assert self.server.content(f"source/{path.name}") == path.read_bytes()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(tree_backup, "SETTLE_NS", -(10**12))
    monkeypatch.setattr(backup_run, "PackFor", partial(PackFor, pack_bytes=512 * 1024))
    return Shelf(tmp_path)


def done(job: Job) -> None:
    assert (job.state, job.message) == (JobState.COMPLETED, COMPLETED)


def test_a_seed_that_fills_a_device_goes_on_on_the_next(shelf: Shelf) -> None:
    orders = shelf.fill()
    assert len(orders) >= 3
    packs = shelf.packs()
    assert len(packs) == len(set(packs)), "what lies on one device is not written to another"
    for order in orders:
        used = sum(path.stat().st_size for path in (shelf.server.root / f"device-{order[6:]}").rglob("packs-*"))
        assert used <= CAPACITY
    for order in orders[:-1]:
        shelf.arrive(order)
        assert shelf.backup().message != COMPLETED
    shelf.orders.stages[orders[-1]] = Stage.PICKED_UP
    assert shelf.backup().message == WAITING
    shelf.arrive(orders[-1])
    done(shelf.backup())
    shelf.check()
    vault = shelf.server.vault
    seeds = vault.seeds(shelf.server.rid)
    assert len(seeds) == len(orders)
    assert all(seed.state is InVault.IN_VAULT and seed.countersigned_at for seed in seeds)
    assert vault.verify().findings == ()


def test_until_the_next_device_is_named_nothing_happens(shelf: Shelf) -> None:
    shelf.connect()
    assert shelf.backup().message.endswith(NEXT_DEVICE)
    seed = shelf.server.home.seed()
    shutil.rmtree(shelf.device)
    job = shelf.backup()
    assert (job.state, job.message) == (JobState.WAITING, NEXT_DEVICE)
    assert shelf.server.home.seed() == seed
    assert not shelf.server.vault.points(shelf.server.rid)


def test_devices_may_arrive_in_any_order(shelf: Shelf) -> None:
    orders = shelf.fill()
    for order in orders:
        shelf.orders.stages[order] = Stage.PICKED_UP
    for order in reversed(orders[1:]):
        shelf.arrive(order)
        (shelf.server.source / f"while {order} arrives").write_bytes(os.urandom(1000))
        job = shelf.backup()
        assert (job.state, job.message) == (JobState.WAITING, WAITING), "the first device is still on the road"
        assert job.new_bytes < 20_000, "gap cover sends what changed"
    shelf.arrive(orders[0])
    done(shelf.backup())
    assert len(shelf.server.vault.points(shelf.server.rid)) == len(orders)
    shelf.check()


@pytest.mark.parametrize("stage", [Stage.ABORTED, Stage.COMPLETED])
def test_what_a_lost_device_held_is_read_again(shelf: Shelf, stage: Stage) -> None:
    orders = shelf.fill()
    shelf.orders.stages[orders[1]] = stage
    for order in (*orders[:1], *orders[2:]):
        shelf.arrive(order)
    job = shelf.backup()
    assert job.message.startswith(COMPLETED)
    assert ["has arrived" in said for said in job.notes] == [True, *(one is not orders[1] for one in orders[1:-1])]
    assert [said for said in job.notes if orders[1] in said and "read again" in said]
    assert FILE_BYTES < job.stored_bytes < CAPACITY + FILE_BYTES, "what it held is sent, and no more"
    shelf.check()
    assert shelf.server.vault.verify().findings == ()


def test_what_was_lost_while_a_device_is_written_goes_onto_that(shelf: Shelf) -> None:
    first = shelf.connect()
    shelf.backup()
    shelf.orders.stages[first] = Stage.ABORTED
    shelf.count += 1
    orders = [shelf.connect()]
    while shelf.backup().state is JobState.WAITING:
        orders.append(shelf.connect())
    for order in orders:
        shelf.arrive(order)
    done(shelf.backup())
    shelf.check()


def test_what_arrived_damaged_is_sent_over_the_wire(shelf: Shelf) -> None:
    orders = shelf.fill()
    shelf.policy(order=orders[-1], device=str(shelf.device), parity_percent=0)
    for order in orders:
        shelf.arrive(order)
    blob = next(path for path in sorted(shelf.account.glob("*/packs-*")) if path.stat().st_size > CAPACITY // 2)
    with blob.open("r+b") as file:
        file.seek(200_000)
        file.write(bytes(4096))
    for parity in blob.parent.glob("parity-*"):
        parity.unlink()
    job = shelf.backup()
    assert job.message.startswith(f"{COMPLETED}; ")
    assert 0 < job.stored_bytes < CAPACITY
    shelf.check()


def test_a_collection_leaves_what_came_without_a_recovery_point(shelf: Shelf) -> None:
    orders = shelf.fill()
    shelf.arrive(orders[0])
    shelf.backup()
    shelf.server.clock.now += timedelta(days=60)
    for _ in range(2):
        report = shelf.server.vault.gc(CollectOptions(override=True))
        assert (report.condemned, report.deleted) == (0, 0)
        shelf.server.clock.now += timedelta(days=60)
    for order in orders[1:]:
        shelf.arrive(order)
    done(shelf.backup())
    shelf.check()


def test_when_no_further_device_comes_the_rest_goes_over_the_wire(shelf: Shelf) -> None:
    first = shelf.connect()
    shelf.backup()
    shelf.orders.stages[first] = Stage.PICKED_UP
    second = shelf.connect()
    shelf.orders.stages[second] = Stage.CANCELLED
    job = shelf.backup()
    assert "backed up over the wire instead" in job.message
    assert job.stored_bytes < FILES * FILE_BYTES - CAPACITY // 2, "what is on the road is not sent"
    shelf.arrive(first)
    shelf.backup()
    shelf.check()
    shelf.server.clock.now += timedelta(days=60)
    shelf.server.vault.gc()
    shelf.check()


@pytest.mark.parametrize("name", ["save_seed", "save_record", "save_job"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_cut_at_each_local_record(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    home = type(shelf.server.home)
    real, left = getattr(home, name), at

    def strike(self: object, *args: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise WriteFailed("the home", "cut")
        real(self, *args)

    orders = [shelf.connect()]
    with monkeypatch.context() as patch:
        patch.setattr(home, name, strike)
        try:
            shelf.backup()
        except WriteFailed:
            assert left <= 0
    while shelf.backup().state is JobState.WAITING:
        orders.append(shelf.connect())
    assert len(shelf.packs()) == len(set(shelf.packs()))
    for order in orders:
        shelf.arrive(order)
    done(shelf.backup())
    shelf.check()


@pytest.mark.parametrize("where", ["finish", "remember_sealed", "announce"])
def test_a_cut_around_the_seal_of_a_full_device(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def die(*_: object) -> None:
        raise WriteFailed("here", "killed")

    shelf.connect()
    with monkeypatch.context() as patch, pytest.raises(WriteFailed):  # noqa: PT012
        patch.setattr(DeviceWriter if where == "finish" else seeding, where, die)
        shelf.backup()
    (shelf.server.source / "new since then").write_bytes(b"not on the device that is full")
    job = shelf.backup()
    assert job.message.endswith(NEXT_DEVICE)
    assert not job.files, "a device that is known to be full is sealed, without reading the source again"
    orders = ["order-1", shelf.connect()]
    while shelf.backup().state is JobState.WAITING:
        orders.append(shelf.connect())
    for order in orders:
        shelf.arrive(order)
    done(shelf.backup())
    shelf.check()


def test_a_medium_that_is_full_is_a_full_device(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = DeviceWriter.put, 3

    def put(self: DeviceWriter, pack: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OutOfSpace("the device", 100, 1)
        real(self, pack)

    shelf.connect(capacity=10**9)
    with monkeypatch.context() as patch:
        patch.setattr(DeviceWriter, "put", put)
        assert shelf.backup().message.endswith(NEXT_DEVICE)
    second = shelf.connect(capacity=10**9)
    assert "safe to ship" in shelf.backup().message
    shelf.arrive("order-1")
    shelf.arrive(second)
    done(shelf.backup())
    shelf.check()


def test_a_device_that_takes_not_even_one_pack_ends_the_job(shelf: Shelf) -> None:
    shelf.connect(capacity=50_000)
    with pytest.raises(OutOfSpace):
        shelf.backup()
    assert shelf.server.home.seed().state is SeedState.WRITING


def test_s22_a_kind_that_may_not_be_spanned_ends_the_job(shelf: Shelf) -> None:
    shelf.connect(may_span=False)
    with pytest.raises(Refused, match="a Shelf"):
        shelf.backup()
    assert shelf.server.home.seed().state is SeedState.WRITING
