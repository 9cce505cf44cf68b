"""`wain` as a process of its own, with a person who signs in when it shows a code."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unit.identity.people import sign_in_on_the_page
from unit.identity.serving import Served, now
from wain.agent.offline_identity import OfflineIdentity

PATIENCE_SECONDS = 180


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


def home_of(home: Path) -> OfflineIdentity:
    return OfflineIdentity(home / "agent", now)


def start(home: Path, *args: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "WAIN_HOME": str(home)}
    command = [sys.executable, "-m", "wain.cli.main", *args]
    return subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(home: Path, *args: str, code: int | None = 0) -> Ended:
    """Run a command to its end."""
    process = start(home, *args)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert code is None or process.returncode == code, err or out
    return Ended(process.returncode, out, err)


def signed_in(served: Served, home: Path, name: str, *args: str, code: int = 0) -> Ended:
    """Run a command that asks somebody to sign in, and be that somebody."""
    process = start(home, *args, "--authority", served.url, "--ca-file", str(served.ca))
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"open (\S+) in a browser and enter the code ([A-Z-]+)", said)
    assert found, said + process.stderr.read()
    with served.client() as client:
        assert found[1] == f"{served.url}/devicelogin"
        assert "You are signed in" in sign_in_on_the_page(client, found[2], name).text
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code, err or out
    return Ended(process.returncode, out, err)
