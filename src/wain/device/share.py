r"""Device paths that are shares: UNC names, and why an account cannot reach what another mounted (Linux).

`\\server\share\...` means a place on a server; Wain writes through the operating system's mounts, so the name is
resolved to where that share is mounted here, by the sources in /proc/self/mountinfo (proc(5)).
"""

import os
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wain.base.errors import DeviceLost, Refused, RemoteError, WainError
from wain.storage.durable import GONE, TEMPORARY_PREFIX, reading, write_error

MOUNTS: Final = "/proc/self/mountinfo"
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_REMOTE: Final = frozenset({"cifs", "smb3", "nfs", "nfs4", "fuse.rclone", "fuse.sshfs", "fuse.smbnetfs"})
_CACHING: Final = frozenset({"fuse.rclone"})
_UNC: Final = re.compile(r"(?:\\\\|//)[^\\/]+[\\/]+[^\\/]")
_PARTS_CAP: Final = 64
_PROBE: Final = TEMPORARY_PREFIX + "probe"


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system, as far as shares go. `options` are its own, such as `allow_other` of FUSE."""

    point: Path
    kind: str
    source: str
    root: str
    options: frozenset[str]

    @property
    def words(self) -> tuple[str, ...]:
        """The server and the path on it that this mount shows; empty for what is no share."""
        if self.kind not in _REMOTE:
            return ()
        server, colon, path = self.source.partition(":")
        parts = _parts(self.source) if not colon or self.source.startswith("//") else (server, *_parts(path))
        return parts if self.root == "/" or parts[-1:] == _parts(self.root)[-1:] else (*parts, *_parts(self.root))


def read_mounts(path: str = MOUNTS) -> list[Mount]:
    """Return what is mounted, in the order of mounting; nothing where no such list is kept."""
    if not os.path.exists(path):
        return []
    with reading(path), open(path, encoding="utf-8", errors="surrogateescape") as lines:
        return [parse(line) for line in lines]


def parse(line: str) -> Mount:
    """Return what a line of mountinfo says."""
    fields = line.split()
    kind, source, options = fields[fields.index("-", 6) + 1 :][:3]
    return Mount(Path(_plain(fields[4])), kind, _plain(source), _plain(fields[3]), frozenset(options.split(",")))


def is_unc(path: str | Path) -> bool:
    r"""Say whether a path names a place on a server: `\\server\share`, or `//server/share`."""
    return _UNC.match(os.fspath(path)) is not None


def resolve(path: str | Path, mounts: Iterable[Mount] | None = None) -> Path:
    """Return the path here of a UNC name; another path as it is, absolute.

    Raises:
        Refused: the share is not mounted here; the hint holds the commands that mount it.
    """
    text = os.fspath(path)
    if not is_unc(text) or (text.startswith("//") and os.path.exists(text)):
        return Path(os.path.abspath(text))
    wanted = _parts(text)
    if ".." in wanted or len(wanted) > _PARTS_CAP:
        raise Refused(f"{text} is not the name of a share", r"Write it as \\server\share\directory.")
    best: tuple[int, Path] | None = None
    for mount in read_mounts() if mounts is None else mounts:
        have = mount.words
        # SMB compares server and share without case (MS-DTYP 2.2.57); the last mount at a place covers the others.
        if have and _fold(wanted[: len(have)]) == _fold(have) and (best is None or len(have) >= best[0]):
            best = len(have), mount.point.joinpath(*wanted[len(have) :])
    if best is None:
        raise Refused(f"the share {text} is not mounted here", how_to_mount(wanted[0], wanted[1]))
    return best[1]


def how_to_mount(server: str, share: str) -> str:
    """Return the commands that mount a share for the account that runs the backup."""
    point = shlex.quote(f"/mnt/{share}")
    smb, nfs = shlex.quote(f"//{server}/{share}"), shlex.quote(f"{server}:/{share}")
    return (
        f"As the account that runs Wain: mkdir -p {point}; then, for SMB, "
        f"mount -t cifs -o credentials=FILE {smb} {point} "
        f"or, for NFS, mount -t nfs -o nolock {nfs} {point} (this host's address must be allowed on the device first)."
    )


def mount_of(path: Path, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount that a path lies on."""
    found = None
    for mount in mounts:
        covers = found is None or len(mount.point.parts) >= len(found.point.parts)
        if covers and path.is_relative_to(mount.point):
            found = mount
    return found


