"""Restoring a recovery point: bytes, metadata, conflicts, damage, interruptions."""

import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.agent.points import KEY, NAMER, RID, PointBuilder, ReadableVault, falsely, stat
from wain.agent import restore_links, restore_plan
from wain.agent.browse import PointView
from wain.agent.restore import Conflict, Policy, RestoreReport, RestoreRequest, restore
from wain.agent.restore_root import TargetRoot
from wain.base.errors import Refused, RemoteError, WriteFailed
from wain.base.ids import ChunkId, SeedId
from wain.base.progress import Silent
from wain.chunk.names import ChunkType
from wain.tree.entry import Content, Entry, Kind

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OVERWRITE = Policy(Conflict.OVERWRITE)
IN_PLACE = Policy(Conflict.OVERWRITE, in_place=True)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "target"
    for found, _, _ in os.walk(tmp_path):
        Path(found).chmod(0o700)


def run(view: PointView, to: Path, *paths: bytes, policy: Policy | None = None) -> RestoreReport:
    return restore(view, RestoreRequest(to, paths, policy or Policy(), durable=False), Silent())


def body(size: int, salt: int = 1) -> bytes:
    state, out = salt, bytearray()
    while len(out) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out += state.to_bytes(8, "little")
    return bytes(out[:size])


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_restores_everything_byte_for_byte(target: Path) -> None:
    make = PointBuilder(pack_bytes=256 << 10)
    files = {b"f%03d" % number: body(number * 61, number) for number in range(300)}
    large = body(1_500_000)
    inner = make.directory(b"inner", [make.file(name, content) for name, content in files.items()])
    view = make.view([make.directory(b"srv", [inner, make.file(b"large", large, cut=70_001)]), make.file(b"top", b"t")])
    assert len(make.packs_of(ChunkType.DATA)) > 4

    report = run(view, target)

    assert report.exit_code == 0
    assert (report.files, report.directories) == (302, 2)
    assert (target / "srv/large").read_bytes() == large
    assert {os.fsencode(p.name): p.read_bytes() for p in (target / "srv/inner").iterdir()} == files
    assert report.written_bytes == len(large) + sum(map(len, files.values())) + 1


def test_small_batches_give_the_same(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_plan, "BATCH_CHUNKS", 3)
    make = PointBuilder(pack_bytes=128 << 10)
    large = body(400_000)
    twin = {"links": 2, "inode": 5}
    view = make.view([
        make.directory(b"a", [make.file(b"one", large, 30_000, **twin), make.file(b"s", b"s")], mode=0o500),
        make.directory(b"b", [make.file(b"two", large, 30_000, **twin), make.listed(b"l", large, 9_999)]),
    ])  # fmt: skip
    report = run(view, target)
    assert report.exit_code == 0
    assert (target / "a/one").read_bytes() == large == (target / "b/l").read_bytes()
    assert (target / "a/one").samefile(target / "b/two")
    assert modes.S_IMODE((target / "a").stat().st_mode) == 0o500


def test_each_pack_is_read_once_front_to_back(target: Path) -> None:
    make = PointBuilder(pack_bytes=512 << 10)
    view = make.view([make.file(b"f%03d" % number, body(20_000, number)) for number in range(200)])
    make.vault.reads.clear()
    run(view, target)
    for pack in make.packs_of(ChunkType.DATA):
        reads = [(at, size) for one, at, size in make.vault.reads if one == pack.id and at >= 4096 and size != 4096]
        ranges = [reads[0], *reads[1:]]
        assert len(ranges) <= 3  # Its index, and one or two runs of segments.
        assert sum(size for _, size in ranges) <= len(pack.stored)


