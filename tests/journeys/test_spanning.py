"""A first backup that fills disks of the operator's own: several disks, killed on the way, all of it comes back."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.conftest import Wain, passphrase, registered, wain
from device.disks import KINDS, SIZES, Disk
from journeys.judges import assert_equal
from wain.job.seeding import COMPLETED, NEXT_DEVICE

__all__ = ["passphrase", "registered", "wain"]

ROOM = 12 << 20
"""What each disk has free beyond what an empty file system of its kind takes: one whole pack, and not two."""
SOURCE = 6
KILLS = 2
"""How often the backup onto each disk is killed before it is let through."""
DICE = random.Random(7)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def killed_backup(home: Path) -> None:
    command = [os.path.realpath(sys.executable), "-m", "wain.cli.main", "backup"]
    environ = {**os.environ, "WAIN_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        running.wait(DICE.uniform(0.2, 2))
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


@pytest.mark.parametrize("kind", KINDS[:1])
def test_a_seed_on_several_disks_comes_back(
    registered: Wain, tmp_path: Path, passphrase: Path, disks: ExitStack, kind: str
) -> None:
    wain, source = registered, tmp_path / "source"
    source.mkdir()
    for number in range(SOURCE):
        (source / f"noise-{number}").write_bytes(os.urandom(25_000_000))
    wain("account", "create", "seedaccount")
    assert "from one to the next" in wain("order", "sku", "add", "Shelf", "--size", "1TB", "--may-span").out
    orders: list[str] = []
    roots: dict[str, Path] = {}
    said = NEXT_DEVICE
    while said.endswith(NEXT_DEVICE):
        order = f"shelf-{len(orders) + 1}"
        disk = Disk(kind, tmp_path, order, SIZES[kind] + ROOM)
        roots[order] = disk.mount()
        disks.callback(disk.unmount)
        orders.append(order)
        wain("order", "create", order, "--account", "seedaccount", "--sku", "Shelf")
        wain("device", "prepare", order, roots[order])
        for stage in ("Dispatched", "Delivered"):
            wain("order", "advance", order, stage)
        where = ("--order", order, "--device", roots[order])
        wain("policy", "set", "--include", source, "--initial", "offline", *where)
        for _ in range(KILLS):
            killed_backup(tmp_path / "home")
        said = wain("backup", "--json").json()["message"]
    assert len(orders) >= 2
    for order in reversed(orders):
        for stage in ("PickedUp", "AtAzureDC"):
            wain("order", "advance", order, stage)
        assert wain("device", "verify", roots[order], "--json").json()["findings"] == []
        assert wain("order", "copy", order, roots[order], "--json").json()["stage"] == "Completed"
        said = wain("backup", "--json").json()["message"]
    assert said == COMPLETED
    for order in orders:
        wain("device", "erase", order, roots[order])
        assert "erased" in wain("order", "show", order, "--custody").out
    wain("restore", "latest", "--to", tmp_path / "back", "--passphrase-file", passphrase)
    assert_equal(source, tmp_path / "back" / source.relative_to("/"))
    assert wain("verify", "latest", "--read-data").code == 0
