"""Large buffers: aligned to pages, as `O_DIRECT` wants them, and in large pages where the kernel gives them.

A fresh buffer costs a fault for every page that is touched. With pages of 2 MiB instead of 4 KiB these are few.
"""

import contextlib
import mmap


def mapped(size: int) -> memoryview:
    """Return `size` bytes (at least one) of zeros. Address space, not memory: a page costs something once written."""
    # Private: shared mappings get no large pages.
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # A kernel without large pages works as well.
        room.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(room)
