"""Entries of every kind, for the tests of this room."""

from hypothesis import strategies as st

from wain.base.ids import ChunkId
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.rules import tidy_extents


def chunk(number: int) -> ChunkId:
    return ChunkId(number.to_bytes(32, "big"))


def stat(size: int = 0, mode: int = 0o644) -> Stat:
    return Stat(mode, 1000, 100, size, 1_700_000_000_123_456_789, -1, 77, 1, 2)


def file(name: bytes, size: int = 5) -> Entry:
    return Entry(name, Kind.FILE, stat(size), Content((chunk(1),) if size else ()))


XATTRS = ((b"system.posix_acl_access", b"\x02\0\0\0"), (b"user.empty", b""))
EVERY_KIND = (
    Entry(b"a-file", Kind.FILE, stat(9 << 20), Content((chunk(1), chunk(2))), xattrs=XATTRS),
    Entry(b"b-empty", Kind.FILE, stat(0)),
    Entry(b"c-hole", Kind.FILE, stat(1 << 40), Content(extents=((1 << 40, 0),))),
    Entry(b"d-sparse", Kind.FILE, stat(100), Content((chunk(3),), ((0, 10), (50, 20)))),
    Entry(b"e-listed", Kind.FILE, stat(10 << 40), Content((chunk(4),) * 41, listed=True)),
    Entry(b"f-directory", Kind.DIRECTORY, stat(4096, 0o1777), Content((chunk(5),)), xattrs=XATTRS[:1]),
    Entry(b"g-symlink", Kind.SYMLINK, stat(6), target=b"../\xff\n"),
    Entry(b"h-tty", Kind.CHAR_DEVICE, stat(), rdev=(4, 64)),
    Entry(b"i-whiteout", Kind.CHAR_DEVICE, stat(), rdev=(0, 0)),
    Entry(b"j-disk", Kind.BLOCK_DEVICE, stat(), rdev=(8, (1 << 32) - 1)),
    Entry(b"k-fifo", Kind.FIFO, stat()),
    Entry(b"l-socket", Kind.SOCKET, stat(), xattrs=XATTRS[1:]),
)

_u32 = st.integers(0, (1 << 32) - 1)
_u64 = st.integers(0, (1 << 64) - 1)
_ns = st.integers(-(1 << 63) * 10**9, (1 << 63) * 10**9 - 1)
_ids = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4).map(tuple)
_attribute_names = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)
_xattrs = st.dictionaries(_attribute_names, st.binary(max_size=40), max_size=3).map(lambda d: tuple(sorted(d.items())))
names = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


def stats(sizes: st.SearchStrategy[int] = _u64) -> st.SearchStrategy[Stat]:
    return st.builds(
        Stat, st.integers(0, 0o7777), _u32, _u32, sizes, _ns, _ns, _u64, st.integers(0, (1 << 16) - 1), _u32
    )


@st.composite
def files(draw: st.DrawFn) -> Entry:
    """A file, with holes or without, listed or not."""
    cuts = draw(st.lists(st.integers(1, 1 << 20), min_size=1, max_size=6))
    found, at = [], 0
    for number, length in enumerate(cuts):
        if number % 2:
            found.append((at, length))
        at += length
    extents = tidy_extents(found, at) if draw(st.booleans()) else ()
    data = sum(length for _, length in extents) if extents else at
    chunks = draw(_ids) if data else ()
    entry_stat = draw(stats(st.just(at)))
    listed = bool(chunks) and draw(st.booleans())
    return Entry(draw(names), Kind.FILE, entry_stat, Content(chunks[:data], extents, listed), xattrs=draw(_xattrs))


entries = st.one_of(
    files(),
    st.builds(lambda n, s, c, x: Entry(n, Kind.DIRECTORY, s, Content(c), xattrs=x), names, stats(), _ids, _xattrs),
    st.builds(
        lambda n, s, t, x: Entry(n, Kind.SYMLINK, s, target=t, xattrs=x),
        names, stats(), st.binary(min_size=1, max_size=300).filter(lambda t: b"\0" not in t), _xattrs,
    ),
    st.builds(
        lambda n, k, s, r: Entry(n, k, s, rdev=r),
        names, st.sampled_from((Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE)), stats(), st.tuples(_u32, _u32),
    ),
    st.builds(
        lambda n, k, s, x: Entry(n, k, s, xattrs=x),
        names, st.sampled_from((Kind.FIFO, Kind.SOCKET)), stats(), _xattrs,
    ),
)  # fmt: skip
