"""`wain serve`: what it refuses to start with, its certificate, its figures, and how it ends."""

import hashlib
import os
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.databox.serving import GROUP, Serve, job
from unit.identity.certs import write_tls


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Serve]:
    served = Serve(tmp_path / "home")
    yield served
    served.close()


def ended(served: Serve, *more: str) -> tuple[int, str]:
    """Run it where it must not start."""
    environ = {**os.environ, "WAIN_HOME": str(served.home)}
    done = subprocess.run(served.command(*more), env=environ, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_it_serves_nobody_without_a_directory(own: Serve) -> None:
    code, said = ended(own)
    assert (code, "lets nobody in" in said, "wain identity" in said) == (1, True, True)
    own.identity.close()
    shutil.rmtree(own.home / "identity")
    code, said = ended(own)
    assert (code, "lets nobody in" in said) == (1, True)
    assert not (own.home / "identity").exists()


def test_an_address_that_is_taken(own: Serve) -> None:
    own.settle()
    with socket.create_server(("127.0.0.1", own.port)):
        code, said = ended(own)
    assert (code, f"cannot listen on 127.0.0.1:{own.port}" in said, "--listen" in said) == (1, True, True), said


def test_its_own_certificate(own: Serve) -> None:
    own.settle()
    own.start()
    key = own.home / "tls" / "tls.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    trust = ssl.create_default_context(cafile=str(own.ca))
    with (
        socket.create_connection(("127.0.0.1", own.port)) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        shown = hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest().upper()
    before = own.ca.read_bytes()
    code, said = own.stop()
    assert code == 0
    assert "SHA-256 " + ":".join(shown[at : at + 2] for at in range(0, 64, 2)) in said
    assert said.endswith("Stopped.\n")
    own.start()
    assert own.ca.read_bytes() == before


def test_certificates_that_it_refuses(own: Serve, tmp_path: Path) -> None:
    own.settle()
    ca, certificate, key = write_tls(tmp_path)
    os.chmod(key, 0o644)
    pair = ("--certificate", str(certificate), "--certificate-key", str(key))
    assert "others can read the private key" in ended(own, *pair)[1]
    os.chmod(key, 0o600)
    assert "is not the key of" in ended(own, "--certificate", str(ca), "--certificate-key", str(key))[1]
    assert "holds no certificate" in ended(own, "--certificate", str(key), "--certificate-key", str(key))[1]
    assert "belong together" in ended(own, "--certificate", str(certificate))[1]
    assert "no address to listen on" in ended(own, "--listen", "nowhere")[1]
    assert "there is no file" in ended(own, "--certificate", str(tmp_path / "x"), "--certificate-key", str(key))[1]


def test_health_figures_and_the_document(own: Serve) -> None:
    own.settle()
    own.start()
    own.client().jobs.begin_create(GROUP, "counted", job()).result()
    with own.http() as http:
        assert http.get("/healthz").json()["status"] == "ok"
        http.request("STRANGE", "/nowhere")
        figures = http.get("/metrics").text
        assert 'wain_orders{stage="DeviceOrdered"} 1' in figures
        assert 'wain_http_requests_total{method="PUT",status="2xx"} 1' in figures
        assert 'method="other"' in figures
        assert "STRANGE" not in figures
        assert GROUP not in figures
        paths = http.get("/openapi.json").json()["paths"]
    jobs = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.DataBox/jobs"
    assert set(paths[jobs + "/{name}"]) == {"get", "put", "patch", "delete"}
    assert set(paths[jobs + "/{name}/mitigate"]) == {"post"}


def test_the_configuration_file_may_say_everything(own: Serve) -> None:
    own.settle()
    (own.home / "wain.toml").write_text('[serve]\nlisten = "nowhere"\n')
    environ = {**os.environ, "WAIN_HOME": str(own.home)}
    command = [*own.command()[:4]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "'nowhere' is no address to listen on" in done.stderr
