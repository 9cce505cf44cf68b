"""A `wain` that is called in this process, in a home of its own."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wain.cli.main import main

PASSPHRASE = "correct horse battery staple"
ORDER = "branch-office"


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The last line of standard output, as JSON."""
        return json.loads(self.out.splitlines()[-1])


Wain = Callable[..., Result]


@pytest.fixture
def wain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Wain]:
    monkeypatch.setenv("WAIN_HOME", str(tmp_path / "home"))
    before = signal.getsignal(signal.SIGTERM)

    def run(*args: str | os.PathLike[str], code: int | None = 0) -> Result:
        capsys.readouterr()
        ended = main([os.fspath(arg) for arg in args])
        said = capsys.readouterr()
        assert code is None or ended == code, said.err or said.out
        return Result(ended, said.out, said.err)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "notes").mkdir(parents=True)
    for number in range(20):
        (root / "notes" / f"{number}.txt").write_text(f"note {number}\n" * 50)
    (root / "large").write_bytes(bytes(range(256)) * 8192)
    (root / "link").symlink_to("notes/1.txt")
    return root


@pytest.fixture
def registered(wain: Wain, tmp_path: Path, passphrase: Path) -> Wain:
    vault = f"file://{tmp_path}/vault"
    wain("register", "--vault", vault, "--passphrase-file", passphrase, "--recovery-key-file", tmp_path / "recovery")
    return wain


@pytest.fixture
def delivered(registered: Wain, tmp_path: Path) -> Wain:
    """A registered server with a delivered device."""
    device = tmp_path / "device"
    device.mkdir()
    registered("account", "create", "seedaccount")
    registered("order", "create", ORDER, "--account", "seedaccount")
    registered("device", "prepare", ORDER, device)
    registered("order", "advance", ORDER, "Dispatched")
    registered("order", "advance", ORDER, "Delivered")
    return registered
