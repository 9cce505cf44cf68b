"""The identity services as a process of their own: uvicorn with TLS on this machine. `app` is what it serves."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from unit.identity.certs import write_tls
from wain.identity.service import Identity

TESTS = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Served:
    """A running server. `identity` is its directory, opened by this process as well, as the operator's commands do."""

    url: str
    ca: Path
    identity: Identity
    process: subprocess.Popen[bytes]

    @property
    def authority(self) -> str:
        return f"{self.url}/{self.identity.site.tenant}"

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, verify=ssl.create_default_context(cafile=str(self.ca)), trust_env=False, timeout=30
        )


def serve(directory: Path, application: str = "unit.identity.asgi:build") -> Served:
    """Start a server over `directory` and wait until it answers."""
    ca, certificate, key = write_tls(directory)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"https://localhost:{port}"
    environ = {
        **os.environ,
        "WAIN_TEST_IDENTITY": str(directory / "identity"),
        "WAIN_TEST_URL": url,
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]),
    }
    command = [sys.executable, "-m", "uvicorn", application, "--factory", "--lifespan", "off", "--no-access-log"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    command += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    identity = Identity.open(directory / "identity", url, now)
    process = subprocess.Popen(command, env=environ, cwd=TESTS)
    served = Served(url, ca, identity, process)
    until = time.monotonic() + PATIENCE_SECONDS
    with served.client() as client:
        while True:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server never answered"
            try:
                client.get(f"/{identity.site.tenant}/v2.0/.well-known/openid-configuration").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return served


def stop(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)
    try:
        served.process.wait(10)
    except subprocess.TimeoutExpired:
        served.process.kill()
        served.process.wait()
    served.identity.close()
