"""Looking into a recovery point."""

import pytest

from unit.agent.points import KEY, NAMER, RID, PointBuilder, falsely, stat
from wain.agent import browse, point_index
from wain.agent.browse import PointView, split_path
from wain.agent.point_packs import StillTravelling
from wain.base.errors import CommitmentMismatch, Corrupt, DataError, Missing, Refused
from wain.base.ids import ChunkId, PackId, SeedId
from wain.chunk.names import ChunkType
from wain.keys.secret import Secret, restore_key
from wain.pack.index import IndexTable, Location, encode_index
from wain.tree.entry import Content, Entry, Kind


@pytest.fixture(autouse=True, params=["a small index", "a large index"])
def _index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "a large index":
        monkeypatch.setattr(point_index, "IN_MEMORY_BYTES", 0)


def small_tree(make: PointBuilder) -> list[Entry]:
    deep = make.directory(b"deep", [make.file(b"leaf", b"leaf body"), make.symlink(b"to", b"../x")])
    return [
        make.directory(b"srv", [make.file(b"a.txt", b"a"), deep, make.file(b"deep.txt", b"d"), make.file(b"z", b"")]),
        make.directory(b"etc", []),
        make.file(b"top", b"top"),
    ]


def test_walks_in_path_order_with_directories_before_their_children() -> None:
    make = PointBuilder()
    view = make.view(small_tree(make))
    assert [path for path, _ in view.walk()] == [
        b"/etc", b"/srv", b"/srv/a.txt", b"/srv/deep", b"/srv/deep/leaf", b"/srv/deep/to", b"/srv/deep.txt",
        b"/srv/z", b"/top",
    ]  # fmt: skip


def test_walk_of_a_path_begins_with_it_and_stays_below() -> None:
    make = PointBuilder()
    view = make.view(small_tree(make))
    assert [path for path, _ in view.walk(b"/srv/deep/")] == [b"/srv/deep", b"/srv/deep/leaf", b"/srv/deep/to"]
    assert [path for path, _ in view.walk(b"/top")] == [b"/top"]


def test_finds_entries_and_lists() -> None:
    make = PointBuilder()
    view = make.view(small_tree(make))
    assert view.entry(b"/srv/deep/to").target == b"../x"
    assert view.entry(b"//srv/./a.txt").stat.size == 1
    assert [entry.name for entry in view.list(b"/")] == [b"etc", b"srv", b"top"]
    assert [entry.name for entry in view.list(b"/etc")] == []
    assert [entry.name for entry in view.list(b"/top")] == [b"top"]


@pytest.mark.parametrize("path", [b"/nothing", b"/srv/deep/leaf/under", b"/srv/dee", b"/top/", b"/srv/../top"])
def test_refuses_a_path_that_is_not_there(path: bytes) -> None:
    make = PointBuilder()
    view = make.view(small_tree(make))
    if path == b"/top/":
        assert view.entry(path).name == b"top"
        return
    with pytest.raises(Refused):
        view.entry(path)


def test_a_directory_of_many_pieces_is_searched_and_walked() -> None:
    make = PointBuilder()
    names = [b"%05d" % number for number in range(0, 3000, 3)]
    big = make.small_pieces(b"big", [make.file(name, name) for name in names], each=7)
    assert len(big.content.chunks) > 100
    view = make.view([big])
    assert [entry.name for entry in view.list(b"/big")] == names
    for number in (0, 3, 1500, 2994, 2997):
        assert view.entry(b"/big/%05d" % number).name == b"%05d" % number
    for number in (1, 2, 1499, 2998, 5000):
        with pytest.raises(Refused):
            view.entry(b"/big/%05d" % number)


def test_finding_a_name_in_many_pieces_reads_few_of_them() -> None:
    make = PointBuilder()
    entries = [Entry(b"%06d" % number, Kind.FIFO, stat()) for number in range(4096)]
    view = make.view([make.small_pieces(b"big", entries, each=8)])
    read: list[ChunkId] = []
    real = view.read_chunk
    view.read_chunk = lambda kind, chunk: read.append(chunk) or real(kind, chunk)  # type: ignore[method-assign]
    view.entry(b"/big/003333")
    assert len(read) <= 12  # The root, and ten halvings of 512 pieces.


def test_listed_files_give_all_their_chunks() -> None:
    make = PointBuilder()
    body = bytes(range(256)) * 8
    view = make.view([make.listed(b"huge", body, cut=100)])
    chunks = list(view.file_chunks(view.entry(b"/huge")))
    assert b"".join(view.read_chunk(ChunkType.DATA, chunk) for chunk in chunks) == body


def test_refuses_another_key() -> None:
    make = PointBuilder()
    point = make.finish(small_tree(make))
    with pytest.raises(CommitmentMismatch):
        PointView(make.vault, RID, point, restore_key(Secret(bytes(32))), NAMER)


def test_refuses_a_manifest_that_is_not_the_point() -> None:
    make = PointBuilder()
    first = make.finish(small_tree(make))
    second = make.finish(small_tree(make))
    make.vault.manifests[first] = make.vault.manifests[second]
    with pytest.raises(Corrupt, match="do not hash"):
        PointView(make.vault, RID, first, KEY, NAMER)


