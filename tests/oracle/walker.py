"""A second opinion: walks two trees, compares everything a POSIX file has, and names each difference.

It shares no line with the product. Both trees are walked in path order through directory descriptors (so paths longer
than PATH_MAX work) and merged as they come: memory holds the names of the open directories and one path for each group
of hard links.

As a program: `python tests/oracle/walker.py LEFT RIGHT` prints one line for each difference; exit 1 when there are any.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import resource
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

BLOCK = 1 << 16
"""Content is hashed in blocks of this size; blocks of zeros count the same whether stored or a hole."""

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}

Path = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What to look at. `ignored_xattrs` are name prefixes; `without` are field names; `kinds_apart` are not visited."""

    ignored_xattrs: tuple[bytes, ...] = (b"security.selinux",)
    without: frozenset[str] = frozenset()
    kinds_apart: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Node:
    """One name in a tree. `path` is relative to the root, which itself is the empty path."""

    path: Path
    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    size: int = 0
    """Of a file; other kinds have none that a backup could keep."""
    content: str = ""
    extents: tuple[tuple[int, int], ...] = ()
    target: bytes = b""
    rdev: tuple[int, int] = (0, 0)
    links: Path = ()
    """The first path, in walk order, of this one's group of hard links; empty for the first itself, because its other
    links may lie outside of the tree."""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    error: str = ""
    """Why this name could not be read. Two unreadable nodes are never equal."""


FIELDS = ("kind", "mode", "owner", "mtime", "size", "content", "extents", "target", "rdev", "links", "xattrs")


@dataclass(frozen=True, slots=True)
class Difference:
    """`field` is one of FIELDS, or `missing`, `extra`, `error`."""

    path: bytes
    field: str
    left: str
    right: str

    def __str__(self) -> str:
        shown = self.path.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")
        return f"{self.field}: {shown or '.'}: {self.left} | {self.right}"


@dataclass(slots=True)
class _Level:
    """One open directory on the way down."""

    fd: int
    path: Path
    names: list[bytes]


