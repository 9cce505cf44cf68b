"""`wain demo SOURCE`: the whole story on real files, told by the real commands in a temporary home.

Every step is a `wain` command run as a process of its own, exactly as a person would type it; nothing is special-cased.
The judge at the end (`compare`) is written apart from the engine. The source is only ever read.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from wain.base.errors import Refused, WainError
from wain.base.sizes import format_bytes
from wain.cli import render
from wain.cli.compare import Comparer, Comparison
from wain.cli.config import url_of
from wain.cli.demo_ground import Notebook, find_place, need_bytes, remove
from wain.cli.measure import Extent, measure
from wain.cli.progress import format_seconds, open_progress

_ORDER: Final = "demo"
_ACCOUNT: Final = "demoaccount"
_NEVER_NS: Final = 2**63
_SHOWN: Final = 20


@dataclass(eq=False)
class StepFailed(WainError):
    """A command of the story ended as it must not."""

    command: str
    code: int
    hint = "Its own words are above."

    def __str__(self) -> str:
        return f"`{self.command}` ended with exit code {self.code}"


@dataclass(slots=True)
class Figures:
    """What is measured on the way: seconds by step, and bytes."""

    seconds: dict[str, float] = field(default_factory=dict)
    device_bytes: int = 0
    restored_bytes: int = 0


def demo(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A directory. It is read, never written.")],
    keep: Annotated[str, typer.Option(metavar="DIR", help="Play in this new directory and keep it.")] = "",
) -> int:
    """Tell the whole story on your own files: order, write, ship, copy, import, restore, compare."""
    real = os.path.realpath(source)
    if not os.path.isdir(real):
        raise Refused(f"{source} is not a directory", "Give a directory to protect, such as /usr/share.")
    with open_progress() as progress:
        progress.phase("measuring the source")
        extent = measure(real, progress.advance)
    place = find_place(real, need_bytes(extent), keep)
    story = Story(place, real, extent)
    try:
        differences = story.tell()
    finally:
        if not keep:
            remove(place)
    if keep:
        story.say_how_to_go_on()
    return render.EXIT_DATA if differences else render.EXIT_OK


class Story:
    """One telling. `place` holds everything but the source."""

    def __init__(self, place: Path, source: str, extent: Extent) -> None:
        self._place = place
        self._source = source
        self._extent = extent
        self._notebook = Notebook(place / "notebook")
        self._device = place / "device"
        self._vault = url_of(str(place / "vault"))
        self._passphrase = place / "passphrase"
        self._figures = Figures()
        self._comparisons: list[Comparison] = []
        self._since_ns = 0
        self._backups: list[str] = []

    def tell(self) -> int:
        """Tell it all; return the number of differences."""
        started = time.monotonic()
        render.say(
            f"The source: {self._source}, {self._extent.entries:,} entries, {format_bytes(self._extent.content_bytes)}"
        )
        render.say(f"The story plays in {self._place}; the source is only read.")
        self._prepare()
        self._order()
        self._register()
        self._write_device()
        self._ship()
        self._arrive()
        self._import()
        self._second_backup()
        self._close_custody()
        self._restore_and_compare()
        return self._sum_up(time.monotonic() - started)

    def _prepare(self) -> None:
        self._notebook.write()
        self._device.mkdir()
        self._passphrase.write_text("a demo is not a secret at all\n")

    def _order(self) -> None:
        self._title("A device is ordered, prepared and delivered")
        self._wain("account", "create", _ACCOUNT, "--kind", "StorageV2")
        self._wain("order", "create", _ORDER, "--sku", "DataBoxDisk", "--account", _ACCOUNT)
        self._wain("device", "prepare", _ORDER, str(self._device))
        self._wain("order", "advance", _ORDER, "Dispatched")
        self._wain("order", "advance", _ORDER, "Delivered")

    def _register(self) -> None:
        self._title("This server joins a vault and gets a policy")
        recovery = str(self._place / "recovery-key")
        self._wain("register", "--vault", self._vault, "--passphrase-file", str(self._passphrase),
                   "--recovery-key-file", recovery)  # fmt: skip
        self._wain("policy", "set", "--include", self._source, "--include", str(self._notebook.root),
                   "--initial", "offline", "--order", _ORDER, "--device", str(self._device))  # fmt: skip

    def _write_device(self) -> None:
        self._title("The first backup goes onto the device, is read back and sealed")
        self._since_ns = time.time_ns()
        self._notebook.keep_copy(self._place / "notebook-before")
        self._backup("first backup")
        self._figures.device_bytes = sum(path.stat().st_size for path in self._device.rglob("*") if path.is_file())

    def _ship(self) -> None:
        self._title("The device travels; scheduled backups wait, and protect what changes meanwhile")
        self._wain("order", "advance", _ORDER, "PickedUp")
        self._notebook.write_on_the_road()
        self._backup("while it travels")

    def _arrive(self) -> None:
        self._title("At the datacenter: the data copy, verified without any key")
        self._wain("order", "advance", _ORDER, "AtAzureDC")
        self._timed("data copy", "order", "copy", _ORDER, str(self._device))

    def _import(self) -> None:
        self._title("The next scheduled backup imports it: a recovery point")
        self._backup("import")
        self._wain("points")

    def _second_backup(self) -> None:
        self._title("A few files change; the second backup sends only their chunks")
        self._notebook.change()
        self._backup("second backup")
        self._wain("points")

    def _close_custody(self) -> None:
        self._title("The receipt is counter-signed: the device may be erased")
        self._wain("device", "erase", _ORDER, str(self._device))
        self._wain("order", "custody", _ORDER)

    def _restore_and_compare(self) -> None:
        points = self._ask("points")
        for name, point, notebook in (
            ("the first point", points[0]["id"], self._place / "notebook-before"),
            ("the latest point", "latest", self._notebook.root),
        ):
            self._title(f"Restore of {name}, and an independent comparison, byte for byte")
            target = self._place / "restored"
            self._timed(f"restore of {name}", "restore", point, "--to", str(target),
                        "--passphrase-file", str(self._passphrase))  # fmt: skip
            self._compare(name, target, notebook)
            remove(target)
        self._title("Every stored bit of the latest point, checked without any key")
        self._timed("verify", "verify", "latest", "--read-data")

    def _compare(self, name: str, target: Path, notebook: Path) -> None:
        started = time.monotonic()
        as_root = os.geteuid() == 0
        with open_progress() as progress:
            progress.phase(f"comparing {name}", self._extent.content_bytes)
            pairs = ((self._source, self._source, self._since_ns), (str(notebook), str(self._notebook.root), _NEVER_NS))
            for source, restored, since_ns in pairs:
                there = os.fsencode(str(target) + restored)
                found = Comparer(since_ns, as_root).compare(os.fsencode(source), there, progress.advance)
                self._comparisons.append(found)
                self._figures.restored_bytes += found.source_bytes
                _show_comparison(found, source)
        self._figures.seconds[f"comparison of {name}"] = time.monotonic() - started

    def _backup(self, name: str) -> None:
        self._timed(name, "backup")
        self._backups.append(name)

    def _timed(self, name: str, *args: str) -> None:
        started = time.monotonic()
        self._wain(*args)
        self._figures.seconds[name] = time.monotonic() - started

    def _title(self, text: str) -> None:
        typer.secho(f"\n{text}", bold=True)

    def _wain(self, *args: str) -> None:
        """Run one command as a person would, and repeat its words, indented.

        Raises:
            StepFailed: it did not end with 0, or 3 (some files skipped).
        """
        words = shlex.join(["wain", *args])
        typer.secho(f"  $ {words}", fg=typer.colors.CYAN)
        sys.stdout.flush()
        with subprocess.Popen(self._command(args), env=self._environ(), stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for line in child.stdout:
                render.say("    " + line.decode(errors="replace").rstrip())
        if child.returncode not in (render.EXIT_OK, render.EXIT_WARNINGS):
            raise StepFailed(words, child.returncode)

    def _ask(self, *args: str) -> Any:
        """Run a reading command for its JSON, without showing it."""
        done = subprocess.run(
            self._command((*args, "--json")), env=self._environ(), stdout=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise StepFailed(shlex.join(["wain", *args, "--json"]), done.returncode)
        return json.loads(done.stdout.splitlines()[-1])

    @staticmethod
    def _command(args: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "wain.cli.main", *args]

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "WAIN_HOME": str(self._place / "home")}

    def _sum_up(self, seconds: float) -> int:
        self._title("What it came to")
        figures = self._figures
        jobs = dict(zip(self._backups, self._ask("jobs"), strict=True))
        first, second = jobs["first backup"], jobs["second backup"]
        entries = sum(found.entries for found in self._comparisons)
        differences = sum(len(found.differences) for found in self._comparisons)
        restored, compared = (
            sum(spent for name, spent in figures.seconds.items() if name.startswith(kind))
            for kind in ("restore", "comparison")
        )
        source = first["sourceBytes"]
        pairs = [
            ("source", f"{format_bytes(source)} in {first['files']:,} files"),
            ("first backup", f"{_pace(source, figures.seconds['first backup'])}, read back and sealed"),
            ("on the device", render.sizes(figures.device_bytes, source)),
            ("data copy", _pace(figures.device_bytes, figures.seconds["data copy"])),
            ("import", _pace(figures.device_bytes, figures.seconds["import"])),
            ("second backup", f"{format_seconds(figures.seconds['second backup'])}; "
                              f"{format_bytes(second['newBytes'])} new, "
                              f"{format_bytes(second['storedBytes'])} stored"),
            ("two restores", _pace(figures.restored_bytes, restored)),
            ("compared", f"{entries:,} entries, {format_bytes(figures.restored_bytes)}, byte for byte, "
                         f"in {format_seconds(compared)}"),
            ("all together", format_seconds(seconds)),
        ]  # fmt: skip
        render.facts(pairs)
        words = f"{differences:,} differences." if differences else "No difference."
        typer.secho(f"\n{words}", bold=True, fg=typer.colors.RED if differences else typer.colors.GREEN)
        return differences

    def say_how_to_go_on(self) -> None:
        """Print the commands with which a kept demo goes on by hand."""
        place = shlex.quote(str(self._place))
        wain = "wain" if shutil.which("wain") else shlex.join([sys.executable, "-m", "wain.cli.main"])
        render.say("")
        render.say(f"Everything is kept in {place}. Go on by hand:")
        render.say("")
        for line in (
            f"export WAIN_HOME={place}/home",
            f"{wain} points",
            f"{wain} ls latest {shlex.quote(self._source)} --passphrase-file {place}/passphrase",
            f"{wain} backup",
            f"{wain} restore latest --to {place}/by-hand --passphrase-file {place}/passphrase",
            f"{wain} doctor",
            f"rm -rf {place}",
        ):
            render.say(f"  {line}")


def _pace(size: int, seconds: float) -> str:
    return f"{format_seconds(seconds)}, {format_bytes(int(size / max(seconds, 0.001)))}/s"


def _show_comparison(found: Comparison, source: str) -> None:
    """Say what one comparison found; what is nobody's fault is named apart."""
    render.say(f"    {source}: {found.entries:,} entries, {format_bytes(found.source_bytes)} of content compared")
    lists = (
        ("differences", [(each.path, each.what) for each in found.differences]),
        ("changed in the source since the backup began (not counted)", [(e.path, e.what) for e in found.changed]),
        ("not readable by this user (not counted)", [(path, "") for path in found.unreadable]),
        ("device nodes, which only root can make (not counted)", [(path, "") for path in found.left_out]),
    )
    for words, rows in lists:
        if not rows:
            continue
        render.say(f"    {len(rows):,} {words}:")
        for path, what in rows[:_SHOWN]:
            render.say(f"      {render.printable(path)} {what}".rstrip())
