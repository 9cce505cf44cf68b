"""`wain policy`: what to protect, when, how long, and which road the first backup takes."""

import os
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from wain.base.errors import Refused
from wain.base.sizes import format_bytes, parse_bytes
from wain.cli import render
from wain.cli.options import DataBox, Json
from wain.cli.ordering import ResourceGroup
from wain.cli.parts import Parts
from wain.cli.remote import asked_of
from wain.cli.road import Road, RoadAnswers
from wain.cli.signing_in import ArmUrl, Asked, Authority, CaFile, GraphUrl, SigningIn, Tenant

if TYPE_CHECKING:
    from wain.policy.consistency import Commands
    from wain.policy.policy import Policy
    from wain.wire.databox import OrderApi

app = typer.Typer(help="What to protect, when, how long, and how the first backup travels.", no_args_is_help=True)

_Choice = TypeVar("_Choice", bound=Enum)
_Globs = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out what matches.")]
_Items = Annotated[list[str] | None, typer.Option("--include", metavar="DIR", help="Protect this file or directory.")]
_Initial = Annotated[str | None, typer.Option(metavar="online|offline", help="The first backup's road.")]
_Order = Annotated[str | None, typer.Option(metavar="NAME", help="The Delivered order (offline).")]
_Device = Annotated[str | None, typer.Option(metavar="PATH", help="The device's root, which holds PageBlob.")]
_Schedule = Annotated[str | None, typer.Option(help="Such as 'daily 12:30,21:00' or 'weekly Mon,Fri 21:00'.")]
_Retention = Annotated[str | None, typer.Option(help="Such as '30d 12w 24m 10y'.")]
_Largest = Annotated[str | None, typer.Option(metavar="SIZE", help="Leave out larger files; 0 for none.")]
_Caches = Annotated[bool | None, typer.Option(help="Leave out what CACHEDIR.TAG marks.")]
_OneFileSystem = Annotated[bool | None, typer.Option(help="Do not cross mount points.")]
_GapCover = Annotated[bool | None, typer.Option(help="Protect changes while the device travels.")]
_Source = Annotated[
    str | None, typer.Option(metavar="live|snapshot|auto", help="Read files as they are, or from a snapshot.")
]
_Before = Annotated[str | None, typer.Option(metavar="COMMAND", help="Run by /bin/sh before reading; '' for none.")]
_After = Annotated[
    str | None, typer.Option(metavar="COMMAND", help="Run after reading, or once the snapshot is made; '' for none.")
]
_Limit = Annotated[int | None, typer.Option(metavar="SECONDS", help="How long each command may run. Default: 3600.")]
_Compression = Annotated[str | None, typer.Option(metavar="fast|default|small", help="What compression may cost.")]
_Parity = Annotated[
    str | None, typer.Option(metavar="PERCENT|off", help="How much of the device is parity: 3, 6, 9, 12 or off.")
]
_Service = Annotated[
    str | None,
    typer.Option("--service", metavar="URL", help="The ARM endpoint that has the order; '' for the one in this home."),
]
_Found = Annotated[
    bool,
    typer.Option("--default-credential", help="Backups sign in as azure-identity finds, not with their own key."),
]
_Subscription = Annotated[str, typer.Option(metavar="ID", help="The orders' subscription: you must be its Owner.")]