def test_only_the_selected_paths(target: Path) -> None:
    make = PointBuilder()
    mode = {"mode": 0o711, "mtime_ns": 1_000_000_000_000_000_007}
    b = make.directory(b"b", [make.file(b"yes", b"yes"), make.directory(b"c", [make.file(b"x", b"x")])], **mode)
    view = make.view([make.directory(b"a", [b, make.file(b"no", b"no")], **mode), make.file(b"z", b"z")])
    report = run(view, target, b"/a/b/c", b"/a/b/yes", b"/a/b/c/x", b"/z")
    assert names(target) == {"a", "a/b", "a/b/c", "a/b/c/x", "a/b/yes", "z"}
    assert (report.files, report.directories) == (3, 1)
    for path in ("a", "a/b"):
        found = (target / path).stat()
        assert (modes.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o711, 1_000_000_000_000_000_007)


def test_directories_above_a_selected_path_are_left_as_they_are(target: Path) -> None:
    make = PointBuilder()
    view = make.view([make.directory(b"a", [make.file(b"yes", b"yes")], mode=0o711)])
    (target / "a").mkdir(parents=True, mode=0o750)
    assert run(view, target, b"/a/yes").exit_code == 0
    assert modes.S_IMODE((target / "a").stat().st_mode) == 0o750


def test_an_unknown_path_is_refused_before_anything_is_written(target: Path) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"a", b"a")])
    with pytest.raises(Refused, match="/nope"):
        run(view, target, b"/a", b"/nope")
    assert not target.exists()


def test_metadata_comes_back(target: Path) -> None:
    make = PointBuilder()
    attributes = ((b"user.color", b"blue"), (b"user.empty", b""))
    view = make.view([
        make.file(b"old", b"x", mtime_ns=-1_234_567_890_123_456_789),
        make.file(b"late", b"x", mtime_ns=15_000_000_000_123_456_789, mode=0o000),
        Entry(b"attr", Kind.FILE, stat(1), make.file(b"attr", b"y").content, xattrs=attributes),
        make.symlink(b"link", b"somewhere/else", mtime_ns=1_111_111_111_000_000_111),
        make.node(b"fifo", Kind.FIFO, mode=0o640),
        make.node(b"sock", Kind.SOCKET),
        make.directory(b"closed", [make.file(b"in", b"in"), make.directory(b"deeper", [], mode=0o000)], mode=0o000),
        make.file(b"\xff\n\x01 name", b"odd"),
        make.file(b"n" * 255, b"long"),
    ])  # fmt: skip
    report = run(view, target)
    assert report.exit_code == 0, report.problems
    assert (target / "old").lstat().st_mtime_ns == -1_234_567_890_123_456_789
    assert (target / "late").lstat().st_mtime_ns == 15_000_000_000_123_456_789
    assert modes.S_IMODE((target / "late").lstat().st_mode) == 0
    assert {name: os.getxattr(target / "attr", name) for name in os.listxattr(target / "attr")} == {
        "user.color": b"blue", "user.empty": b"",
    }  # fmt: skip
    assert os.readlink(target / "link") == "somewhere/else"
    assert (target / "link").lstat().st_mtime_ns == 1_111_111_111_000_000_111
    assert modes.S_ISFIFO((target / "fifo").lstat().st_mode)
    assert modes.S_IMODE((target / "fifo").lstat().st_mode) == 0o640
    assert modes.S_ISSOCK((target / "sock").lstat().st_mode)
    assert modes.S_IMODE((target / "closed").lstat().st_mode) == 0
    assert (target / "closed").lstat().st_mtime_ns == stat().mtime_ns
    assert (Path(os.fsdecode(os.fsencode(target) + b"/\xff\n\x01 name"))).read_bytes() == b"odd"
    assert (target / ("n" * 255)).read_bytes() == b"long"


