"""Loop devices with a real file system, and what happens to real disks: power cuts, pulled plugs, decayed sectors."""

import shutil
import subprocess
from pathlib import Path

import pytest

from oracle.mounts import MAKE, why_not

SIZES = {"ext4": 64 << 20, "xfs": 320 << 20, "btrfs": 128 << 20}
KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(why_not(kind)), reason=f"{kind}: {why_not(kind)}"))
    for kind in MAKE
]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Disk:
    """An image with a file system, mounted at `point` or not."""

    def __init__(self, kind: str, folder: Path, name: str = "disk", size: int | None = None) -> None:
        self.kind = kind
        self.image = folder / f"{name}.img"
        self.point = folder / name
        self.point.mkdir()
        if size is not None:
            with open(self.image, "wb") as file:
                file.truncate(size)
            _run(*MAKE[kind], str(self.image))
        self.mounted = False

    def mount(self) -> Path:
        _run("mount", "-o", "loop", str(self.image), str(self.point))
        self.mounted = True
        return self.point

    def unmount(self, *how: str) -> None:
        if self.mounted:
            _run("umount", *how, str(self.point))
            self.mounted = False

    def cut(self, image: Path) -> None:
        """Copy what the disk has received so far: what a power cut at this moment would leave on it."""
        _run("cp", "--sparse=always", str(self.image), str(image))

    def drop(self) -> None:
        self.unmount()
        self.image.unlink()
        shutil.rmtree(self.point)
