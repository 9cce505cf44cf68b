"""`wain policy`: what to protect, when, how long, and which road the first backup takes."""

import os
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes, parse_bytes
from wain.cli import render
from wain.cli.options import DataBox, Json, ask_line, is_interactive
from wain.cli.parts import Parts
from wain.cli.signing_in import ArmUrl, Asked, Authority, CaFile, GraphUrl, SigningIn, Tenant

if TYPE_CHECKING:
    from wain.policy.consistency import Commands
    from wain.policy.policy import Policy

app = typer.Typer(help="What to protect, when, how long, and how the first backup travels.", no_args_is_help=True)

_Choice = TypeVar("_Choice", bound=Enum)
_Globs = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out what matches.")]


@app.command("set")
def set_(
    context: typer.Context,
    include: Annotated[list[str] | None, typer.Option(metavar="DIR", help="Protect this file or directory.")] = None,
    exclude: _Globs = None,
    initial: Annotated[str | None, typer.Option(metavar="online|offline", help="The first backup's road.")] = None,
    order: Annotated[str | None, typer.Option(metavar="NAME", help="The Delivered order (offline).")] = None,
    device: Annotated[str | None, typer.Option(metavar="PATH", help="The device's root, which holds PageBlob.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Such as 'daily 12:30,21:00' or 'weekly Mon,Fri 21:00'.")] = None,
    retention: Annotated[str | None, typer.Option(help="Such as '30d 12w 24m 10y'.")] = None,
    max_file_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Leave out larger files; 0 for none.")
    ] = None,
    exclude_caches: Annotated[bool | None, typer.Option(help="Leave out what CACHEDIR.TAG marks.")] = None,
    one_file_system: Annotated[bool | None, typer.Option(help="Do not cross mount points.")] = None,
    gap_cover: Annotated[bool | None, typer.Option(help="Protect changes while the device travels.")] = None,
    source: Annotated[
        str | None, typer.Option(metavar="live|snapshot|auto", help="Read files as they are, or from a snapshot.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Run by /bin/sh before reading; '' for none.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Run after reading, or once the snapshot is made; '' for none."),
    ] = None,
    command_limit: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long each command may run. Default: 3600.")
    ] = None,
    compression: Annotated[
        str | None, typer.Option(metavar="fast|default|small", help="What compression may cost.")
    ] = None,
    parity: Annotated[
        str | None, typer.Option(metavar="PERCENT|off", help="How much of the device is parity: 3, 6, 9, 12 or off.")
    ] = None,
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    arm: ArmUrl = "",
    ca_file: CaFile = "",
    subscription: Annotated[
        str, typer.Option(metavar="ID", help="The orders' subscription: you must be its Owner.")
    ] = "",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Save the policy. What is not named stays as it was; the first time, at least --include is needed.

    With --authority, an offline policy asks you to sign in first, and gives this server its certificate
    (`wain identity setup`).
    """
    parts = Parts.of(context)
    if authority and (order or (initial or "").lower() == "offline"):
        # Before anything is saved, and before other jobs are kept waiting: a person may take their time.
        SigningIn(parts.settings, Asked(authority, tenant, graph, arm, ca_file)).ensure(subscription)
    asked: dict[str, Any] = {
        # The walk follows no symbolic link, so an item is saved as the place that it leads to now.
        "includes": tuple(os.fsencode(os.path.realpath(path)) for path in include) if include else None,
        "excludes": tuple(exclude) if exclude else None,
        "exclude_caches": exclude_caches,
        "one_file_system": one_file_system,
        "gap_cover": gap_cover,
        "parity_percent": _parity(parity),
        **_parsed(schedule, retention, max_file_size),
        **_reading(source, compression),
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    if max_file_size is not None:
        changes["max_file_bytes"] = parse_bytes(max_file_size) or None
    home = parts.home()
    with home.lock():
        old = home.policy()
        changes["commands"] = _commands(old, before, after, command_limit)
        policy = _changed(old, changes, _Road(parts, databox, initial, order, device))
        parts.save_policy(policy)
    _show(policy, json)


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show the policy."""
    policy = Parts.of(context).home().policy()
    if policy is None:
        raise Refused("there is no policy yet", "Make one with `wain policy set --include DIR`.")
    _show(policy, json)


