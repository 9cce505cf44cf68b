"""Real file systems in a file: a loop device with ext4, XFS or btrfs, for as long as a `with` block lasts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-I", "256", "-i", "8192"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


def why_not(kind: str) -> str:
    """Return why a loop file system of this kind cannot be had here, or an empty string when it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    if shutil.which(MAKE[kind][0]) is None:
        return f"{MAKE[kind][0]} is not installed"
    with open("/proc/filesystems", encoding="ascii") as listing:
        if kind not in listing.read().split():
            return f"the kernel has no {kind}"
    return ""


@contextmanager
def mounted(kind: str, folder: str, size_bytes: int, point: str = "") -> Iterator[str]:
    """Make an image in `folder`, mount it (at `point`, a directory), give the mount point, and take all away again."""
    image = os.path.join(folder, f"{kind}.img")
    point = point or os.path.join(folder, kind)
    with open(image, "wb") as file:
        file.truncate(size_bytes)
    _run([*MAKE[kind], image])
    os.makedirs(point, exist_ok=True)
    _run(["mount", "-o", "loop", image, point])
    try:
        yield point
    finally:
        _run(["umount", point])
        os.rmdir(point)
        os.unlink(image)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
