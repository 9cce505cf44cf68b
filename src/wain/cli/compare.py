"""The demo's judge: compares a restored tree with its source, entry by entry and byte by byte.

It shares nothing with the engine that made the backup: its own walk, its own reading, its own idea of what must be
equal. What the source's owner changed since the backup began is named apart and is nobody's fault; so is what this
user may not read.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

_BLOCK_BYTES: Final = 1 << 20
_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
                 stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}  # fmt: skip
_FOR_ROOT: Final = "device"
"""Only root can make a device node, so only root's restore has them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not equal. `what` is a short sentence."""

    path: bytes
    what: str


@dataclass(slots=True)
class Comparison:
    """What a comparison found. `source_bytes` counts the file bytes that were compared."""

    entries: int = 0
    source_bytes: int = 0
    differences: list[Difference] = field(default_factory=list)
    changed: list[Difference] = field(default_factory=list)
    """Differences that the source's owner made while the demo ran."""
    unreadable: list[bytes] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)
    """Device nodes, which nobody but root can restore."""


class Comparer:
    """Compares one pair of trees. `since_ns` is when the backup began, in nanoseconds since 1970."""

    def __init__(self, since_ns: int, as_root: bool) -> None:
        self._since_ns = since_ns
        self._as_root = as_root
        self._found = Comparison()
        self._links: dict[tuple[int, int], bytes] = {}
        self._restored_links: dict[tuple[int, int], bytes] = {}
        self._source = b""

    def compare(self, source: bytes, restored: bytes, tick: Callable[[int, int], None]) -> Comparison:
        """Compare two directories; `tick(bytes, entries)` is called as the work goes on."""
        self._found = Comparison()
        self._links, self._restored_links, self._source = {}, {}, source
        for here, there in self._pairs(source, restored):
            before = self._found.source_bytes
            self._entry(here, there)
            self._found.entries += 1
            tick(self._found.source_bytes - before, 1)
        return self._found

    def _pairs(self, source: bytes, restored: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every source path with its restored twin, parents first, in name order."""
        waiting = [(source, restored)]
        while waiting:
            here, there = waiting.pop()
            yield here, there
            if not os.path.isdir(here) or os.path.islink(here) or not os.path.isdir(there):
                continue
            names = self._names(here)
            if names is None:
                self._found.unreadable.append(here)
                continue
            for name in sorted(set(self._names(there) or ()) - set(names)):
                self._differs(os.path.join(here, name), "is in the restore and not in the source")
            waiting += [(os.path.join(here, name), os.path.join(there, name)) for name in sorted(names, reverse=True)]

    @staticmethod
    def _names(directory: bytes) -> list[bytes] | None:
        try:
            return os.listdir(directory)
        except OSError:
            return None

    def _entry(self, here: bytes, there: bytes) -> None:
        try:
            ours = os.lstat(here)
        except FileNotFoundError:
            self._found.changed.append(Difference(here, "was removed from the source"))
            return
        except PermissionError:
            self._found.unreadable.append(here)
            return
        kind = _KINDS[stat.S_IFMT(ours.st_mode)]
        if kind == _FOR_ROOT and not self._as_root:
            self._found.left_out.append(here)
            return
        try:
            theirs = os.lstat(there)
        except FileNotFoundError:
            self._missing(here, kind)
            return
        if stat.S_IFMT(ours.st_mode) != stat.S_IFMT(theirs.st_mode):
            self._differs(here, f"is a {kind} and was restored as a {_KINDS[stat.S_IFMT(theirs.st_mode)]}")
            return
        self._metadata(here, there, ours, theirs)
        if kind == "file":
            self._same_links(here, there, ours, theirs)
            self._content(here, there)
        elif kind == "symlink" and os.readlink(here) != os.readlink(there):
            self._differs(here, "points elsewhere")

    def _missing(self, here: bytes, kind: str) -> None:
        if kind in _READ_BY and not _READ_BY[kind](here):
            self._found.unreadable.append(here)
        else:
            self._differs(here, "was not restored")

    def _metadata(self, here: bytes, there: bytes, ours: os.stat_result, theirs: os.stat_result) -> None:
        is_link = stat.S_ISLNK(ours.st_mode)
        pairs = [("time", ours.st_mtime_ns, theirs.st_mtime_ns)]
        if not is_link:
            mask = 0o7777 if self._as_root else 0o777
            pairs.append(("mode", ours.st_mode & mask, theirs.st_mode & mask))
        if self._as_root:
            pairs += [("owner", ours.st_uid, theirs.st_uid), ("group", ours.st_gid, theirs.st_gid)]
        for what, want, have in pairs:
            if want != have:
                self._differs(here, f"has another {what}: {have} instead of {want}")
        if self._xattrs(here) != self._xattrs(there):
            self._differs(here, "has other extended attributes")

    def _xattrs(self, path: bytes) -> dict[str, bytes]:
        """Return the attributes that this user can set on a restored file."""
        try:
            names = os.listxattr(path, follow_symlinks=False)
            mine = [name for name in names if self._as_root or name.startswith(("user.", "system.posix_acl_"))]
            return {name: os.getxattr(path, name, follow_symlinks=False) for name in mine}
        except OSError:
            return {}

    def _same_links(self, here: bytes, there: bytes, ours: os.stat_result, theirs: os.stat_result) -> None:
        """Names of one file in the source must be names of one file in the restore, and the other way round."""
        first = self._links.setdefault((ours.st_dev, ours.st_ino), here) if ours.st_nlink > 1 else here
        if theirs.st_nlink > 1:
            first_restored = self._restored_links.setdefault((theirs.st_dev, theirs.st_ino), here)
        else:
            first_restored = here
        if first != first_restored:
            self._differs(here, "is linked to other names")

    def _content(self, here: bytes, there: bytes) -> None:
        try:
            with open(here, "rb") as ours, _open_restored(there) as theirs:
                at = self._first_difference(ours, theirs)
        except (PermissionError, FileNotFoundError):
            self._found.unreadable.append(here)
            return
        if at is not None:
            self._differs(here, f"differs from byte {at}")

    def _first_difference(self, ours: BinaryIO, theirs: BinaryIO) -> int | None:
        at = 0
        while True:
            want, have = ours.read(_BLOCK_BYTES), theirs.read(_BLOCK_BYTES)
            if want != have:
                return at + _common(want, have)
            if not want:
                return None
            at += len(want)
            self._found.source_bytes += len(want)

    def _differs(self, path: bytes, what: str) -> None:
        bucket = self._found.changed if self._touched(path) else self._found.differences
        bucket.append(Difference(path, what))

    def _touched(self, path: bytes) -> bool:
        """Say whether the path, or a directory above it, changed since the backup began."""
        while len(path) >= len(self._source):
            try:
                if os.lstat(path).st_ctime_ns >= self._since_ns:
                    return True
            except OSError:
                pass  # Gone: its directory tells.
            path = os.path.dirname(path)
            if path == b"/":
                return False
        return False


def _open_restored(path: bytes) -> BinaryIO:
    """Open a restored file; its owner may be this user now, with a mode that shuts out its owner."""
    try:
        return open(path, "rb")
    except PermissionError:
        os.chmod(path, os.lstat(path).st_mode | stat.S_IRUSR)
        return open(path, "rb")


def _common(one: bytes, other: bytes) -> int:
    """Return how many first bytes are equal."""
    size = min(len(one), len(other))
    return next((at for at in range(size) if one[at] != other[at]), size)


def _file_opens(path: bytes) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _directory_opens(path: bytes) -> bool:
    try:
        os.listdir(path)
    except OSError:
        return False
    return True


_READ_BY: Final = {"file": _file_opens, "directory": _directory_opens}
"""How to tell whether this user may read an entry of a kind at all."""