@app.command("set")
def set_(
    context: typer.Context,
    include: _Items = None,
    exclude: _Globs = None,
    initial: _Initial = None,
    order: _Order = None,
    device: _Device = None,
    schedule: _Schedule = None,
    retention: _Retention = None,
    max_file_size: _Largest = None,
    exclude_caches: _Caches = None,
    one_file_system: _OneFileSystem = None,
    gap_cover: _GapCover = None,
    source: _Source = None,
    before: _Before = None,
    after: _After = None,
    command_limit: _Limit = None,
    compression: _Compression = None,
    parity: _Parity = None,
    service: _Service = None,
    resource_group: ResourceGroup = "",
    default_credential: _Found = False,
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    arm: ArmUrl = "",
    ca_file: CaFile = "",
    subscription: _Subscription = "",
    databox: DataBox = "",
    json: Json = False,
) -> None:
    """Save the policy. What is not named stays as it was; the first time, at least --include is needed.

    With --service, the order is one of that endpoint: its Owner signs in, and every backup asks there how far it is.
    With --service or --authority, an offline policy also gives this server its certificate (`wain identity setup`).
    """
    parts = Parts.of(context)
    answers = RoadAnswers(databox, initial, order, device, service, subscription, resource_group, ca_file)
    # Before anything is saved, and before other jobs are kept waiting: a person may take their time.
    asked = Asked(authority, tenant, graph, arm, ca_file)
    remote = _signed_in(parts, answers, asked, certificate=not default_credential)
    changes = _given(
        includes=_items(include),
        excludes=tuple(exclude) if exclude else None,
        exclude_caches=exclude_caches,
        one_file_system=one_file_system,
        gap_cover=gap_cover,
        parity_percent=_parity(parity),
        **_parsed(schedule, retention),
        **_reading(source, compression),
    )
    if max_file_size is not None:
        changes["max_file_bytes"] = parse_bytes(max_file_size) or None
    home = parts.home()
    with home.lock():
        old = home.policy()
        changes["commands"] = _commands(old, before, after, command_limit)
        policy = _changed(old, changes, Road(parts, answers, remote))
        parts.save_policy(policy)
    _show(policy, json)


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show the policy."""
    policy = Parts.of(context).home().policy()
    if policy is None:
        raise Refused("there is no policy yet", "Make one with `wain policy set --include DIR`.")
    _show(policy, json)


def _signed_in(parts: Parts, answers: RoadAnswers, asked: Asked, *, certificate: bool) -> "OrderApi | None":
    """Have an Owner sign in where the answers ask for it; return the orders of the endpoint, if they name one.

    Raises:
        Refused: the sign-in is refused, or whoever signed in is not Owner of the subscription.
    """
    from dataclasses import replace

    endpoint = answers.endpoint()
    if not answers.wants_offline or (endpoint is None and not asked.authority):
        return None
    if endpoint is None:
        SigningIn(parts.settings, asked).ensure(answers.subscription)
        return None
    beside = asked_of(endpoint)
    given = {name: getattr(asked, name) for name in ("authority", "tenant", "graph", "ca_file") if getattr(asked, name)}
    signing = SigningIn(parts.settings, replace(beside, **given))
    if certificate:
        signing.ensure(endpoint.subscription)
    else:
        signing.check_owner(endpoint.subscription)
    from wain.wire.arm_client import ArmOrders

    return ArmOrders(endpoint, signing.person().credential)


def _items(include: list[str] | None) -> tuple[bytes, ...] | None:
    """Return the items: the walk follows no symbolic link, so each is saved as the place that it leads to now."""
    return tuple(os.fsencode(os.path.realpath(path)) for path in include) if include else None


def _given(**said: object) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _parsed(schedule: str | None, retention: str | None) -> dict[str, Any]:
    from wain.policy.retention import parse_retention
    from wain.policy.schedule import parse_schedule

    return {
        "schedule": parse_schedule(schedule) if schedule else None,
        "retention": parse_retention(retention) if retention else None,
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


def _changed(before: "Policy | None", changes: dict[str, Any], road: Road) -> "Policy":
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
        pairs += [("order", policy.order)]
        pairs += [("kept at", f"{policy.service.url}, {policy.service.subscription}")] if policy.service else []
        pairs += [("device", policy.device or "found when it is needed"), ("gap cover", cover)]
        share = f"{policy.parity_percent} %" if policy.parity_percent else "off"
        pairs += [("parity", share)]
    render.facts(pairs)