@ROOT_ONLY
def test_owners_special_bits_and_devices_as_root(target: Path) -> None:
    make = PointBuilder()
    view = make.view([
        make.file(b"suid", b"x", mode=0o4755, uid=12345, gid=54321),
        make.directory(b"sgid", [make.file(b"in", b"in", uid=2**31, gid=2**31 + 1)], mode=0o2775, uid=7, gid=8),
        make.symlink(b"link", b"/etc/passwd", uid=4242, gid=4243),
        make.node(b"null", Kind.CHAR_DEVICE, (1, 3), mode=0o666, uid=9),
        make.node(b"loop", Kind.BLOCK_DEVICE, (7, 99), mode=0o660),
    ])  # fmt: skip
    report = run(view, target)
    assert report.exit_code == 0
    found = (target / "suid").stat()
    assert (found.st_uid, found.st_gid, modes.S_IMODE(found.st_mode)) == (12345, 54321, 0o4755)
    assert modes.S_IMODE((target / "sgid").stat().st_mode) == 0o2775
    assert (target / "sgid/in").stat().st_uid == 2**31
    assert (target / "link").lstat().st_uid == 4242
    assert Path("/etc/passwd").stat().st_uid == 0
    assert (target / "null").lstat().st_rdev == os.makedev(1, 3)
    assert modes.S_ISBLK((target / "loop").lstat().st_mode)


@ROOT_ONLY
def test_an_ordinary_user_gets_files_without_power(target: Path) -> None:
    make = PointBuilder()
    view = make.view([
        make.file(b"suid", b"x", mode=0o6755, uid=12345),
        make.node(b"null", Kind.CHAR_DEVICE, (1, 3)),
        make.directory(b"closed", [make.directory(b"deep", [make.file(b"x", b"x")], mode=0o000)], mode=0o100),
    ])  # fmt: skip
    target.mkdir()
    os.chown(target, 1234, 1234)
    for above in target.parents:
        if above.stat().st_uid == 0 and above not in (Path("/"), Path("/tmp")):
            above.chmod(above.stat().st_mode | 0o011)
    report = _as_user(1234, lambda: run(view, target))
    assert report.damaged_count == 0
    assert [problem.path for problem in report.problems] == [b"/null"]
    assert modes.S_IMODE((target / "suid").stat().st_mode) == 0o755
    assert any("owner" in note for note in report.notes)
    assert (target / "closed/deep/x").read_bytes() == b"x"
    again = _as_user(1234, lambda: run(view, target))
    assert (again.files, again.already) == (0, 2)


def _as_user(uid: int, action):  # type: ignore[no-untyped-def]
    os.setegid(uid)
    os.seteuid(uid)
    try:
        return action()
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_holes_stay_holes(target: Path) -> None:
    make = PointBuilder()
    runs = {1 << 20: body(10_000), 40 << 20: body(200_000, 2), (40 << 20) + 300_000: b"tail"}
    view = make.view([
        make.sparse(b"sparse", 64 << 20, runs, cut=7_000),
        make.sparse(b"hole", 1 << 40, {}),
    ])  # fmt: skip
    assert run(view, target).exit_code == 0
    expected = bytearray(64 << 20)
    for at, piece in runs.items():
        expected[at : at + len(piece)] = piece
    assert (target / "sparse").read_bytes() == expected
    assert (target / "sparse").stat().st_blocks * 512 < 1 << 20
    assert ((target / "hole").stat().st_size, (target / "hole").stat().st_blocks) == (1 << 40, 0)


def test_hard_links_come_back_as_one_file(target: Path) -> None:
    make = PointBuilder()
    group = {"links": 3, "inode": 9}
    view = make.view([
        make.directory(b"a", [make.file(b"one", b"same", **group)]),
        make.directory(b"b", [make.file(b"three", b"same", **group), make.file(b"two", b"same", **group)]),
        make.symlink(b"l1", b"t", links=2, inode=11), make.symlink(b"l2", b"t", links=2, inode=11),
        make.node(b"p1", Kind.FIFO, links=2, inode=12), make.node(b"p2", Kind.FIFO, links=2, inode=12),
        make.file(b"e1", b"", links=2, inode=13), make.file(b"e2", b"", links=2, inode=13),
    ])  # fmt: skip
    report = run(view, target)
    assert (report.exit_code, report.files, report.others) == (0, 2, 7)
    assert (target / "a/one").stat().st_nlink == 3
    for one, two in (("a/one", "b/two"), ("l1", "l2"), ("p1", "p2"), ("e1", "e2")):
        assert (target / one).lstat().st_ino == (target / two).lstat().st_ino
    assert run(view, target).already == 9


