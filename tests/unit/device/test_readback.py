import os

import pytest

from device.making import make_pack_of
from wain.device.journal import JournalPack
from wain.device.readback import check_packs
from wain.pageblob.layout import Placement
from wain.storage.uncached import UncachedFile

MIB = 1 << 20


class Counted:
    def __init__(self):
        self.bytes = self.items = 0

    def phase(self, name, total_bytes=None):
        pass

    def advance(self, done_bytes, items=0):
        self.bytes += done_bytes
        self.items += items

    def note(self, message):
        pass


@pytest.fixture
def laid(tmp_path):
    """Nine packs of uneven sizes in two blobs; returns the folder and the placed packs."""
    placed, at = [], {0: 0, 1: 0}
    for number, size in enumerate([2 * MIB, 8192, 9 * MIB, MIB, 3 * MIB + 4096, 8192, 8192, 12 * MIB, MIB]):
        pack = make_pack_of(size, number)
        blob = number // 5
        with open(tmp_path / f"b{blob}", "ab") as file:
            file.write(pack.stored)
        placed.append(JournalPack(pack.id, pack.kind, Placement(blob, at[blob], len(pack.stored))))
        at[blob] += len(pack.stored)
    return tmp_path, placed


def check(laid, packs=None):
    folder, placed = laid
    counted = Counted()
    found = list(check_packs(lambda blob: UncachedFile(folder / f"b{blob}", f"b{blob}"), packs or placed, counted))
    return found, counted


def poke(folder, pack, at):
    with open(folder / f"b{pack.placement.blob}", "r+b") as file:
        before = os.pread(file.fileno(), 1, pack.placement.offset + at)
        os.pwrite(file.fileno(), bytes([before[0] ^ 4]), pack.placement.offset + at)


def test_whole_packs_give_no_finding_and_full_progress(laid):
    found, counted = check(laid)
    assert found == []
    assert counted.bytes == sum(pack.placement.length for pack in laid[1])
    assert counted.items == len(laid[1])


def test_damage_is_named_to_the_leaf_and_the_rest_is_checked(laid):
    folder, placed = laid
    for number, at in [(0, 0), (2, 8 * MIB + 7), (7, 12 * MIB + 100), (8, 3)]:
        poke(folder, placed[number], at)
    found, counted = check(laid)
    assert [finding.pack for finding in found] == [placed[number].id for number in (0, 2, 7, 8)]
    assert "leaf 0 " in found[0].where
    assert "leaf 8 " in found[1].where
    assert "footer" in found[2].where
    assert counted.items == len(placed)


def test_a_missing_and_a_short_blob(laid):
    folder, placed = laid
    (folder / "b0").unlink()
    os.truncate(folder / "b1", placed[-1].placement.offset + 5)
    found, _ = check(laid)
    assert [finding.pack for finding in found] == [pack.id for pack in [*placed[:5], placed[-1]]]
    assert "missing" in found[0].where
    assert "cut short" in found[-1].where


def test_bad_sectors_are_named_and_the_stream_goes_on(laid, monkeypatch):
    _, placed = laid
    real = UncachedFile._read_some
    broken = placed[2].placement.offset + 4 * MIB + 4096

    def failing(self, view, offset):
        if self.where == "b0" and offset <= broken < offset + len(view):
            raise OSError(5, "Input/output error")
        return real(self, view, offset)

    monkeypatch.setattr(UncachedFile, "_read_some", failing)
    found, counted = check(laid)
    assert [finding.pack for finding in found] == [placed[2].id]
    assert "leaf 4 " in found[0].where
    assert "leaf 3 " not in found[0].where
    assert "cannot be read" in found[0].where
    assert counted.items == len(placed)


def test_a_subset_may_be_checked(laid):
    _, placed = laid
    found, counted = check(laid, placed[3:6])
    assert found == []
    assert counted.items == 3
