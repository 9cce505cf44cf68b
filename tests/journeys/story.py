"""The whole story as commands: one method for each, and the list of them in order.

A black box: every command is a process of its own, judged by its exit code, its output and what lies on disk. Nothing
here imports the product. Each command may be repeated; `Story.commands` is what the fault tests interrupt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSPHRASE = "correct horse battery staple"
ACCOUNT = "storyaccount"
ORDER = "story-order"
PATIENCE_SECONDS = 900
SRC = Path(__file__).resolve().parents[2] / "src"


class Unexpected(AssertionError):
    """A command ended in another way than the story needs."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one command ended. `code` is negative when a signal ended it."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    def json(self) -> Any:
        """Return the last line of output, or else the whole of it, as JSON."""
        lines = self.out.strip().splitlines()
        try:
            return json.loads(lines[-1])
        except (ValueError, IndexError):
            pass
        try:
            return json.loads(self.out)
        except ValueError:
            raise Unexpected(f"no JSON in the output of {self}") from None

    def __str__(self) -> str:
        return (
            f"wain {' '.join(self.args)} -> {self.code}\n--- output\n{self.out[-4000:]}\n--- errors\n{self.err[-4000:]}"
        )


@dataclass(frozen=True, slots=True)
class Command:
    """One step of the story. `before` happens once, ahead of the first try; `codes` are the good endings."""

    name: str
    args: tuple[str, ...]
    codes: tuple[int, ...] = (0,)
    before: Callable[[], None] | None = None