def test_two_files_that_had_one_inode_number_in_turn_are_not_joined(target: Path) -> None:
    """A linked file was deleted during the backup, and its inode number was given to another one."""
    make = PointBuilder()
    number = {"links": 2, "inode": 9}
    view = make.view([
        make.file(b"a", b"the old file", **number), make.file(b"b", b"the new file", **number),
        make.file(b"c", b"the new file", **number),
        make.file(b"d", b"the new file", **number, mode=0o600), make.file(b"e", b"the new file", **number, uid=7),
        make.file(b"f", b"the new file", **number, mtime_ns=5),
        make.symlink(b"l1", b"old", links=2, inode=11), make.symlink(b"l2", b"new", links=2, inode=11),
        make.node(b"p1", Kind.CHAR_DEVICE, (1, 3), links=2, inode=12),
        make.node(b"p2", Kind.CHAR_DEVICE, (1, 5), links=2, inode=12),
    ])  # fmt: skip
    run(view, target)
    assert (target / "a").read_bytes() == b"the old file"
    assert (target / "b").read_bytes() == (target / "c").read_bytes() == b"the new file"
    assert (target / "b").samefile(target / "c")
    assert len({(target / name).stat().st_ino for name in "abdef"}) == 5
    assert os.readlink(target / "l2") == "new"