@dataclass(eq=False)
class ShareSilent(RemoteError):
    """A share is mounted and its server does not answer, or not to these credentials. `why` is the system's word."""

    point: Path
    source: str
    why: str
    hint = "Check the server, the network and the credentials it was mounted with; then repeat the command."

    def __str__(self) -> str:
        return f"the share {self.source} mounted at {self.point} does not answer: {self.why}"


def check_answers(path: Path, mounts: Iterable[Mount] | None = None) -> None:
    """Ask for a path that may not exist: what a dead share or a foreign mount says about it becomes a sentence.

    Raises:
        Refused: this account may not look there. ShareSilent: its server does not answer. DeviceLost: it went away.
    """
    try:
        os.stat(path)
    except PermissionError as error:
        raise unreachable(path, error, mounts) from error
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        mount = mount_of(path, read_mounts() if mounts is None else mounts)
        if mount is not None and mount.kind in _REMOTE:
            raise ShareSilent(mount.point, mount.source, error.strerror or str(error)) from error
        if error.errno in GONE:
            raise DeviceLost(str(path)) from error


def unreachable(path: Path, error: OSError, mounts: Iterable[Mount] | None = None) -> Refused:
    """Return the refusal for a path that this account may not look into, with the reason where the mount tells it."""
    mount = mount_of(path, read_mounts() if mounts is None else mounts)
    me = f"user {os.geteuid()}"
    if mount is None:
        return Refused(f"{path} cannot be reached as {me}: {error.strerror}", "Give that account the right to it.")
    owner = next((one.removeprefix("user_id=") for one in mount.options if one.startswith("user_id=")), None)
    if mount.kind.startswith("fuse") and "allow_other" not in mount.options and owner != str(os.geteuid()):
        return Refused(
            f"{mount.point} is a FUSE mount of user {owner} without allow_other: "
            f"nobody else sees it, and Wain runs as {me}",
            f"Mount it as {me}, the account that runs the backup, or again with -o allow_other.",
        )
    if mount.kind.startswith("nfs"):
        hint = "Allow this host's address on the server (NFS client access of the device), and the account to write."
        return Refused(f"{path} cannot be reached as {me}: the NFS server refuses it ({error.strerror})", hint)
    return Refused(
        f"{path} cannot be reached as {me}: {error.strerror}", "Mount it as the account that runs the backup."
    )


def check_writable(pageblob: Path) -> None:
    """Prove that this account can make something on a device, with a directory that is removed at once.

    Empty directories are not uploaded by a data copy (azure.md 1.2), should the removal be cut off.

    Raises:
        Refused: read-only, or not permitted. DeviceLost, OutOfSpace, WriteFailed: the device failed.
    """
    where = f"the device at {pageblob}"
    probe = pageblob / _PROBE
    try:
        if os.statvfs(pageblob).f_flag & os.ST_RDONLY:
            raise Refused(f"{where} is mounted read-only", "Mount it for writing.")
        with suppress(FileExistsError):
            os.mkdir(probe)
        os.rmdir(probe)
    except OSError as error:
        failure: WainError = write_error(error, where)
        if isinstance(failure, Refused):
            failure.hint = f"Share it for writing to the account that runs Wain (user {os.geteuid()})."
        raise failure from error


def caution(path: Path, mounts: Iterable[Mount] | None = None) -> str:
    """Return what to do by hand because of how a device is mounted, or nothing."""
    mount = mount_of(path, read_mounts() if mounts is None else mounts)
    if mount is None or mount.kind not in _CACHING:
        return ""
    return (
        f"{mount.point} is mounted by {mount.kind.removeprefix('fuse.')}, which says that bytes are durable "
        "before the server has them. Before the device is shipped: unmount it, mount it again, `wain device verify`."
    )


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\\/]+", path) if part)


def _fold(parts: tuple[str, ...]) -> list[str]:
    return [part.casefold() for part in parts]


def _plain(field: str) -> str:
    return _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), field)
