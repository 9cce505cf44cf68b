"""How large a directory is, before anything is backed up."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a source is: entries, and bytes of file content on disk (a file with two names counts once)."""

    entries: int
    content_bytes: int


def measure(source: str, tick: Callable[[int, int], None]) -> Extent:
    """Count a directory; what this user may not list is left out."""
    entries = content = 0
    seen: set[tuple[int, int]] = set()
    for directory, subdirectories, files in os.walk(source):
        entries += len(subdirectories) + len(files)
        before = content
        for name in files:
            found = _lstat(os.path.join(directory, name))
            if found is None or not stat.S_ISREG(found.st_mode):
                continue
            if found.st_nlink > 1:
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            content += min(found.st_size, found.st_blocks * 512)
        tick(content - before, len(subdirectories) + len(files))
    return Extent(entries + 1, content)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
