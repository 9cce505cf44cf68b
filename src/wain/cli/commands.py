"""All commands of `wain`, put together."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import typer

from wain import __version__

_HOMES: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("demo", "demo"),
    "register": ("register", "register"),
    "policy": ("policy", "app"),
    "backup": ("backup", "backup"),
    "jobs": ("backup", "jobs"),
    "points": ("points", "points"),
    "ls": ("points", "ls"),
    "find": ("search", "find"),
    "diff": ("search", "diff"),
    "restore": ("points", "restore"),
    "mount": ("mount", "mount"),
    "verify": ("verify", "verify"),
    "doctor": ("doctor", "doctor"),
    "account": ("accounts", "app"),
    "order": ("orders", "app"),
    "device": ("devices", "app"),
    "vault": ("vaults", "app"),
    "identity": ("identity", "app"),
    "serve": ("serve", "serve"),
    "inspect": ("inspect", "inspect"),
}
"""The module under `wain.cli` and the name in it of every command and group, in the order of the help."""


def build(word: str = "") -> typer.Typer:
    """Return the command line: the command or group named `word` alone, or all when there is none of that name.

    A module costs only whom it serves: loading all takes 8 MB and the better part of 40 ms from every command.
    """
    app = typer.Typer(
        name="wain",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Offline-seeded backup: the first, huge backup travels on a shipped disk, every later one over the wire.",
    )
    app.callback()(_version)
    for name in [word] if word in _HOMES else _HOMES:
        module, attribute = _HOMES[name]
        found = getattr(import_module(f"wain.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    # The flag alone is answered before this module is loaded; here it stands for the help, and beside a command.
    if version:
        typer.echo(f"wain {__version__}")
        raise typer.Exit