class _Road:
    """The answers about the first backup's road."""

    def __init__(self, parts: Parts, databox: str, initial: str | None, order: str | None, device: str | None) -> None:
        self._parts = parts
        self._databox = databox
        self._initial = initial
        self._order = order
        self._device = device

    def fields(self, before: "Policy | None") -> dict[str, Any]:
        """Return the policy's fields; only an order that is Delivered can be chosen anew.

        Raises:
            Refused: an unknown road, no order, an order that is not Delivered, or a device that is none.
        """
        from wain.policy.policy import InitialBackup

        if self._initial is None and before is not None and not (self._order or self._device):
            return {}
        known = before.initial if before else InitialBackup.ONLINE
        try:
            initial = InitialBackup(self._initial.lower()) if self._initial else known
        except ValueError:
            hint = "--initial takes online or offline."
            raise Refused(f"{self._initial!r} is not a road for the first backup", hint) from None
        if initial is InitialBackup.ONLINE:
            return {"initial": initial, "order": self._order, "device": self._device}
        order = self._order or (before.order if before else None) or self._choose()
        if before is None or order != before.order:
            self._check_delivered(order)
        return {"initial": initial, "order": order, "device": self._checked_device(before)}

    def _choose(self) -> str:
        from wain.order.rules import offered

        orders = offered(self._parts.databox(self._databox).orders())
        if not orders:
            raise Refused(
                "no order is Delivered yet", "Order a device and wait until it is here; see `wain order list`."
            )
        if is_interactive():
            render.table(("order", "SKU", "account"), [(order.name, order.sku, order.account) for order in orders])
        return ask_line("--order", "the Data Box order")

    def _check_delivered(self, name: str) -> None:
        from wain.order.rules import check_account_kind, offered

        order = self._parts.databox_knowing(name, self._databox).order(name)
        if not offered([order]):
            hint = "Choose an order that is Delivered; see `wain order list`."
            raise Refused(f"order {name} is {order.stage.value}, and only a Delivered order can be written", hint)
        # Asked again: the account may be another one than when the order was made.
        check_account_kind(order.account_kind)

    def _checked_device(self, before: "Policy | None") -> str | None:
        from wain.device.find import check_root
        from wain.device.share import caution, check_writable, is_unc

        if self._device is None:
            return before.device if before else None
        root = check_root(self._device)
        check_writable(root.pageblob)
        if warning := caution(root.path):
            typer.echo(warning, err=True)
        # A share keeps its name: it may be mounted elsewhere the next time.
        return self._device if is_unc(self._device) else os.path.abspath(self._device)


def _parsed(schedule: str | None, retention: str | None, max_file_size: str | None) -> dict[str, Any]:
    from wain.policy.retention import parse_retention
    from wain.policy.schedule import parse_schedule

    return {
        "schedule": parse_schedule(schedule) if schedule else None,
        "retention": parse_retention(retention) if retention else None,
        "max_file_bytes": parse_bytes(max_file_size) or None if max_file_size else None,
    }


def _reading(source: str | None, compression: str | None) -> dict[str, Any]:
    from wain.policy.compression import Compression
    from wain.policy.consistency import SourceMode

    return {
        "source": _choice(SourceMode, source, "--source", "a way to read files"),
        "compression": _choice(Compression, compression, "--compression", "a choice of compression"),
    }


def _choice(choices: type[_Choice], text: str | None, flag: str, what: str) -> _Choice | None:
    """Return the member of an enumeration that a word names.

    Raises:
        Refused: no member has that name.
    """
    try:
        return None if text is None else choices(text.lower())
    except ValueError:
        takes = ", ".join(str(one.value) for one in choices)
        raise Refused(f"{text!r} is not {what}", f"{flag} takes {takes}.") from None


def _commands(old: "Policy | None", before: str | None, after: str | None, limit: int | None) -> "Commands":
    """Return the commands of the old policy, changed by what was asked; an empty command is none."""
    from wain.policy.consistency import NO_COMMANDS, Commands

    kept = old.commands if old else NO_COMMANDS
    return Commands(
        kept.before if before is None else before or None,
        kept.after if after is None else after or None,
        kept.limit_seconds if limit is None else limit,
    )


def _parity(text: str | None) -> int | None:
    """Return the percentage that `--parity` names, 0 for off; None when it was not given.

    Raises:
        Refused: devices are written with other amounts.
    """
    from wain.policy.policy import check_parity

    if text is None:
        return None
    number = text.strip().removesuffix("%").strip()
    if number.lower() == "off":
        return 0
    if not number.isdecimal() or len(number) > len("100"):
        raise Refused(f"{text!r} is not an amount of parity", "--parity takes 3, 6, 9 or 12 percent, or off.")
    return check_parity(int(number))


def _changed(before: "Policy | None", changes: dict[str, Any], road: _Road) -> "Policy":
    from wain.policy.policy import Policy

    if before is None and "includes" not in changes:
        raise Refused("the policy protects nothing", "Name at least one item with --include.")
    changes = changes | road.fields(before)
    return replace(before, **changes) if before else Policy(**changes)


def _show(policy: "Policy", as_json: bool) -> None:
    if as_json:
        from wain.agent.records import policy_to_json

        render.emit_json(policy_to_json(policy))
        return
    largest = format_bytes(policy.max_file_bytes) if policy.max_file_bytes else "any size"
    pairs = [("protects", render.printable(path)) for path in policy.includes]
    pairs += [("leaves out", pattern) for pattern in policy.excludes]
    pairs += [("leaves out", "what CACHEDIR.TAG marks")] if policy.exclude_caches else []
    pairs += [("files up to", largest)] if policy.max_file_bytes else []
    pairs += [("stays on", "one file system")] if policy.one_file_system else []
    pairs += [("runs", str(policy.schedule)), ("keeps", str(policy.retention)), ("first", policy.initial.value)]
    pairs += [("reads", policy.source.value), ("compresses", policy.compression.value)]
    commands = policy.commands
    pairs += [("before", commands.before)] if commands.before else []
    pairs += [("after", commands.after)] if commands.after else []
    if policy.order:
        cover = "on: changes are protected while the device travels" if policy.gap_cover else "off"
        pairs += [("order", policy.order), ("device", policy.device or "found when it is needed"), ("gap cover", cover)]
        share = f"{policy.parity_percent} %" if policy.parity_percent else "off"
        pairs += [("parity", share)]
    render.facts(pairs)
