"""Owner, extended attributes, mode and times, applied on a descriptor and never through a name."""

import errno
import os
from typing import Final

from wain.agent.restore_report import Tally
from wain.tree.entry import Entry, Kind

NO_OWNER: Final = 0xFFFFFFFF
"""`chown` takes this for "leave as it is", so it can never be restored."""
PLAIN_BITS: Final = 0o1777
_GIVES_POWER: Final = b"security.capability"
_ROOT_ONLY: Final = (b"security.", b"trusted.")

Handle = int | str
"""An open descriptor, or `/proc/self/fd/N` of an `O_PATH` descriptor (symbolic links, FIFOs, devices)."""


class Metadata:
    """Applies what an entry says. What the target or our rights do not allow is counted as a note.

    Setuid, setgid and file capabilities hand out power: they are restored only when `special_bits` is set and the
    owner could be restored with them.
    """

    def __init__(self, tally: Tally, *, special_bits: bool) -> None:
        self._tally = tally
        self._special = special_bits
        self._root = os.geteuid() == 0

    def apply(self, handle: Handle, entry: Entry) -> None:
        """Set owner, attributes, mode and times, in the order in which one does not undo the other."""
        stat = entry.stat
        owned = self._own(handle, stat.uid, stat.gid)
        special = owned and self._special
        if entry.xattrs:
            self._attributes(handle, entry, special=special)
        try:
            if entry.kind is not Kind.SYMLINK:
                mode = stat.mode if special else stat.mode & PLAIN_BITS
                if mode != stat.mode:
                    self._tally.note("setuid and setgid bits were left out")
                os.chmod(handle, mode & 0o7777)
            os.utime(handle, ns=(stat.mtime_ns, stat.mtime_ns))
        except (OSError, OverflowError) as error:
            self._tally.note(f"mode or times could not be set: {_why(error)}")

    def _own(self, handle: Handle, uid: int, gid: int) -> bool:
        if uid == NO_OWNER or gid == NO_OWNER:
            return False
        try:
            os.chown(handle, uid, gid)
        except OSError as error:
            if self._root:
                self._tally.note(f"the owner could not be set: {_why(error)}")
            else:
                self._tally.note("the owner could not be set: only root may give files away")
            return False
        return True

    def _attributes(self, handle: Handle, entry: Entry, *, special: bool) -> None:
        for name, value in entry.xattrs:
            if (name == _GIVES_POWER and not special) or (name.startswith(_ROOT_ONLY) and not self._root):
                self._tally.note(f"the attribute {name.decode(errors='replace')} was left out: only root may set it")
                continue
            try:
                os.setxattr(handle, name, value)
            except (OSError, ValueError) as error:
                self._tally.note(f"the attribute {name.decode(errors='replace')} could not be set: {_why(error)}")


def drop_other_attributes(fd: int, entry: Entry) -> None:
    """Remove user attributes and ACLs that an existing file has and the entry has not (in-place restore)."""
    wanted = {name for name, _ in entry.xattrs}
    try:
        for text in os.listxattr(fd):
            name = os.fsencode(text)
            if name not in wanted and name.startswith((b"user.", b"system.posix_acl_")):
                os.removexattr(fd, name)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EACCES):
            raise


def _why(error: Exception) -> str:
    return (error.strerror or "refused") if isinstance(error, OSError) else str(error)