@dataclass(slots=True)
class Tree:
    """Walks one tree. Not re-usable. `entries` counts the nodes given out, `bytes_read` what was hashed."""

    root: bytes
    options: Options = field(default_factory=Options)
    entries: int = 0
    bytes_read: int = 0
    _leaders: dict[tuple[int, int], Path] = field(default_factory=dict)

    def nodes(self) -> Iterator[Node]:
        """Yield every node, parents before children, siblings in byte order of their names."""
        _raise_descriptor_limit()
        root_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        stack: list[_Level] = []
        try:
            yield self._node(root_fd, b".", ())
            stack.append(_Level(root_fd, (), _names(root_fd)))
            while stack:
                level = stack[-1]
                if not level.names:
                    os.close(level.fd)
                    stack.pop()
                    continue
                name = level.names.pop()
                node = self._node(level.fd, name, (*level.path, name))
                if node.kind in self.options.kinds_apart:
                    continue
                below = None
                if node.kind == "directory":
                    node, below = _descend(level.fd, name, node)
                self.entries += 1
                yield node
                if below is not None:
                    stack.append(below)
        finally:
            for level in stack:
                os.close(level.fd)

    def _node(self, dirfd: int, name: bytes, path: Path) -> Node:
        found = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        node = Node(
            path=path,
            kind=KINDS[stat.S_IFMT(found.st_mode)],
            mode=stat.S_IMODE(found.st_mode),
            owner=(found.st_uid, found.st_gid),
            mtime=found.st_mtime_ns,
        )
        try:
            return self._fill(node, dirfd, name, found)
        except OSError as broken:
            return replace(node, error=f"{errno.errorcode.get(broken.errno or 0)}: {broken.strerror}")

    def _fill(self, node: Node, dirfd: int, name: bytes, found: os.stat_result) -> Node:
        node = replace(node, xattrs=self._xattrs(dirfd, name))
        leads = True
        if node.kind != "directory" and found.st_nlink > 1:
            leader = self._leaders.setdefault((found.st_dev, found.st_ino), node.path)
            leads = leader == node.path
            node = node if leads else replace(node, links=leader)
        if node.kind == "symlink":
            return replace(node, target=os.readlink(name, dir_fd=dirfd))
        if node.kind in ("char device", "block device"):
            return replace(node, rdev=(os.major(found.st_rdev), os.minor(found.st_rdev)))
        if node.kind != "file":
            return node
        node = replace(node, size=found.st_size)
        return self._read(node, dirfd, name, found) if leads else node

    def _xattrs(self, dirfd: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
        # There is no lgetxattrat before Linux 6.13; the descriptor's magic link keeps the path short.
        path = b"/proc/self/fd/%d/%s" % (dirfd, name)
        try:
            names = [os.fsencode(each) for each in os.listxattr(path, follow_symlinks=False)]
        except OSError as none:
            if none.errno in (errno.ENOTSUP, errno.ENODATA):
                return ()
            raise
        kept = sorted(each for each in names if not each.startswith(self.options.ignored_xattrs))
        return tuple((each, os.getxattr(path, each, follow_symlinks=False)) for each in kept)

    def _read(self, node: Node, dirfd: int, name: bytes, found: os.stat_result) -> Node:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(name, flags | os.O_NOATIME, dir_fd=dirfd)
        except PermissionError:
            fd = os.open(name, flags, dir_fd=dirfd)
        try:
            extents = data_extents(fd, found.st_size)
            digest = self._hash(fd, extents)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if (after.st_ino, after.st_size, after.st_mtime_ns) != (found.st_ino, found.st_size, found.st_mtime_ns):
            return replace(node, error="it changed while it was read")
        return replace(node, content=digest, extents=extents)

    def _hash(self, fd: int, extents: tuple[tuple[int, int], ...]) -> str:
        """Hash what is not zero, with its place, so that the digest does not depend on where the holes are."""
        digest = hashlib.sha256()
        zeros = bytes(BLOCK)
        for start, end in extents:
            at = start - start % BLOCK
            while at < end:
                block = os.pread(fd, BLOCK, at)
                if not block:
                    break
                self.bytes_read += len(block)
                if block != zeros[: len(block)]:
                    digest.update(b"%d:" % at)
                    digest.update(block.ljust(BLOCK, b"\0"))
                at += BLOCK
        return digest.hexdigest()


def data_extents(fd: int, size: int) -> tuple[tuple[int, int], ...]:
    """Return the (start, end) of each run of stored data, as SEEK_DATA and SEEK_HOLE tell."""
    runs = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as end_of_data:
            if end_of_data.errno == errno.ENXIO:
                break
            raise
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        runs.append((start, at))
    return tuple(runs)


def compare(left: bytes, right: bytes, options: Options | None = None) -> Iterator[Difference]:
    """Yield every difference between two trees, in path order. The roots' own metadata are compared too."""
    chosen = options or Options()
    yield from compare_trees(Tree(left, chosen), Tree(right, chosen))


def compare_trees(left: Tree, right: Tree) -> Iterator[Difference]:
    """Like `compare`, on walkers whose counters the caller wants to read afterwards."""
    ours, theirs = left.nodes(), right.nodes()
    a, b = next(ours, None), next(theirs, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.path < b.path):
            assert a is not None
            yield Difference(b"/".join(a.path), "missing", a.kind, "")
            a = next(ours, None)
        elif a is None or b.path < a.path:
            yield Difference(b"/".join(b.path), "extra", "", b.kind)
            b = next(theirs, None)
        else:
            yield from _differences(a, b, left.options)
            a, b = next(ours, None), next(theirs, None)


def _differences(a: Node, b: Node, options: Options) -> Iterator[Difference]:
    path = b"/".join(a.path)
    if a.error or b.error:
        yield Difference(path, "error", a.error, b.error)
    for name in FIELDS:
        x, y = getattr(a, name), getattr(b, name)
        if x != y and name not in options.without:
            yield Difference(path, name, _show(name, x), _show(name, y))
        if name == "kind" and x != y:
            return


def _show(name: str, value: object) -> str:
    if name == "mode":
        return f"{value:#o}"
    if name == "links" and isinstance(value, tuple):
        return repr(b"/".join(value)) if value else "alone"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def _names(fd: int) -> list[bytes]:
    """Names of an open directory, last first (they are popped from the end)."""
    return sorted((os.fsencode(name) for name in os.listdir(fd)), reverse=True)


def _descend(dirfd: int, name: bytes, node: Node) -> tuple[Node, _Level | None]:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
    except OSError as broken:
        return replace(node, error=f"{errno.errorcode.get(broken.errno or 0)}: {broken.strerror}"), None
    return node, _Level(fd, node.path, _names(fd))


def _raise_descriptor_limit() -> None:
    """One descriptor for each level of depth: the usual soft limit of 1,024 is too low for a torture tree."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(arguments: list[str]) -> int:
    """Compare two trees from the command line."""
    parser = argparse.ArgumentParser(description="Compare two trees; print each difference.")
    parser.add_argument("left", type=os.fsencode)
    parser.add_argument("right", type=os.fsencode)
    parser.add_argument("--without", default="", help=f"comma list of fields not to compare, of {', '.join(FIELDS)}")
    chosen = parser.parse_args(arguments)
    options = Options(without=frozenset(filter(None, chosen.without.split(","))))
    left, right = Tree(chosen.left, options), Tree(chosen.right, options)
    count = 0
    for difference in compare_trees(left, right):
        count += 1
        print(difference)
    print(f"{left.entries} and {right.entries} entries, {count} differences", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