def test_a_chunk_of_one_type_never_stands_in_for_another() -> None:
    make = PointBuilder()
    view = make.view([make.file(b"file", b"body")])
    (chunk,) = view.entry(b"/file").content.chunks
    with pytest.raises(Corrupt):
        view.read_chunk(ChunkType.TREE, chunk)


def test_a_chunk_under_a_false_name_is_refused() -> None:
    make = PointBuilder()
    false = ChunkId(b"f" * 32)
    falsely(b"false body", false)
    make.chunk(ChunkType.DATA, b"false body", false)
    view = make.view([Entry(b"x", Kind.FILE, stat(10), Content((false,)))])
    with pytest.raises(Corrupt, match="are not chunk"):
        view.read_chunk(ChunkType.DATA, false)


def test_a_damaged_listing_raises_or_is_reported_and_passed() -> None:
    make = PointBuilder()
    broken = Entry(b"broken", Kind.DIRECTORY, stat(mode=0o755), Content((ChunkId(b"x" * 32),)))
    view = make.view([broken, make.file(b"file", b"body")])
    with pytest.raises(Missing):
        list(view.walk())
    told: list[bytes] = []
    assert [path for path, _ in view.walk(b"/", lambda path, _: told.append(path))] == [b"/broken", b"/file"]
    assert told == [b"/broken"]


def test_a_lost_index_is_rebuilt_from_the_packs() -> None:
    make = PointBuilder()
    point = make.finish(small_tree(make))
    for pack in make.packs_of(ChunkType.INDEX):
        make.vault.flip(pack.id, 4200)
    view = PointView(make.vault, RID, point, KEY, NAMER)
    assert view.index_damage
    assert all(isinstance(error, DataError) for error in view.index_damage)
    assert len(list(view.walk())) == 9


def test_a_chunk_that_the_index_puts_elsewhere_is_found_in_the_packs_of_the_point() -> None:
    """It was stored a second time while its first pack was thought lost; merged tables name the second one alone."""
    make = PointBuilder()
    point = make.finish([make.file(b"file", b"stored twice"), make.file(b"other", b"stored once")])
    view = PointView(make.vault, RID, point, KEY, NAMER)
    chunk = NAMER.name(ChunkType.DATA, b"stored twice")
    elsewhere = [
        (each, replace_pack(at) if each == chunk else at) for table in view.index._tables for each, at in table.items()
    ]
    view.index._tables = [IndexTable(encode_index(elsewhere))]
    assert view.read_chunk(ChunkType.DATA, chunk) == b"stored twice"
    assert list(view.index._rebuilt) == [chunk], "what the tables know is not remembered twice"
    with pytest.raises(Missing):
        view.locate(ChunkId(b"n" * 32))


def replace_pack(at: Location) -> Location:
    return at._replace(pack=PackId(b"e" * 32))


def test_an_index_on_the_road_says_so() -> None:
    make = PointBuilder()
    seed = SeedId(b"s" * 16)
    point = make.finish(small_tree(make), seed=seed)
    make.vault.travelling.update(make.vault.packs)
    view = PointView(make.vault, RID, point, KEY, NAMER)
    with pytest.raises(StillTravelling, match=seed.hex()):
        view.entry(b"/top")


def test_paths_are_taken_apart() -> None:
    assert split_path(b"/a//b/./c/") == (b"a", b"b", b"c")
    assert split_path(b"/") == ()
    with pytest.raises(Refused):
        split_path(b"/a/../b")


def test_a_name_among_many_pieces_costs_one_piece_once_their_beginnings_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(browse, "CACHED_ENTRIES", 8)
    make = PointBuilder()
    wide = make.small_pieces(b"wide", [make.file(b"%03d" % number, b"%d" % number) for number in range(100)], 7)
    view = make.view([wide])
    names = [b"%03d" % number for number in range(100)]
    assert [entry.name for entry in view.list(b"/wide")] == names
    assert len(view._pieces) == 1, "two pieces have more than eight entries"
    assert all(view.child(wide, name) for name in names)
    decoded: list[int] = []
    real = browse.decode_piece
    monkeypatch.setattr(browse, "decode_piece", lambda body: decoded.append(len(body)) or real(body))
    for name in (b"050", b"049", b"000", b"099"):
        decoded.clear()
        assert view.entry(b"/wide/" + name).name == name
        assert len(decoded) <= 2, "the root's piece, and the one that has the name"
    assert [view.child(wide, name) for name in (b"", b"0495", b"a", b"\xff" * 255)] == [None] * 4


@pytest.mark.parametrize("known", [1, 2, 100])
def test_beginnings_are_forgotten_and_found_again(monkeypatch: pytest.MonkeyPatch, known: int) -> None:
    monkeypatch.setattr(browse, "KNOWN_FIRSTS", known)
    make = PointBuilder()
    view = make.view([make.small_pieces(b"wide", [make.file(b"%02d" % number, b"") for number in range(30)], 2)])
    for number in (3, 29, 0, 15, 14):
        assert view.entry(b"/wide/%02d" % number).name == b"%02d" % number
    assert len(view._firsts) <= known
