"""A Samba server of the test's own on a high port, and its share mounted through rclone: SMB without the kernel."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

NEEDED = ("smbd", "smbpasswd", "rclone", "fusermount3")
PASSWORD = "Share-Secret-12"
_CONFIG = """[global]
server role = standalone server
smb ports = {port}
interfaces = 127.0.0.1/8
bind interfaces only = yes
state directory = {at}/state
lock directory = {at}/lock
private dir = {at}/private
pid directory = {at}/pid
cache directory = {at}/cache
ncalrpc dir = {at}/ncalrpc
log file = {at}/log
disable netbios = yes
load printers = no
[seeds]
path = {at}/seeds
read only = no
force user = root
[shelf]
path = {at}/seeds
read only = yes
force user = root
"""


def why_not() -> str:
    """Return why no share can be served and mounted here, or nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/fuse"):
        return "no FUSE"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"{missing[0]} is not installed" if missing else ""


needs_samba = pytest.mark.skipif(bool(why_not()), reason=f"Samba: {why_not()}")


class Server:
    """smbd, with a writable share `seeds` and the same directory read-only as `shelf`."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.seeds = at / "seeds"
        for name in ("state", "lock", "private", "pid", "cache", "ncalrpc", "seeds"):
            (at / name).mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = at / "smb.conf"
        self._config.write_text(_CONFIG.format(at=at, port=self.port))
        add = ["smbpasswd", "-c", str(self._config), "-s", "-a", "nobody"]
        subprocess.run(add, input=f"{PASSWORD}\n{PASSWORD}\n".encode(), check=True, capture_output=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._mounts: list[Path] = []

    def start(self) -> None:
        command = ["smbd", "-s", str(self._config), "--foreground", "--no-process-group"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError("smbd does not answer")

    def kill(self) -> None:
        """End the server and every connection at once, as a power cut does. The session is this server's own."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def mount(self, share: str, point: Path, password: str = PASSWORD) -> subprocess.CompletedProcess[bytes]:
        """Mount a share; everything written and closed reaches the server at once."""
        point.mkdir(exist_ok=True)
        hidden = subprocess.run(["rclone", "obscure", "-"], input=password.encode(), check=True, capture_output=True)
        remote = self.at / f"{point.name}.conf"
        remote.write_text(
            f"[box]\ntype = smb\nhost = 127.0.0.1\nport = {self.port}\nuser = nobody\npass = {hidden.stdout.decode()}"
        )
        command = ["rclone", "--config", str(remote), "mount", f"box:{share}", str(point), "--daemon"]
        cache = ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--cache-dir", str(self.at / "rclone")]
        fresh = ["--dir-cache-time", "0s", "--attr-timeout", "0s", "--devname", f"//127.0.0.1/{share}"]
        hurry = ["--low-level-retries", "1", "--timeout", "5s", "--contimeout", "2s", "--daemon-timeout", "20s"]
        done = subprocess.run([*command, *cache, *fresh, *hurry], capture_output=True, check=False)
        if os.path.ismount(point):
            self._mounts.append(point)
        return done

    def unmount(self, point: Path) -> None:
        self._mounts.remove(point)
        subprocess.run(["fusermount3", "-u", str(point)], check=False) if os.path.ismount(point) else None

    def close(self) -> None:
        for point in list(self._mounts):
            subprocess.run(["fusermount3", "-u", "-z", str(point)], check=False, capture_output=True)
        self.kill()
