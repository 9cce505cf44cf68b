"""How one entry of a recovery point is shown, for people and for scripts."""

import stat
from typing import TYPE_CHECKING, Any

from wain.cli import render

if TYPE_CHECKING:
    from wain.tree.entry import Entry


def entry_json(entry: "Entry") -> dict[str, Any]:
    """Return an entry for JSON."""
    return {
        "name": render.json_name(entry.name),
        "kind": entry.kind.name.lower(),
        "mode": entry.stat.mode,
        "uid": entry.stat.uid,
        "gid": entry.stat.gid,
        "size": entry.stat.size,
        "mtimeNs": entry.stat.mtime_ns,
        "target": render.json_name(entry.target) if entry.target else None,
    }


def file_mode(entry: "Entry") -> str:
    """Return kind and permissions as `ls -l` does: `-rw-r--r--`."""
    from wain.tree.entry import Kind

    bits = {
        Kind.FILE: stat.S_IFREG,
        Kind.DIRECTORY: stat.S_IFDIR,
        Kind.SYMLINK: stat.S_IFLNK,
        Kind.CHAR_DEVICE: stat.S_IFCHR,
        Kind.BLOCK_DEVICE: stat.S_IFBLK,
        Kind.FIFO: stat.S_IFIFO,
        Kind.SOCKET: stat.S_IFSOCK,
    }
    return stat.filemode(bits[entry.kind] | entry.stat.mode)


def modified(entry: "Entry") -> str:
    """Return the time of the last change for people; file systems know times that calendars do not."""
    from wain.base.moment import from_ns

    try:
        return render.moment(from_ns(entry.stat.mtime_ns))
    except (OverflowError, ValueError):
        return f"{entry.stat.mtime_ns // 10**9} s since 1970"


def shown_name(name: bytes, entry: "Entry") -> str:
    """Return a name or path that is safe to print, with where a symbolic link leads."""
    return render.printable(name) + (f" -> {render.printable(entry.target)}" if entry.target else "")
