"""What is frozen, in which order, and by which commands: LVM's and VSS's do not run here, so they are read."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from wain.agent import freeze_lvm
from wain.agent.freeze import FreezeFailed, Freezing, Frozen, Scope, run_system
from wain.agent.freeze_lvm import LvmFreezer
from wain.agent.freeze_vss import VssFreezer
from wain.agent.mounts import Mount, mounts, parse, reachable
from wain.agent.view import LIVE, Place, View
from wain.policy.exclusion import Exclusions

RID = "0f" * 16
LV = Mount(b"/srv", b"/", "xfs", b"/dev/mapper/vg-data")
SHOWN = ["lvs", "--noheadings", "--separator", "|", "-o", "vg_name,lv_name,pool_lv", "/dev/mapper/vg-data"]


class Recorder:
    """Runs nothing, and answers what it is told to."""

    def __init__(self, answers: dict[str, str] | None = None, fails: str = "") -> None:
        self.ran: list[list[str]] = []
        self._answers = answers or {}
        self._fails = fails

    def __call__(self, command: Sequence[str]) -> str:
        self.ran.append(list(command))
        if command[0] == self._fails:
            raise FreezeFailed(command[0], "no")
        return self._answers.get(command[0], "")


def scope(*includes: bytes, excludes: tuple[str, ...] = (), one: bool = False) -> Scope:
    return Scope(includes, Exclusions(excludes), one)


# What is mounted


def test_lines_of_mountinfo() -> None:
    line = rb"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
    assert parse(line) == Mount(b"/mnt 2", b"/mnt1", "ext3", b"/dev/root", writable=True)
    line = rb"36 35 98:0 / /x ro,noatime - btrfs /dev/sda rw"
    assert parse(line) == Mount(b"/x", b"/", "btrfs", b"/dev/sda", writable=False)


def test_a_later_mount_covers_what_was_there() -> None:
    every = [Mount(point, b"/", "ext4", b"/dev/x") for point in (b"/", b"/a", b"/a/b", b"/ab", b"/a")]
    assert [one.point for one in reachable(every)] == [b"/", b"/ab", b"/a"]


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="no list of mounts here")
def test_this_machine_has_a_root() -> None:
    assert any(one.point == b"/" for one in mounts())


# What is frozen


def test_holders_and_what_lies_below() -> None:
    boundaries = [b"/", b"/srv", b"/srv/a", b"/srv/a/cache", b"/srvx", b"/home"]
    plan = scope(b"/srv/a", b"/home/x", excludes=("cache",))
    assert plan.holders(boundaries) == {b"/srv/a", b"/home"}
    assert plan.below(boundaries) == set()
    assert scope(b"/srv").below(boundaries) == {b"/srv/a", b"/srv/a/cache"}
    assert scope(b"/srv", one=True).below(boundaries) == set()
    assert scope(b"/").below(boundaries) == set(boundaries) - {b"/"}


class Nesting:
    """A freezer with subvolumes, one of which comes into being while others are frozen."""

    name = "nesting"

    def __init__(self, place: Path) -> None:
        self.place, self.frozen, self.thawed = place, [], []

    def why_not(self, mount: Mount) -> str:
        return "" if mount.kind == "nest" else "it is no nest"

    def nested(self, mount: Mount) -> list[bytes]:
        late = [b"/n/late"] if self.frozen else []
        return [b"/n/s", b"/n/m/not-ours", *late]

    def freeze(self, mount: Mount, point: bytes, number: int) -> Frozen:
        self.frozen.append((point, number))
        return Frozen(point, Place(os.fsencode(self.place), (number, 256)), 1000 + number, mount, "", (9, 9))

    def thaw(self, frozen: Frozen) -> None:
        self.thawed.append(frozen.point)


def test_subvolumes_are_frozen_with_what_holds_them_and_mounts_below_are_read_as_they_are(tmp_path: Path) -> None:
    table = [Mount(b"/", b"/", "ext4", b"/dev/a"), Mount(b"/n", b"/", "nest", b"/dev/b")]
    table += [Mount(b"/n/m", b"/", "ext4", b"/dev/c"), Mount(b"/n/p", b"/", "proc", b"proc")]
    nest = Nesting(tmp_path)
    freezing = Freezing((nest,), table, scope(b"/n"), required=True)
    view = freezing.freeze()
    assert nest.frozen == [(b"/n", 0), (b"/n/s", 1), (b"/n/late", 2)]
    assert set(view.places) == {b"/n", b"/n/s", b"/n/late"}
    assert view.devices == {0: 1000, 1: 1001, 2: 1002}
    assert view.hidden == {(9, 9)}
    assert freezing.live == ["/n/m (ext4) was read as it is: nesting: it is no nest"]
    assert freezing.words == "read from 3 nesting snapshots"
    assert freezing.thaw() == []
    assert nest.thawed == [b"/n/late", b"/n/s", b"/n"]


def test_mounts_below_a_snapshot_are_read_from_where_they_are(tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    below = os.path.join(here, b"m")
    os.mkdir(below)
    table = [Mount(b"/", b"/", "ext4", b""), Mount(here, b"/", "nest", b""), Mount(below, b"/", "ext4", b"")]
    view = Freezing((Nesting(tmp_path),), table, scope(here), required=False).freeze()
    assert view.places[below] == Place.at(below)


def test_what_lies_on_the_way_to_an_item_is_passed_though_nothing_else_of_it_is_kept(tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    way, item = os.path.join(here, b"way"), os.path.join(here, b"way", b"item")
    os.makedirs(item)
    table = [Mount(point, b"/", "ext4", b"") for point in (b"/", way, item)]
    table.insert(1, Mount(here, b"/", "nest", b""))
    plan = scope(here, os.path.join(item, b"f"), one=True)
    view = Freezing((Nesting(tmp_path),), table, plan, required=False).freeze()
    assert (view.places[way], view.places[item]) == (Place.at(way), Place.at(item))


def test_nothing_to_freeze_is_the_live_view() -> None:
    table = [Mount(b"/", b"/", "ext4", b"/dev/a")]
    assert Freezing((), table, scope(b"/x"), required=False).freeze() is LIVE


def test_identities_are_known_in_the_snapshot_too() -> None:
    view = View({}, {7: 1}, frozenset({(1, 30)}))
    assert view.seen_as(frozenset({(1, 20), (2, 20)})) == {(1, 20), (2, 20), (1, 30), (7, 20), (7, 30)}


def test_a_place_that_was_replaced_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    place = Place.at(os.fsencode(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "away")
    (tmp_path / "one").mkdir()
    with pytest.raises(OSError, match="has gone"):
        place.open()


def test_commands_of_the_system_fail_with_their_own_words() -> None:
    assert run_system(["echo", "yes"]) == "yes\n"
    with pytest.raises(FreezeFailed, match="no-such-program: it is not installed"):
        run_system(["no-such-program"])
    with pytest.raises(FreezeFailed, match=r"ls: .*No such file"):
        run_system(["ls", "/no/such/place"])


# LVM


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze_lvm.os, "geteuid", lambda: 0)


@pytest.mark.parametrize(("kind", "pool", "room"), [("xfs", "", ["--extents", "10%ORIGIN"]), ("ext4", "pool", None)])
def test_lvm_makes_mounts_unmounts_and_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, pool: str, room: list[str] | None
) -> None:
    run = Recorder({"lvs": f"  vg|data|{pool}\n"})
    freezer = LvmFreezer(RID, tmp_path, run)
    mount = Mount(os.fsencode(tmp_path), b"/", kind, LV.source)
    frozen = freezer.freeze(mount, mount.point, 0)
    name = f"wain-{RID}-0"
    where = tmp_path / name
    assert frozen.place == Place.at(os.fsencode(where))
    assert frozen.device == os.stat(tmp_path).st_dev
    made = ["lvcreate", "--snapshot", "--name", name, *(room or ["--setactivationskip", "n"]), "vg/data"]
    options = "ro,nouuid" if kind == "xfs" else "ro"
    assert run.ran == [SHOWN, made, ["mount", "-t", kind, "-o", options, f"/dev/vg/{name}", str(where)]]
    run.ran.clear()
    monkeypatch.setattr(freeze_lvm.os.path, "ismount", lambda path: path == where)
    freezer.thaw(frozen)
    assert run.ran == [["umount", str(where)], ["lvremove", "--yes", f"vg/{name}"]]
    assert not where.exists()


def test_lvm_reads_the_mounted_part_alone(tmp_path: Path) -> None:
    part = tmp_path / f"wain-{RID}-3" / "part"
    part.mkdir(parents=True)
    mount = Mount(os.fsencode(tmp_path), b"/part", "ext4", LV.source)
    frozen = LvmFreezer(RID, tmp_path, Recorder({"lvs": "vg|data|"})).freeze(mount, mount.point, 3)
    assert frozen.place == Place.at(os.fsencode(part))


def test_lvm_leaves_nothing_when_mounting_fails(tmp_path: Path) -> None:
    run = Recorder({"lvs": "vg|data|"}, fails="mount")
    with pytest.raises(FreezeFailed, match="mount: no"):
        LvmFreezer(RID, tmp_path, run).freeze(LV, b"/srv", 0)
    assert run.ran[-1] == ["lvremove", "--yes", f"vg/wain-{RID}-0"]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("as_root")
def test_lvm_says_why_not(tmp_path: Path) -> None:
    freezer = LvmFreezer(RID, tmp_path, Recorder({"lvs": "vg|data|"}))
    assert freezer.why_not(LV) == ""
    assert "btrfs" in freezer.why_not(Mount(b"/", b"/", "btrfs", b"/dev/a"))
    assert "not a volume" in LvmFreezer(RID, tmp_path, Recorder()).why_not(LV)
    assert LvmFreezer(RID, tmp_path, Recorder(fails="lvs")).why_not(LV) == "lvs: no"


def test_lvm_removes_its_own_leftovers_alone(tmp_path: Path) -> None:
    other = "0e" * 16
    listed = f"  vg|data\n  vg|wain-{RID}-0\n  vg2|wain-{RID}-1\n  vg|wain-{other}-0\n"
    run = Recorder({"lvs": listed})
    assert LvmFreezer(RID, tmp_path, run).clear(()) == 2
    removed = [command for command in run.ran if command[0] == "lvremove"]
    assert removed == [["lvremove", "--yes", f"vg/wain-{RID}-0"], ["lvremove", "--yes", f"vg2/wain-{RID}-1"]]
    assert LvmFreezer(RID, tmp_path, Recorder(fails="lvs")).clear(()) == 0


# VSS


def test_vss_notes_links_and_removes(tmp_path: Path) -> None:
    run = Recorder({"powershell": "{ID}|\\\\?\\GLOBALROOT\\Device\\Copy1\r\n"})
    link = tmp_path / f"{RID}-0"
    link.mkdir()  # What mklink would make.
    freezer = VssFreezer(RID, tmp_path, run)
    drive = Mount(b"C:\\", b"/", "ntfs", b"C:\\")
    assert freezer.why_not(drive) == ""
    assert freezer.why_not(LV) != ""
    frozen = freezer.freeze(drive, os.fsencode(tmp_path), 0)
    assert (tmp_path / f"{RID}-0.shadow").read_text() == "{ID}"
    assert "Volume='C:\\'" in run.ran[0][-1]
    assert run.ran[1] == ["cmd", "/c", "mklink", "/d", str(link), "\\\\?\\GLOBALROOT\\Device\\Copy1\\"]
    run.ran.clear()
    freezer.thaw(frozen)
    rmdir, delete = ["cmd", "/c", "rmdir", str(link)], ["vssadmin", "delete", "shadows", "/shadow={ID}", "/quiet"]
    assert run.ran == [rmdir, delete]
    assert not (tmp_path / f"{RID}-0.shadow").exists()


def test_vss_removes_what_its_notes_name(tmp_path: Path) -> None:
    (tmp_path / f"{RID}-0.shadow").write_text("{ID}")
    (tmp_path / "other-0.shadow").write_text("{NOT OURS}")
    run = Recorder()
    assert VssFreezer(RID, tmp_path, run).clear(()) == 1
    assert run.ran == [["vssadmin", "delete", "shadows", "/shadow={ID}", "/quiet"]]
