"""Notices when anybody opens a directory or what is in it: inotify, of which Python has no binding."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

IN_OPEN, IN_ACCESS = 0x20, 0x01
_EVENT = struct.Struct("iIII")


class Opened(list[str]):
    """What was opened, by name; a directory itself is the empty name."""


@contextmanager
def watching(path: str) -> Iterator[Opened]:
    """Fill the list given when the `with` block ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0
    opened = Opened()
    try:
        assert libc.inotify_add_watch(fd, os.fsencode(path), IN_OPEN | IN_ACCESS) >= 0
        yield opened
        try:
            body = os.read(fd, 1 << 20)
        except BlockingIOError:
            return
        while body:
            length = _EVENT.unpack_from(body)[3]
            opened.append(body[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode())
            body = body[_EVENT.size + length :]
    finally:
        os.close(fd)