@pytest.mark.parametrize("what", ["links", "empty directories"])
def test_what_comes_without_content_is_written_in_batches_too(
    target: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(restore_plan, "BATCH_FILES", 20)
    monkeypatch.setattr(restore_plan, "BATCH_ALONE", 10)
    sizes: list[int] = []
    real = restore_plan.Planner.batches

    def batches(self: restore_plan.Planner, paths: tuple[bytes, ...]) -> Iterator[restore_plan.Batch]:
        for batch in real(self, paths):
            sizes.append(max(len(batch.links), len(batch.left)))
            yield batch

    monkeypatch.setattr(restore_plan.Planner, "batches", batches)
    make = PointBuilder()
    group = {"links": 100, "inode": 9}
    number = range(100)
    view = make.view(
        [make.file(b"n%03d" % each, b"same", **group) for each in number]
        if what == "links"
        else [make.directory(b"n%03d" % each, [], mode=0o500) for each in number]
    )
    report = run(view, target)
    assert (report.exit_code, len(names(target))) == (0, 100)
    assert 10 <= max(sizes) <= 20
    assert sizes.count(10) > 6
    if what == "links":
        assert (target / "n042").stat().st_nlink == 100
    else:
        assert modes.S_IMODE((target / "n042").stat().st_mode) == 0o500


def test_linked_names_that_lie_far_apart_are_still_one_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More linked files between them than are kept in memory."""
    monkeypatch.setattr(restore_plan, "BATCH_FILES", 4)
    monkeypatch.setattr(restore_plan, "BATCH_ALONE", 4)
    monkeypatch.setattr(restore_links, "KEPT_GROUPS", 16)
    make = PointBuilder()
    trees = [
        make.directory(tree, [make.file(b"%03d" % each, b"%d" % each, links=2, inode=each) for each in range(200)])
        for tree in (b"daily.0", b"daily.1")
    ]
    report = run(make.view(trees), target)
    assert report.exit_code == 0
    for each in range(200):
        assert (target / f"daily.0/{each:03}").samefile(target / f"daily.1/{each:03}")
        assert (target / f"daily.1/{each:03}").read_bytes() == b"%d" % each


def test_names_seen_twice_through_a_bind_mount_are_one_file(target: Path) -> None:
    make = PointBuilder()
    group = {"links": 2, "inode": 9}
    view = make.view([
        make.directory(folder, [make.file(b"one", b"same", **group), make.file(b"two", b"same", **group)])
        for folder in (b"a", b"b", b"c")
    ])  # fmt: skip
    run(view, target)
    assert len({path.stat().st_ino for path in target.rglob("*") if path.is_file()}) == 1
    assert (target / "c/two").stat().st_nlink == 6


@pytest.mark.parametrize(
    ("conflict", "content", "copies", "outcome"),
    [
        (Conflict.FAIL, b"mine", set(), (0, 0, 1)),
        (Conflict.SKIP, b"mine", set(), (0, 1, 0)),
        (Conflict.OVERWRITE, b"theirs", set(), (1, 0, 0)),
        (Conflict.KEEP_BOTH, b"mine", {"name.wain-1"}, (1, 0, 0)),
    ],
)
def test_conflict_policies(
    target: Path, conflict: Conflict, content: bytes, copies: set[str], outcome: tuple[int, int, int]
) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"name", b"theirs")])
    target.mkdir()
    (target / "name").write_bytes(b"mine")
    for turn in range(2):
        report = run(view, target, policy=Policy(conflict))
        assert (target / "name").read_bytes() == content
        assert names(target) == {"name"} | copies
        if turn == 0 or conflict in (Conflict.FAIL, Conflict.SKIP):
            assert (report.files, report.skipped, report.problem_count) == outcome
        else:
            assert report.already == 1


@pytest.mark.parametrize("conflict", list(Conflict))
def test_a_file_where_a_directory_belongs(target: Path, conflict: Conflict) -> None:
    make = PointBuilder()
    view = make.view([make.directory(b"dir", [make.file(b"in", b"in")]), make.file(b"other", b"o")])
    target.mkdir()
    (target / "dir").write_bytes(b"mine")
    report = run(view, target, policy=Policy(conflict))
    assert (target / "other").read_bytes() == b"o"
    expected = {
        Conflict.FAIL: {"dir", "other"},
        Conflict.SKIP: {"dir", "other"},
        Conflict.OVERWRITE: {"dir", "dir/in", "other"},
        Conflict.KEEP_BOTH: {"dir", "dir.wain-1", "dir.wain-1/in", "other"},
    }
    assert names(target) == expected[conflict]
    assert report.problem_count == (conflict is Conflict.FAIL)


@pytest.mark.parametrize("full", [True, False])
def test_a_directory_where_a_file_belongs_goes_only_when_empty(target: Path, full: bool) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"name", b"theirs")])
    (target / "name").mkdir(parents=True)
    if full:
        (target / "name/keep").write_bytes(b"keep")
    report = run(view, target, policy=OVERWRITE)
    assert report.problem_count == full
    assert (target / "name").is_dir() == full


def test_in_place_writes_only_what_differs(target: Path) -> None:
    make = PointBuilder()
    good = body(500_000)
    view = make.view([
        make.file(b"changed", good, cut=50_000),
        make.file(b"same", good, cut=50_000),
        make.file(b"short", good, cut=50_000),
        make.sparse(b"sparse", 8 << 20, {4 << 20: good}, cut=50_000),
        make.file(b"empty", b""),
        make.file(b"new", b"new"),
    ])  # fmt: skip
    target.mkdir()
    (target / "changed").write_bytes(good[:120_000] + b"!" + good[120_001:] + b"longer")
    (target / "same").write_bytes(good)
    (target / "short").write_bytes(good[:77_000])
    (target / "sparse").write_bytes(b"\1" * (9 << 20))
    (target / "empty").write_bytes(b"not empty")
    inodes = {path.name: path.stat().st_ino for path in target.iterdir()}
    make.vault.reads.clear()
    report = run(view, target, policy=IN_PLACE)
    assert report.exit_code == 0
    assert (
        (target / "changed").read_bytes() == good == (target / "same").read_bytes() == (target / "short").read_bytes()
    )
    assert (target / "sparse").read_bytes() == bytes(4 << 20) + good + bytes((4 << 20) - len(good))
    assert (target / "sparse").stat().st_blocks * 512 < 2 << 20
    assert (target / "empty").read_bytes() == b""
    assert (target / "new").read_bytes() == b"new"
    assert {name: (target / name).stat().st_ino for name in inodes} == inodes
    assert (report.files, report.already) == (5, 1)
    assert report.written_bytes == 50_000 + 450_000 + 500_000 + 3
    assert run(view, target, policy=IN_PLACE).already == 6


def test_in_place_never_changes_a_file_with_a_second_name(target: Path, tmp_path: Path) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"name", b"theirs")])
    target.mkdir()
    (tmp_path / "outside").write_bytes(b"mine")
    os.link(tmp_path / "outside", target / "name")
    assert run(view, target, policy=IN_PLACE).exit_code == 0
    assert (target / "name").read_bytes() == b"theirs"
    assert (tmp_path / "outside").read_bytes() == b"mine"


def test_in_place_leaves_a_restored_group_of_names_alone(target: Path) -> None:
    make = PointBuilder()
    group = {"links": 2, "inode": 9}
    view = make.view([make.file(b"one", b"same", **group), make.file(b"two", b"same", **group)])
    run(view, target, policy=IN_PLACE)
    inode = (target / "one").stat().st_ino
    assert run(view, target, policy=IN_PLACE).already == 2
    assert (target / "one").stat().st_ino == inode == (target / "two").stat().st_ino


def test_in_place_needs_the_word_overwrite(target: Path) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"name", b"theirs")])
    with pytest.raises(Refused, match="in place"):
        run(view, target, policy=Policy(in_place=True))


def test_a_damaged_segment_costs_its_files_and_no_others(target: Path) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"f%02d" % number, body(40_000, number)) for number in range(20)])
    (pack,) = make.packs_of(ChunkType.DATA)
    make.vault.flip(pack.id, 4096 + 200_000)
    report = run(view, target)
    assert report.exit_code == 4
    assert 1 <= report.damaged_count <= 2
    for problem in report.damaged:
        assert f"pack {pack.id.hex()}" in problem.reason
        assert "leaf 0" in problem.reason
    lost = {os.fsdecode(problem.path[1:]) for problem in report.damaged}
    assert names(target) == {f"f{number:02}" for number in range(20)} - lost
    assert report.files == 20 - report.damaged_count


def test_a_damaged_chunk_of_a_large_file_leaves_nothing_under_its_name(target: Path) -> None:
    make = PointBuilder(pack_bytes=256 << 10)
    view = make.view([make.file(b"large", body(1_000_000), cut=60_000), make.file(b"small", b"s")])
    make.vault.flip(make.packs_of(ChunkType.DATA)[2].id, 5000)
    report = run(view, target)
    assert [problem.path for problem in report.damaged] == [b"/large"]
    assert names(target) == {"small"}


def test_in_place_damage_sets_a_changed_file_aside_and_leaves_others(target: Path) -> None:
    make = PointBuilder(pack_bytes=128 << 10)
    good = body(400_000)
    view = make.view([make.file(b"name", good, cut=40_000)])
    target.mkdir()
    (target / "name").write_bytes(bytes(400_000))
    make.vault.flip(make.packs_of(ChunkType.DATA)[-1].id, 5000)
    report = run(view, target, policy=IN_PLACE)
    assert report.exit_code == 4
    assert names(target) == {"name.wain-1"}


def test_a_missing_pack_and_a_missing_chunk_are_named(target: Path) -> None:
    make = PointBuilder()
    gone = ChunkId(b"g" * 32)
    entries = [make.file(b"a", body(1000)), Entry(b"b", Kind.FILE, stat(5), Content((gone,))), make.file(b"c", b"")]
    view = make.view(entries)
    (pack,) = make.packs_of(ChunkType.DATA)
    del make.vault.packs[pack.id]
    report = run(view, target)
    assert report.exit_code == 4
    assert {problem.path: problem.reason for problem in report.damaged} == {
        b"/a": f"pack {pack.id.hex()} is missing", b"/b": f"chunk {gone.hex()} in the index is missing",
    }  # fmt: skip
    assert names(target) == {"c"}


def test_what_is_still_travelling_names_the_seed(target: Path) -> None:
    make = PointBuilder()
    seed = SeedId(b"\xab" * 16)
    view = make.view([make.file(b"a", body(1000)), make.file(b"empty", b"")], seed=seed)
    make.vault.travelling.update(pack.id for pack in make.packs_of(ChunkType.DATA))
    report = run(view, target)
    assert (report.exit_code, report.damaged_count) == (3, 0)
    assert seed.hex() in report.problems[0].reason
    assert "travelling" in report.problems[0].reason


def test_a_chunk_under_a_false_name_is_never_written(target: Path) -> None:
    make = PointBuilder()
    false = ChunkId(b"f" * 32)
    falsely(b"swapped body", false)
    make.chunk(ChunkType.DATA, b"swapped body", false)
    view = make.view([Entry(b"x", Kind.FILE, stat(12), Content((false,))), make.file(b"y", b"y")])
    report = run(view, target)
    assert [problem.path for problem in report.damaged] == [b"/x"]
    assert "leaf 0" in report.damaged[0].reason
    assert names(target) == {"y"}


@pytest.mark.parametrize("size", [3, 5])
def test_a_size_that_its_chunks_do_not_fill_is_damage(target: Path, size: int) -> None:
    make = PointBuilder()
    view = make.view([Entry(b"x", Kind.FILE, stat(size), make.file(b"x", b"four").content)])
    report = run(view, target)
    assert report.damaged_count == 1
    assert "its chunks hold" in report.damaged[0].reason
    assert names(target) == set()


def test_an_interrupted_restore_goes_on_where_it_was(target: Path) -> None:
    make = PointBuilder(pack_bytes=128 << 10)
    entries = [make.file(b"f%02d" % number, body(30_000, number)) for number in range(40)]
    view = make.view([make.directory(b"d", entries, mode=0o555)])
    turns = iter(range(100))

    def cut_off() -> None:
        if next(turns) > 14:
            raise WriteFailed("the vault", "the line was cut")

    make.vault.before_read = cut_off
    with pytest.raises(RemoteError):
        run(view, target)
    done = len(names(target)) - 1
    assert 0 < done < 40
    (target / "d/.wain-part-0123456789abcdef-7").write_bytes(b"left by a kill")
    make.vault.before_read = lambda: None
    report = run(view, target)
    assert (report.exit_code, report.already, report.files) == (0, done, 40 - done)
    assert len(names(target)) == 41
    assert modes.S_IMODE((target / "d").stat().st_mode) == 0o555


def test_a_restore_is_made_durable(target: Path) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"x", b"x")])
    assert restore(view, RestoreRequest(target), Silent()).files == 1


def test_two_restores_do_not_share_a_target(target: Path) -> None:
    view = PointBuilder().view([])
    with TargetRoot(target), pytest.raises(Refused, match="another restore"):
        run(view, target)


def test_many_threads_worth_of_results_come_back_when_the_vault_fails(target: Path) -> None:
    make = PointBuilder()
    view = make.view([make.file(b"x", body(1000))])

    def broken() -> None:
        raise WriteFailed("the vault", "gone")

    make.vault.before_read = broken
    with pytest.raises(WriteFailed, match="gone"):
        run(view, target)
    assert isinstance(make.vault, ReadableVault)
    with pytest.raises(WriteFailed):
        PointView(make.vault, RID, view.point, KEY, NAMER)