@dataclass(slots=True)
class Story:
    """One server, one vault, one device, below `work`. `source` is the directory that is protected."""

    work: Path
    source: Path
    changes: Callable[[], None] | None = None
    """What happens to the source between the seed and the incremental backup."""
    codes: tuple[int, ...] = (0,)
    """Good exit codes of a backup: (0, 3) where the source holds what cannot be read."""
    more: tuple[Path, ...] = ()
    """Further directories that are protected."""
    excludes: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    """What the interpreter is run under, such as strace with its options."""
    history: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.device.mkdir(exist_ok=True)
        self.passphrase.write_text(PASSPHRASE + "\n", encoding="ascii")
        self.passphrase.chmod(0o600)

    @property
    def home(self) -> Path:
        return self.work / "home"

    @property
    def vault(self) -> Path:
        return self.work / "vault"

    @property
    def device(self) -> Path:
        return self.work / "device"

    @property
    def passphrase(self) -> Path:
        return self.work / "passphrase"

    @property
    def recovery_key(self) -> Path:
        return self.work / "recovery-key"

    @property
    def restored(self) -> Path:
        return self.work / "restored"

    def accounts(self) -> list[Path]:
        """Return the directories that hold the storage account's containers."""
        return [each for each in self.home.rglob("accounts") if each.is_dir()]

    def copy_of(self, path: Path, to: Path | None = None) -> Path:
        """Return where a restore puts a source path."""
        return (to or self.restored) / path.relative_to("/")

    # Running ---------------------------------------------------------------------------------------------------------

    def start(self, args: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in its own process group. The real interpreter, so that faults count its calls alone."""
        packages = os.pathsep.join([str(SRC), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        surroundings = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        surroundings |= {"HOME": str(self.work), "WAIN_HOME": str(self.home), "PYTHONPATH": packages}
        surroundings |= {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        return subprocess.Popen(
            [*self.wrapper, os.path.realpath(sys.executable), "-m", "wain.cli.main", *args],
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def attempt(self, *args: str, kill_after: float | None = None) -> Result:
        """Run a command, whatever comes of it; with `kill_after`, SIGKILL to all its processes after those seconds."""
        began = time.monotonic()
        process = self.start(args)
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            if kill_after is None:
                raise Unexpected(f"wain {' '.join(args)} did not end in {PATIENCE_SECONDS} seconds") from None
        seconds = time.monotonic() - began
        result = Result(args, process.returncode, _text(out), _text(err), seconds)
        self.history.append(result)
        return result

    def run(self, *args: str, codes: Sequence[int] = (0,)) -> Result:
        """Run a command that must end with one of `codes`."""
        result = self.attempt(*args)
        if result.code not in codes:
            raise Unexpected(f"exit code {result.code}, not one of {tuple(codes)}: {result}")
        return result

    def tell(self, command: Command) -> Result:
        """Run one step of the story, with what comes before it."""
        if command.before is not None:
            command.before()
        return self.run(*command.args, codes=command.codes)

    def tell_all(self, until: str | None = None) -> None:
        """Run the whole story, or as far as (and with) the command named `until`."""
        for command in self.commands():
            self.tell(command)
            if command.name == until:
                return

    def tell_all_after(self, name: str, until: str | None = None) -> None:
        """Run the story from behind the command `name`, to its end or as far as (and with) `until`."""
        commands = self.commands()
        for command in commands[[each.name for each in commands].index(name) + 1 :]:
            self.tell(command)
            if command.name == until:
                return

    # The commands ----------------------------------------------------------------------------------------------------

    def commands(self) -> list[Command]:
        """Return the story, in order. Every name is there once."""
        backup = ("backup", "--json")
        return [
            Command("register", self._register()),
            Command("account", ("account", "create", ACCOUNT, "--kind", "StorageV2")),
            Command("order", ("order", "create", ORDER, "--sku", "DataBoxDisk", "--account", ACCOUNT)),
            Command("prepare", ("device", "prepare", ORDER, str(self.device))),
            Command("dispatched", self._advance("Dispatched")),
            Command("delivered", self._advance("Delivered")),
            Command("policy", self._policy()),
            Command("write device", backup, self.codes),
            Command("device verify", ("device", "verify", str(self.device), "--json")),
            Command("picked up", self._advance("PickedUp")),
            Command("wait", backup, self.codes),
            Command("arrived", self._advance("AtAzureDC")),
            Command("copy", ("order", "copy", ORDER, str(self.device))),
            Command("order verify", ("order", "verify", ORDER, "--json")),
            Command("import", backup, self.codes),
            Command("incremental", backup, self.codes, self.changes),
            Command("vault verify", ("vault", "verify", "--json")),
            Command("verify", ("verify", "--read-data", "--json")),
            Command("restore", self._restore("latest", (), self.restored)),
        ]

    def command(self, name: str) -> Command:
        """Return one step by name."""
        return next(each for each in self.commands() if each.name == name)

    def _register(self) -> tuple[str, ...]:
        return (
            *("register", "--vault", f"file://{self.vault}"),
            *("--passphrase-file", str(self.passphrase), "--recovery-key-file", str(self.recovery_key)),
        )

    def _advance(self, stage: str) -> tuple[str, ...]:
        return ("order", "advance", ORDER, stage)

    def _policy(self) -> tuple[str, ...]:
        includes = [word for each in (self.source, *self.more) for word in ("--include", str(each))]
        excludes = [word for glob in self.excludes for word in ("--exclude", glob)]
        seed = ("--initial", "offline", "--order", ORDER, "--device", str(self.device))
        return ("policy", "set", *includes, *excludes, *seed)

    def _restore(self, point: str, paths: Sequence[Path], to: Path) -> tuple[str, ...]:
        return (
            *("restore", point, *map(str, paths), "--to", str(to)),
            *("--passphrase-file", str(self.passphrase)),
        )

    # Questions -------------------------------------------------------------------------------------------------------

    def backup(self) -> Any:
        """Run a job; return it as the JSON object it prints."""
        return self.run("backup", "--json", codes=self.codes).json()

    def points(self) -> list[Any]:
        """Return the recovery points, newest last."""
        found = self.run("points", "--json").json()
        return list(found["points"]) if isinstance(found, dict) else list(found)

    def jobs(self) -> list[Any]:
        """Return the jobs."""
        found = self.run("jobs", "--json").json()
        return list(found["jobs"]) if isinstance(found, dict) else list(found)

    def order(self) -> Any:
        """Return the order as JSON."""
        return self.run("order", "show", ORDER, "--json").json()

    def restore(self, to: Path, *paths: Path, point: str = "latest") -> Result:
        """Restore a point, or some paths of it, below `to`."""
        return self.run(*self._restore(point, paths, to))


def _text(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")
