"""A mount that lasts as long as a `with` block: `wain mount` as a process of its own."""

import ctypes.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from journeys.story import Story

PATIENCE_S = 60


def why_not() -> str:
    """Return why nothing can be mounted here, or an empty string when it can."""
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    if ctypes.util.find_library("fuse3") is None or shutil.which("fusermount3") is None:
        return "fuse3 (libfuse3, fusermount3) is not installed"
    if os.geteuid() != 0:
        return "comparing owners and devices needs root"
    return ""


@dataclass
class Mount:
    """A running mount. After the end: its exit code, and what it said."""

    point: Path
    process: "subprocess.Popen[bytes]"
    code: int | None = None
    said: str = field(default="")

    def end(self, number: int | None = None) -> int:
        """End it by a signal, or with fusermount3; return the exit code."""
        if number is None:
            subprocess.run(["fusermount3", "-u", str(self.point)], check=True, timeout=PATIENCE_S)
        else:
            os.kill(self.process.pid, number)
        self.finish()
        assert self.code is not None
        return self.code

    def finish(self) -> None:
        """Wait for its end."""
        if self.code is None:
            out, err = self.process.communicate(timeout=PATIENCE_S)
            self.code, self.said = self.process.returncode, (out + err).decode()


@contextmanager
def mounted(story: Story, what: str, point: Path, *options: str) -> Iterator[Mount]:
    """Mount a point, or all, and take the mount away again if the block has not."""
    point.mkdir(exist_ok=True)
    files = ("--passphrase-file", str(story.passphrase))
    mount = Mount(point, story.start(("mount", what, str(point), *files, *options)))
    try:
        until = time.monotonic() + PATIENCE_S
        while not os.path.ismount(point):
            if mount.process.poll() is not None or time.monotonic() > until:
                mount.process.kill()
                mount.finish()
                raise AssertionError(f"it did not mount: {mount.said}")
            time.sleep(0.02)
        yield mount
    except BaseException as failure:
        died = mount.process.poll()
        _take_away(mount)
        failure.add_note(f"the mount had ended with {died} and said: {mount.said}")
        raise
    finally:
        _take_away(mount)


def _take_away(mount: Mount) -> None:
    if mount.code is None:
        os.kill(mount.process.pid, signal.SIGTERM)
        mount.finish()
