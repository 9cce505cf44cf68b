"""All commands of `wain`, put together."""

import typer

from wain import __version__
from wain.cli import (
    accounts,
    backup,
    demo,
    devices,
    doctor,
    identity,
    inspect,
    mount,
    orders,
    points,
    policy,
    register,
    search,
    serve,
    vaults,
    verify,
)


def build() -> typer.Typer:
    """Return the command line."""
    app = typer.Typer(
        name="wain",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Offline-seeded backup: the first, huge backup travels on a shipped disk, every later one over the wire.",
    )
    app.callback()(_version)
    app.command()(demo.demo)
    app.command()(register.register)
    app.add_typer(policy.app, name="policy")
    app.command()(backup.backup)
    app.command()(backup.jobs)
    app.command("points")(points.points)
    app.command()(points.ls)
    app.command()(search.find)
    app.command()(search.diff)
    app.command()(points.restore)
    app.command()(mount.mount)
    app.command()(verify.verify)
    app.command()(doctor.doctor)
    app.add_typer(accounts.app, name="account")
    app.add_typer(orders.app, name="order")
    app.add_typer(devices.app, name="device")
    app.add_typer(vaults.app, name="vault")
    app.add_typer(identity.app, name="identity")
    app.command()(serve.serve)
    app.command()(inspect.inspect)
    return app


def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    # The flag alone is answered before this module is loaded; here it stands for the help, and beside a command.
    if version:
        typer.echo(f"wain {__version__}")
        raise typer.Exit
