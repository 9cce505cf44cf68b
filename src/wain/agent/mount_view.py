"""A recovery point, or all of them, as a file system sees it: paths to entries, attributes, listings. No FUSE here.

With all points, each is a folder named by the moment it was received, and `latest` is a symbolic link to the newest.
A point is opened when somebody looks into it; a few stay open.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from blake3 import blake3

from wain.agent.browse import PointView
from wain.base.ids import PointId
from wain.base.moment import to_ns
from wain.tree.entry import Entry, Kind, Stat
from wain.tree.links import link_key
from wain.wire.vault import RecoveryPoint

LATEST: Final = b"latest"
OPEN_POINTS: Final = 4
KNOWN_PATHS: Final = 16_384
"""Entries that are found without looking into their directories again."""

_ROOT: Final = b"/"

OpenPoint = Callable[[PointId], PointView]


class Node(NamedTuple):
    """One thing in the mounted tree. `view` is None for what stands above the points."""

    entry: Entry
    inode: int
    view: PointView | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A point and the name of its folder."""

    name: bytes
    point: RecoveryPoint


def folders(points: Sequence[RecoveryPoint]) -> list[Folder]:
    """Return points under the moments at which they were received, in UTC and without colons: `2026-03-01T12-00-00Z`.

    Points of the same second, which only a vault's odd clock makes, have the first digits of their ids as well.
    """
    names = [f"{point.received_at:%Y-%m-%dT%H-%M-%SZ}" for point in points]
    return [
        Folder((name if names.count(name) == 1 else f"{name}-{point.id.hex()[:12]}").encode(), point)
        for name, point in zip(names, points, strict=True)
    ]


class MountView:
    """The tree below a mount point. Paths begin with `/` and are bytes. Use it from one thread.

    `folders` are oldest first; when `single`, there is one, and its point is the tree.

    Raises (all methods):
        DataError: stored bytes are wrong or missing; StillTravelling, RemoteError: they are not at hand.
    """

    def __init__(self, folders: Sequence[Folder], open_point: OpenPoint, *, single: bool) -> None:
        assert not single or len(folders) == 1
        self._folders = {folder.name: folder for folder in folders}
        self._newest = folders[-1] if folders else None
        self._single = folders[0] if single else None
        self._open_point = open_point
        self._views: OrderedDict[PointId, PointView] = OrderedDict()
        self._known: OrderedDict[bytes, Node] = OrderedDict()

    def find(self, path: bytes) -> Node | None:
        """Return what is at a path, or None."""
        known = self._known.get(path)
        if known is not None:
            self._known.move_to_end(path)
            return known
        if self._single is not None:
            return self._inside(self._single, path, path)
        first, _, inner = path[1:].partition(b"/")
        if not first:
            return Node(self._plain_directory(b"", self._newest_moment()), _inode(_ROOT))
        if first == LATEST and self._newest is not None:
            return None if inner else self._latest()
        folder = self._folders.get(first)
        if folder is None:
            return None
        # A listing of all points opens none of them.
        return self._inside(folder, path, _ROOT + inner) if inner else self._folder(folder)

    def list(self, path: bytes, node: Node) -> Iterator[tuple[bytes, Node]]:
        """Iterate over the names in a directory, by name, and what each stands for."""
        view = node.view
        if view is None and path == _ROOT:
            yield from ((folder.name, self._folder(folder)) for folder in self._folders.values())
            if self._newest is not None:
                yield LATEST, self._latest()
            return
        entry = node.entry
        if view is None:
            folder = self._folders[path[1:]]
            view = self._view(folder.point.id)
            entry = view.root()
        stem = path.rstrip(b"/") + b"/"
        for child in view.entries(entry.content.chunks, path):
            yield child.name, self._remember(stem + child.name, child, view)

    def _inside(self, folder: Folder, path: bytes, inner: bytes) -> Node | None:
        """Walk down from the root of a point, or from the deepest directory that is known."""
        view = self._view(folder.point.id)
        names = inner.split(b"/")[1:] if inner != _ROOT else []
        stem = path[: len(path) - len(inner)]
        root = view.root()
        moment = to_ns(folder.point.received_at)
        root = replace(root, stat=replace(root.stat, mtime_ns=moment, ctime_ns=moment))
        here, node = stem, Node(root, _inode(_ROOT), view)
        for name in names:
            here += b"/" + name
            known = self._known.get(here)
            if known is None:
                child = view.child(node.entry, name) if node.entry.kind is Kind.DIRECTORY else None
                if child is None:
                    return None
                known = self._remember(here, child, view)
            node = known
        return node

    def _remember(self, path: bytes, entry: Entry, view: PointView) -> Node:
        node = Node(entry, _entry_inode(path, entry, view.point), view)
        self._known[path] = node
        if len(self._known) > KNOWN_PATHS:
            self._known.popitem(last=False)
        return node

    def _view(self, point: PointId) -> PointView:
        view = self._views.get(point)
        if view is None:
            view = self._views[point] = self._open_point(point)
            if len(self._views) > OPEN_POINTS:
                # Not closed: a file of it may be open. It goes when nobody holds it any more.
                gone = self._views.popitem(last=False)[1]
                for path in [path for path, node in self._known.items() if node.view is gone]:
                    del self._known[path]
        else:
            self._views.move_to_end(point)
        return view

    def _folder(self, folder: Folder) -> Node:
        entry = self._plain_directory(folder.name, folder.point.received_at)
        return Node(entry, _inode(_ROOT + folder.name))

    def _latest(self) -> Node:
        assert self._newest is not None
        target = self._newest.name
        moment = to_ns(self._newest.point.received_at)
        stat = Stat(0o777, 0, 0, len(target), moment, moment, 0, 0, 1)
        return Node(Entry(LATEST, Kind.SYMLINK, stat, target=target), _inode(_ROOT + LATEST))

    def _newest_moment(self) -> datetime | None:
        return self._newest.point.received_at if self._newest is not None else None

    def _plain_directory(self, name: bytes, moment: datetime | None) -> Entry:
        at = to_ns(moment) if moment is not None else 0
        return Entry(name, Kind.DIRECTORY, Stat(0o755, 0, 0, 0, at, at, 0, 0, 1))


def _inode(words: bytes) -> int:
    return int.from_bytes(blake3(words).digest(8), "little") or 1


def _entry_inode(path: bytes, entry: Entry, point: PointId) -> int:
    """Return an inode number: the same for the names of one file, another for everything else.

    The numbers of the source will not do: they repeat on its file systems and from point to point, and bind mounts
    make directories seem to hold themselves.
    """
    key = link_key(entry)
    return _inode(path) if key is None else _inode(b"%s %s" % (point, key))
