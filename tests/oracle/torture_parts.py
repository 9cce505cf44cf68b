"""Torture by everything but the name: sizes, holes, links, modes, devices, attributes, times, owners, content."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct

from oracle.ground import Ground, Unsupported, needs_root

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
FICLONE = 0x40049409


def sizes(ground: Ground) -> None:
    """Sizes around every boundary a format might have."""
    edges = [0, 512, 4 * KIB, 64 * KIB, 512 * KIB, MIB] + ([8 * MIB, 64 * MIB] if ground.full else [])
    for edge in edges:
        for size in {max(edge - 1, 0), edge, edge + 1}:
            ground.put(b"%d" % size, ground.dice.randbytes(size))
    ground.put(b"zwicky", ground.dice.randbytes(260 * KIB))


def holes(ground: Ground) -> None:
    """Sparse files: hole then data, zeros then hole then data (deceptive), hole at the end, nothing but hole."""
    block = 64 * KIB
    _sparse(ground, b"hole-then-data", 10 * MIB + block, {10 * MIB: b"D" * block})
    _sparse(ground, b"deceptive", 3 * MIB, {0: bytes(block), MIB: b"D" * block, 2 * MIB: bytes(block)})
    _sparse(ground, b"data-then-hole", 5 * MIB, {0: b"D" * block})
    _sparse(ground, b"islands", 20 * MIB, {at * MIB: ground.dice.randbytes(block) for at in range(0, 20, 2)})
    _sparse(ground, b"odd-end", 5 * MIB + 7, {MIB: b"D" * block, 5 * MIB: b"tail"[:4] + b"\0\0\0"})
    _sparse(ground, b"only-hole", (1024 if ground.full else 1) * GIB // 4, {})
    _sparse(ground, b"one-byte-hole", 1, {})
    ground.put(b"dense-zeros", bytes(9 * MIB))


def hard_links(ground: Ground) -> None:
    """1,024 links to one file, links across directories, and links to what is not a file."""
    first = ground.put(b"many", b"many")
    for number in range(1023):
        os.link(first, ground.at(b"many-%d" % number))
    for name in (b"z", b"a", b"m"):
        ground.folder(name)
    across = ground.put(b"z/first-made", ground.dice.randbytes(70 * KIB))
    os.link(across, ground.at(b"a", b"earlier-in-walk"))
    os.link(across, ground.at(b"m", b"middle"))
    ground.put(b"a/twin-1", b"same content, not linked")
    ground.put(b"m/twin-2", b"same content, not linked")
    empty = ground.put(b"empty")
    os.link(empty, ground.at(b"empty-too"))
    os.symlink(b"many", ground.at(b"symlink"))
    os.link(ground.at(b"symlink"), ground.at(b"symlink-too"), follow_symlinks=False)
    os.mkfifo(ground.at(b"fifo"))
    os.link(ground.at(b"fifo"), ground.at(b"fifo-too"))


def modes(ground: Ground) -> None:
    """Files and directories with strange modes, the closed ones holding something."""
    chosen = range(0o10000) if ground.full else [0, 0o1, 0o222, 0o555, 0o557, 0o777, 0o1777, 0o2755, 0o4755, 0o6711]
    for mode in chosen:
        os.chmod(ground.put(b"file-%05o" % mode, b"%o" % mode), mode)
    for mode in (0o000, 0o555, 0o700, 0o1777, 0o2775, 0o3000):
        folder = ground.folder(b"folder-%05o" % mode)
        ground.put(os.path.join(b"folder-%05o" % mode, b"inside"), b"inside")
        os.chmod(folder, mode)


def devices(ground: Ground) -> None:
    """Character and block devices with numbers up to the largest XFS takes, linked ones, and a FIFO."""
    os.mkfifo(ground.at(b"fifo"), 0o640)
    needs_root()
    for major, minor in ((1, 3), (0, 0), (511, 262143), (255, 256)):
        for letter, kind in ((b"c", stat.S_IFCHR), (b"b", stat.S_IFBLK)):
            path = ground.at(b"%s-%d-%d" % (letter, major, minor))
            try:
                os.mknod(path, kind | 0o600, os.makedev(major, minor))
            except PermissionError as refused:
                raise Unsupported("mknod is not allowed here") from refused
    os.link(ground.at(b"c-1-3"), ground.at(b"c-1-3-linked"))


def sockets(ground: Ground) -> None:
    """A UNIX socket that nobody listens on."""
    here = os.open(ground.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/socket")
    finally:
        os.close(here)


def xattrs(ground: Ground) -> None:
    """User attributes: empty, binary, many, with odd names, as large as the file system allows, on directories."""
    path = ground.put(b"few", b"x")
    _attribute(path, b"user.empty", b"")
    _attribute(path, b"user.binary", bytes(range(256)))
    _attribute(path, b"user.\xff\n name", b"odd name")
    _attribute(path, b"user." + b"n" * 250, b"longest name")
    _attribute(ground.folder(b"folder"), b"user.on-folder", b"yes")
    many = ground.put(b"many")
    for number in range(60):
        _attribute(many, b"user.number-%d" % number, b"%d" % number)
    large = ground.put(b"large", b"x")
    for size in (65536, 60000, 16000, 3000, 1000):
        try:
            os.setxattr(large, b"user.large", ground.dice.randbytes(size))
            break
        except OSError as refused:
            if refused.errno not in (errno.E2BIG, errno.ENOSPC, errno.ERANGE):
                raise
    linked = ground.put(b"linked")
    _attribute(linked, b"user.linked", b"once")
    os.link(linked, ground.at(b"linked-too"))
    closed = ground.put(b"closed", b"x")
    _attribute(closed, b"user.closed", b"x")
    os.chmod(closed, 0o000)


def capability(ground: Ground) -> None:
    """`security.capability` (cap_net_raw, effective): chown clears it, so it must be set after the owner."""
    needs_root()
    path = ground.put(b"ping", b"#!/bin/true\n")
    os.chown(path, 12, 34)
    os.chmod(path, 0o755)
    _attribute(path, b"security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))


def trusted(ground: Ground) -> None:
    """Root's own attributes, also on a symlink and a device, which cannot hold a user's."""
    needs_root()
    _attribute(ground.put(b"file"), b"trusted.wain", b"file")
    os.symlink(b"file", ground.at(b"symlink"))
    os.mkfifo(ground.at(b"fifo"))
    for name in (b"symlink", b"fifo"):
        _attribute(ground.at(name), b"trusted.wain", name)


def acls(ground: Ground) -> None:
    """POSIX ACLs: named users and groups, a mask that differs from the group bits, a default ACL on a directory."""
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, 1234), (2, 7, 4_000_000_000), (4, 4, 0xFFFFFFFF), (8, 5, 99)]
    access = _acl([*entries, (16, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)])
    path = ground.put(b"file", b"x")
    _attribute(path, b"system.posix_acl_access", access)
    folder = ground.folder(b"folder")
    _attribute(folder, b"system.posix_acl_access", access)
    _attribute(folder, b"system.posix_acl_default", access)
    ground.put(b"folder/inherits", b"x")
    ground.folder(b"folder", b"inherits-too")
    plain = ground.put(b"folder/plain", b"x")
    os.removexattr(plain, b"system.posix_acl_access")


def times(ground: Ground) -> None:
    """Modification times before 1970, at the ends of 32 and 34 bits, and to the nanosecond; on all kinds."""
    second = 1_000_000_000
    chosen = {
        b"epoch": 0, b"nanosecond": 1, b"last-nanosecond": second - 1, b"before-1970": -1 * second + 5,
        b"1901": -(2**31) * second, b"2038": 2**31 * second + 123456789, b"now-ish": 1_700_000_000_123456789,
        b"2106": 2**32 * second + 1, b"2446": 15032385535 * second,
    }  # fmt: skip
    for name, moment in chosen.items():
        path = ground.put(name, name)
        os.utime(path, ns=(0, moment))
        if os.stat(path).st_mtime_ns != moment:
            os.unlink(path)
    folder = ground.folder(b"folder")
    ground.put(b"folder/inside")
    os.symlink(b"nowhere", ground.at(b"symlink"))
    os.mkfifo(ground.at(b"fifo"))
    for name in (b"symlink", b"fifo"):
        os.utime(ground.at(name), ns=(0, 1_234_567_890_987654321), follow_symlinks=False)
    os.utime(folder, ns=(0, 987_654_321_123456789))


def owners(ground: Ground) -> None:
    """Ids nobody has, up to the largest, on every kind; setuid and setgid must survive the chown."""
    needs_root()
    for number, owner in enumerate((1, 65534, 65536, 2**31, 2**32 - 2)):
        path = ground.put(b"file-%d" % number, b"x")
        os.chown(path, owner, owner - 1)
        os.chmod(path, 0o6755)
        os.symlink(b"x", ground.at(b"symlink-%d" % number))
        os.chown(ground.at(b"symlink-%d" % number), owner, 7, follow_symlinks=False)
        os.chown(ground.folder(b"folder-%d" % number), 7, owner)


def wide(ground: Ground) -> None:
    """One directory with very many names."""
    ground.folder(b"wide")
    for number in range(200_000 if ground.full else 3_000):
        ground.put(b"wide/%08d" % (number * 7919 % 100_000_007), b"%d" % number)
    ground.folder(b"empty")


def reflinks(ground: Ground) -> None:
    """Two files that share their blocks."""
    body = ground.dice.randbytes(MIB)
    source = ground.put(b"source", body)
    with open(source, "rb") as original, open(ground.put(b"copy"), "r+b") as copy:
        try:
            fcntl.ioctl(copy, FICLONE, original.fileno())
        except OSError as refused:
            copy.write(body)
            raise Unsupported("no reflinks on this file system") from refused


def content(ground: Ground) -> None:
    """Content that tempts: repeats, shifts, incompressible and all-equal bytes, what looks like our own files."""
    body = ground.dice.randbytes(3 * MIB)
    ground.put(b"random", body)
    ground.put(b"random-again", body)
    ground.put(b"shifted", b"!" + body)
    ground.put(b"middle-changed", body[: MIB + 5] + b"changed" + body[MIB + 12 :])
    ground.put(b"text", b"all work and no play makes wain a dull wagon\n" * 40_000)
    ground.put(b"equal", b"\xff" * (2 * MIB))
    for magic in (b"WAINKEYS", b"WAINTREE", b"WAINPOIN", b"WAINPAGE", b"WAINSEAL", b"WJNL"):
        ground.put(b"magic-" + magic, magic + bytes(4088))


def _sparse(ground: Ground, name: bytes, size: int, islands: dict[int, bytes]) -> None:
    with open(ground.put(name), "r+b") as file:
        try:
            file.truncate(size)
        except OSError as refused:
            raise Unsupported(f"no files of {size} bytes on this file system") from refused
        for at, body in islands.items():
            file.seek(at)
            file.write(body)


def _attribute(path: bytes, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as refused:
        if refused.errno in (errno.ENOTSUP, errno.EPERM, errno.ENOSPC):
            raise Unsupported(f"cannot set {name!r}: {os.strerror(refused.errno)}") from refused
        raise


def _acl(entries: list[tuple[int, int, int]]) -> bytes:
    """Encode (tag, permissions, id) in the kernel's xattr form, version 2."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
