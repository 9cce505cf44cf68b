"""Azurite, Microsoft's stand-in for Azure Storage, as a process of its own on this machine."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = HERE / "node_modules/.bin/azurite-blob"


def why_not() -> str:
    """Why Azurite cannot run here, or nothing."""
    if not shutil.which("node"):
        return "node is not installed"
    return "" if PROGRAM.exists() else f"Azurite is not installed: run npm ci in {HERE.name}"


class Azurite:
    """One server with one account. It can be stopped, killed, and started again on the same data."""

    name = "offlineseed"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = base64.b64encode(os.urandom(32)).decode()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.name}"

    def secret_file(self, secret: str | None = None) -> Path:
        """Write the account's key, or another secret, into a file as an operator would."""
        path = self.folder.parent / f"{self.name}.secret"
        path.parent.mkdir(exist_ok=True)
        path.write_text((secret or self.key) + "\n")
        path.chmod(0o600)
        return path

    def start(self) -> Azurite:
        command = [
            str(PROGRAM),
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            str(self.port),
            "--location",
            str(self.folder),
        ]
        command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        place = {**os.environ, "AZURITE_ACCOUNTS": f"{self.name}:{self.key}"}
        self._process = subprocess.Popen(command, env=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return self

    def stop(self) -> None:
        """End it as an operator would: what it has answered for is kept."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
