"""Torture by name: lengths, bytes, encodings, depth, link targets."""

from __future__ import annotations

import errno
import os

from oracle.ground import Ground

LONGEST_PATH = 3600
"""Bytes below the tree's root. A copy of the tree under a longer prefix must stay below PATH_MAX for rsync to read."""


def lengths(ground: Ground) -> None:
    """Names of every length from 1 to NAME_MAX."""
    longest = os.pathconf(ground.root, "PC_NAME_MAX")
    for length in range(1, longest + 1):
        ground.put(_name_of(length), b"%d" % length)


def nested(ground: Ground) -> None:
    """Directories with the longest name inside one another, then every name length inside the last."""
    longest = os.pathconf(ground.root, "PC_NAME_MAX")
    at = os.open(ground.root, os.O_RDONLY | os.O_DIRECTORY)
    used = 0
    while used + longest + 1 <= LONGEST_PATH - longest:
        at = _enter(at, _name_of(longest))
        used += longest + 1
    for length in range(1, longest + 1, 1 if ground.full else 16):
        _touch(at, _name_of(length), b"deep")
    os.close(at)


def targets(ground: Ground) -> None:
    """Symlink targets of every length (Zwicky stopped at 1,025), and ones that lead nowhere, round and out."""
    for length in {*range(1, 1026, 1 if ground.full else 32), 1023, 1024, 1025, 4000}:
        try:
            os.symlink(b"t" * length, ground.at(b"to-%d" % length))
        except OSError as refused:
            if refused.errno != errno.ENAMETOOLONG:
                raise
    special = {
        b"itself": b"itself",
        b"up": b"..",
        b"out": b"/etc/passwd",
        b"slashes": b"///a//b/",
        b"bytes": bytes(byte for byte in range(1, 256) if byte != ord("/")),
        b"spaces": b"  ",
        b"newline": b"a\nb",
    }
    for name, target in special.items():
        os.symlink(target, ground.at(name))


def every_byte(ground: Ground) -> None:
    """For each byte a name may hold: alone, first, last, a directory with hard-linked files, and a symlink to it."""
    inside = 10 if ground.full else 2
    for byte in range(1, 256):
        if byte == ord("/"):
            continue
        char = bytes([byte])
        if char != b".":
            ground.put(char, char)
        ground.put(b"ends-" + char, char)
        ground.put(char + b"-begins", char)
        folder = ground.folder(b"in-" + char + b"-side")
        for number in range(inside):
            path = os.path.join(folder, b"%s%d" % (char, number))
            with open(path, "xb") as file:
                file.write(char * number)
            os.link(path, os.path.join(folder, b"link%d" % number))
        os.symlink(char, ground.at(b"symlink-%03o" % byte))


def unicode_names(ground: Ground) -> None:
    """Twins that differ only in normal form or case, and names that are not UTF-8."""
    names = [
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),
        b"Case",
        b"case",
        b"CASE",
        "\u0130stanbul".encode(),
        "i\u0307stanbul".encode(),
        "\u202eevil.txt".encode(),
        "\U0001f4e6".encode(),
        "\ufeffbom".encode(),
        b"\xff\xfe",
        b"half\xc3",
        b"\xed\xa0\x80surrogate",
        b"\xc0\xafoverlong",
        b"\x1b[31mred\x1b[0m",
    ]
    for name in names:
        ground.put(name, name)


def look_alikes(ground: Ground) -> None:
    """Names that mean something to shells, globs, terminals, other systems, or to a backup program itself."""
    names = [
        b"-rf", b"--help", b"*", b"?", b"[a-z]", b"{a,b}", b"~", b"$HOME", b"`id`", b"%s%n", b"\\", b"a\\b", b"'", b'"',
        b"...", b".hidden", b" ", b"a ", b"a.", b"CON", b"aux.txt", b"file:stream", b"#*#", b"core", b"lost+found",
        b"PageBlob", b"manifest", b"seal", b"journal", b".part", b"x.tmp", b"tmp", b"wain-device.label",
        b"\n", b"a\n b", b"\r", b"\t",
    ]  # fmt: skip
    for name in names:
        ground.put(name, name)


def deep(ground: Ground) -> None:
    """A chain of short directories that stays below PATH_MAX."""
    _chain(ground, b"d", 1500 if ground.full else 300)


def beyond(ground: Ground) -> None:
    """A chain far beyond PATH_MAX, where only relative opening works; in full only, and nothing for rsync."""
    if ground.full:
        _chain(ground, b"down", 2000)


def _chain(ground: Ground, name: bytes, levels: int) -> None:
    at = os.open(ground.root, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(levels):
        at = _enter(at, name)
        if level % 100 == 0:
            _touch(at, b"file", b"level %d" % level)
    _touch(at, b"bottom", b"bottom")
    os.close(at)


def _name_of(length: int) -> bytes:
    return (b"n%03d-" % length + b"x" * 255)[:length] if length >= 5 else b"%d" % (10 ** (length - 1))


def _enter(at: int, name: bytes) -> int:
    os.mkdir(name, dir_fd=at)
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
    os.close(at)
    return below


def _touch(at: int, name: bytes, content: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at)
    os.write(fd, content)
    os.close(fd)
