"""A mounted tree without FUSE: paths, names, inode numbers, and reading ranges of files."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from unit.agent.points import KEY, NAMER, NOW, RID, PointBuilder
from wain.agent import mount_pipeline, mount_view
from wain.agent.browse import PointView
from wain.agent.mount_files import OpenFile
from wain.agent.mount_pipeline import SegmentPool
from wain.agent.mount_view import MountView, Node, folders
from wain.agent.point_packs import StillTravelling
from wain.base.errors import DataError, WriteFailed
from wain.base.ids import PointId
from wain.chunk.names import ChunkType
from wain.pack.format import FOOTER_BYTES
from wain.tree.entry import Entry, Kind


@pytest.fixture
def make() -> PointBuilder:
    return PointBuilder()


@pytest.fixture
def pool() -> Iterator[SegmentPool]:
    with SegmentPool(NAMER) as found:
        yield found


class Opened(list[PointId]):
    """Opens points and remembers which."""

    def __init__(self, make: PointBuilder) -> None:
        super().__init__()
        self._make = make

    def __call__(self, point: PointId) -> PointView:
        self.append(point)
        return PointView(self._make.vault, RID, point, KEY, NAMER)


def single(make: PointBuilder, entries: list[Entry]) -> MountView:
    make.finish(entries)
    return MountView(folders(make.vault.listing[-1:]), Opened(make), single=True)


def names(view: MountView, path: bytes) -> list[bytes]:
    node = view.find(path)
    assert node is not None
    return [name for name, _ in view.list(path, node)]


def tree(make: PointBuilder) -> list[Entry]:
    inner = make.directory(b"inner", [make.file(b"f", b"data"), make.symlink(b"l", b"f")], uid=7)
    return [inner, make.file(b"top", b"top"), make.node(b"null", Kind.CHAR_DEVICE, (1, 3))]


def test_one_point_is_the_tree(make: PointBuilder) -> None:
    view = single(make, tree(make))
    assert names(view, b"/") == [b"inner", b"null", b"top"]
    assert names(view, b"/inner") == [b"f", b"l"]
    inner = view.find(b"/inner")
    assert inner is not None
    assert inner.entry.stat.uid == 7
    assert view.find(b"/inner/absent") is None
    assert view.find(b"/top/below-a-file") is None
    assert view.find(b"/latest") is None


def test_a_listing_and_a_lookup_agree(make: PointBuilder) -> None:
    listed = single(make, tree(make))
    node = listed.find(b"/inner")
    assert node is not None
    alone = MountView(folders(make.vault.listing), Opened(make), single=True)
    for name, child in listed.list(b"/inner", node):
        found = alone.find(b"/inner/" + name)
        assert found is not None
        assert (found.entry, found.inode) == (child.entry, child.inode)


def test_all_points_are_folders_and_latest_is_the_newest(make: PointBuilder) -> None:
    for number in range(3):
        make.finish([make.file(b"f%d" % number, b"%d" % number)])
        make.vault.listing[-1] = replace(make.vault.listing[-1], received_at=NOW + timedelta(hours=number))
    opened = Opened(make)
    view = MountView(folders(make.vault.listing), opened, single=False)
    assert names(view, b"/") == [
        b"2026-03-01T00-00-00Z", b"2026-03-01T01-00-00Z", b"2026-03-01T02-00-00Z", b"latest",
    ]  # fmt: skip
    latest, folder = view.find(b"/latest"), view.find(b"/2026-03-01T01-00-00Z")
    assert latest is not None
    assert folder is not None
    assert (latest.entry.kind, latest.entry.target) == (Kind.SYMLINK, b"2026-03-01T02-00-00Z")
    assert folder.entry.kind is Kind.DIRECTORY
    assert opened == []  # Looking at the folders opens no point.
    assert names(view, b"/2026-03-01T01-00-00Z") == [b"f1"]
    assert view.find(b"/2026-03-01T01-00-00Z/f1") is not None
    assert view.find(b"/2026-03-01T01-00-00Z/f2") is None
    assert view.find(b"/2026-03-01T09-00-00Z") is None
    assert view.find(b"/latest/f2") is None  # The kernel follows the link itself.
    assert opened == [make.vault.listing[1].id]


def test_points_of_one_second_have_names_of_their_own(make: PointBuilder) -> None:
    for number in range(2):
        make.finish([make.file(b"f", b"%d" % number)])
    found = [folder.name.decode() for folder in folders(make.vault.listing)]
    assert found == [f"2026-03-01T00-00-00Z-{row.id.hex()[:12]}" for row in make.vault.listing]


def test_few_points_stay_open(make: PointBuilder) -> None:
    for number in range(7):
        make.finish([make.file(b"f", b"%d" % number)])
        make.vault.listing[-1] = replace(make.vault.listing[-1], received_at=NOW + timedelta(hours=number))
    opened = Opened(make)
    view = MountView(folders(make.vault.listing), opened, single=False)
    for _ in range(2):
        for folder in folders(make.vault.listing):
            assert names(view, b"/" + folder.name) == [b"f"]
    assert len(opened) == 14
    assert len(view._views) == mount_view.OPEN_POINTS


def inodes(view: MountView, path: bytes = b"/") -> dict[bytes, int]:
    node = view.find(path)
    assert node is not None
    found = {path: node.inode}
    for name, child in view.list(path, node):
        here = path.rstrip(b"/") + b"/" + name
        found |= inodes(view, here) if child.entry.kind is Kind.DIRECTORY else {here: child.inode}
    return found


def test_hard_links_share_a_number_and_nothing_else_does(make: PointBuilder) -> None:
    one = make.file(b"one", b"x", inode=5, links=2)
    alone = make.file(b"alone", b"x", inode=5)  # A number that was given out again while the backup ran.
    reused = make.file(b"reused", b"y", inode=5, links=2)
    elsewhere = make.file(b"elsewhere", b"x", inode=5, device=1, links=2)
    bind = make.directory(b"bind", [make.directory(b"bind", [], inode=9)], inode=9)
    entries = [one, replace(one, name=b"two"), alone, reused, elsewhere, bind]
    make.finish(entries)
    make.finish([*entries, make.file(b"more")])
    make.vault.listing[-1] = replace(make.vault.listing[-1], received_at=NOW + timedelta(hours=1))
    found = inodes(MountView(folders(make.vault.listing), Opened(make), single=False))
    groups: dict[int, list[bytes]] = {}
    for path, number in found.items():
        groups.setdefault(number, []).append(path)
    first, second = (b"/" + folder.name for folder in folders(make.vault.listing))
    assert [group for group in groups.values() if len(group) > 1] == [
        [first + b"/one", first + b"/two"], [second + b"/one", second + b"/two"],
    ]  # fmt: skip


def test_paths_are_forgotten_and_found_again(make: PointBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_view, "KNOWN_PATHS", 4)
    wide = make.small_pieces(b"wide", [make.file(b"%03d" % n, b"%d" % n) for n in range(100)], 7)
    view = single(make, [wide])
    assert len(names(view, b"/wide")) == 100
    assert len(view._known) == 4
    assert all(view.find(b"/wide/%03d" % n) is not None for n in range(100))


def test_a_very_deep_path_is_found(make: PointBuilder) -> None:
    entry = make.file(b"f", b"f")
    for _ in range(1500):
        entry = make.directory(b"d", [entry])
    view = single(make, [entry])
    assert view.find(b"/d" * 1500 + b"/f") is not None


# Content


def noise(size: int, salt: int = 1) -> bytes:
    return random.Random(salt).randbytes(size)


def open_file(view: MountView, path: bytes, pool: SegmentPool) -> OpenFile:
    node = view.find(path)
    assert node is not None
    assert node.view is not None
    return OpenFile(node.view, node.entry, pool)


def test_any_range_of_any_file(make: PointBuilder, pool: SegmentPool) -> None:
    dense, listed = noise(300_000), noise(70_000, 2)
    runs = {5: noise(4000, 3), 100_000: noise(70_000, 4), 300_000: noise(10, 5)}
    whole = bytearray(500_000)
    for at, body in runs.items():
        whole[at : at + len(body)] = body
    entries = [
        make.file(b"dense", dense, cut=9000),
        make.listed(b"listed", listed, 1000),
        make.sparse(b"sparse", len(whole), runs, cut=9000),
        make.file(b"empty"),
    ]
    view = single(make, entries)
    bodies = {b"dense": dense, b"listed": listed, b"sparse": bytes(whole), b"empty": b""}
    dice = random.Random(7)
    for name, body in bodies.items():
        file = open_file(view, b"/" + name, pool)
        assert file.read(0, len(body) + 10) == body
        for _ in range(60):
            at, length = dice.randrange(len(body) + 10), dice.randrange(30_000)
            assert file.read(at, length) == body[at : at + length]
        again = open_file(view, b"/" + name, pool)
        pieces = [again.read(at, 4096) for at in range(0, len(body), 4096)]
        assert b"".join(pieces) == body


def data_reads(make: PointBuilder) -> int:
    """Bytes of segments that were read from data packs, footers and indexes apart."""
    sizes = {pack.id: len(pack.stored) for pack in make.packs_of(ChunkType.DATA)}
    return sum(
        length for pack, offset, length in make.vault.reads
        if pack in sizes and length > 512 and offset + length < sizes[pack] - FOOTER_BYTES
    )  # fmt: skip


def test_a_random_read_decodes_only_its_segment(make: PointBuilder, pool: SegmentPool) -> None:
    body = noise(3_000_000)
    view = single(make, [make.file(b"f", body, cut=60_000)])
    file = open_file(view, b"/f", pool)
    make.vault.reads.clear()
    assert file.read(1_500_000, 100) == body[1_500_000:1_500_100]
    assert file.read(200_000, 100) == body[200_000:200_100]
    assert data_reads(make) < 300_000  # Two segments of 64 to 124 KiB.


def test_a_reader_who_goes_straight_on_is_run_ahead_of(make: PointBuilder, pool: SegmentPool) -> None:
    body = noise(3_000_000)
    view = single(make, [make.file(b"f", body, cut=60_000)])
    file = open_file(view, b"/f", pool)
    for at in range(0, 500_000, 100_000):
        file.read(at, 100_000)
    pool._pool.shutdown(wait=True)
    assert len(pool._segments) > 20  # Two MiB ahead, in segments of about 120 kB.


def test_what_is_kept_is_bounded(make: PointBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_pipeline, "CACHE_BYTES", 300_000)
    body = noise(3_000_000)
    view = single(make, [make.file(b"f", body, cut=60_000)])
    with SegmentPool(NAMER) as pool:
        file = open_file(view, b"/f", pool)
        for at in [*range(0, len(body), 50_000), *range(len(body) - 50_000, 0, -50_000)]:
            assert file.read(at, 50_000) == body[at : at + 50_000]
            assert pool._bytes == sum(segment.size for segment in pool._segments.values()) <= 300_000


def test_damage_stays_in_its_segment(make: PointBuilder, pool: SegmentPool) -> None:
    body = noise(3_000_000)
    view = single(make, [make.file(b"f", body, cut=60_000)])
    (pack,) = make.packs_of(ChunkType.DATA)
    make.vault.flip(pack.id, 1_500_000)
    file = open_file(view, b"/f", pool)
    wrong = 0
    for at in range(0, len(body), 10_000):
        try:
            assert file.read(at, 10_000) == body[at : at + 10_000]
        except DataError:
            wrong += 1
    assert 1 <= wrong <= 14


def test_a_vault_that_comes_back_is_asked_again(make: PointBuilder, pool: SegmentPool) -> None:
    body = noise(200_000)
    view = single(make, [make.file(b"f", body, cut=60_000)])
    file = open_file(view, b"/f", pool)

    def fail() -> None:
        raise WriteFailed("the vault", "no road")

    make.vault.before_read = fail
    with pytest.raises(WriteFailed):
        file.read(0, 10)
    make.vault.before_read = lambda: None
    assert file.read(0, 10) == body[:10]


def test_what_travels_is_said_to_travel(make: PointBuilder, pool: SegmentPool) -> None:
    view = single(make, [make.file(b"f", noise(1000))])
    make.vault.travelling |= {pack.id for pack in make.packs_of(ChunkType.DATA)}
    with pytest.raises(StillTravelling):
        open_file(view, b"/f", pool).read(0, 10)


def test_nodes_above_the_points_have_no_content(make: PointBuilder) -> None:
    make.finish([])
    view = MountView(folders(make.vault.listing), Opened(make), single=False)
    root = view.find(b"/")
    assert isinstance(root, Node)
    assert root.view is None
