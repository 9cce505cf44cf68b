"""The operator's side of `wain identity`: people, roles and signing keys of the directory behind `wain serve`.

Passwords come from a terminal or a file, never from the command line.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wain.base.errors import Refused
from wain.cli import options, render
from wain.cli.config import Settings, path_of
from wain.cli.options import Json
from wain.cli.parts import now

if TYPE_CHECKING:
    from wain.identity.entities import RoleAssignment, User
    from wain.identity.service import Identity

user_app = typer.Typer(help="People who may sign in.", no_args_is_help=True)
role_app = typer.Typer(help="Who may do what where.", no_args_is_help=True)
key_app = typer.Typer(help="The keys that sign tokens.", no_args_is_help=True)

Directory = Annotated[
    str, typer.Option("--directory", metavar="DIR", help="The directory's files. Default: identity/ in the home.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user, such as ada@example.org.")]
PasswordFile = Annotated[
    str, typer.Option("--password-file", metavar="FILE", help="File whose first line is the password.")
]
Scope = Annotated[
    str, typer.Option("--scope", metavar="SCOPE", help="/, /subscriptions/S or /subscriptions/S/resourceGroups/G.")
]
_FLAG = "--password-file"


@user_app.command("add")
def add_user(
    context: typer.Context,
    name: Name,
    display_name: Annotated[str, typer.Option(help="What others see. Default: from the name.")] = "",
    password_file: PasswordFile = "",
    directory: Directory = "",
    json: Json = False,
) -> None:
    """Add a person who may sign in."""
    password = _new_password(password_file)
    with _open(context, directory) as identity:
        user = identity.users.add(name, display_name, password)
    _show_users([user], json)


@user_app.command("password")
def set_password(
    context: typer.Context, name: Name, password_file: PasswordFile = "", directory: Directory = ""
) -> None:
    """Set another password; every sign-in made with the old one ends."""
    password = _new_password(password_file)
    with _open(context, directory) as identity:
        identity.users.set_password(name, password)
    render.say(f"{name.lower()} has a new password; earlier sign-ins have ended.")


@user_app.command("enable")
def enable_user(context: typer.Context, name: Name, directory: Directory = "") -> None:
    """Let a person sign in again."""
    with _open(context, directory) as identity:
        identity.users.set_enabled(name, enabled=True)
    render.say(f"{name.lower()} may sign in.")


@user_app.command("disable")
def disable_user(context: typer.Context, name: Name, directory: Directory = "") -> None:
    """Let a person sign in no longer; what they hold stops counting at once."""
    with _open(context, directory) as identity:
        identity.users.set_enabled(name, enabled=False)
    render.say(f"{name.lower()} may no longer sign in.")


@user_app.command("list")
def list_users(context: typer.Context, directory: Directory = "", json: Json = False) -> None:
    """List the people."""
    with _open(context, directory) as identity:
        users = identity.users.all()
    _show_users(users, json)


@role_app.command("grant")
def grant_role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="WHO", help="A user's name, or an object id.")],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="Such as Owner or 'Data Box Reader'.")],
    scope: Scope = "",
    directory: Directory = "",
    json: Json = False,
) -> None:
    """Grant a role at a scope and below it. Granted already, it changes nothing."""
    scope = scope or options.ask_line("--scope", "the scope")
    with _open(context, directory) as identity:
        made = identity.assignments.grant(_principal(identity, name), role, scope)
        _show_roles(identity, [made], json)


@role_app.command("revoke")
def revoke_role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="WHO", help="A user's name, or an object id.")],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="Such as Owner or 'Data Box Reader'.")],
    scope: Scope = "",
    directory: Directory = "",
) -> None:
    """Take a role away at a scope. It ends at once, also for those who are signed in."""
    from wain.identity.roles import check_scope, find_role

    wanted = find_role(role).name, check_scope(scope or options.ask_line("--scope", "the scope")).lower()
    with _open(context, directory) as identity:
        held = identity.assignments.of(_principal(identity, name))
        found = [each for each in held if (each.role, each.scope.lower()) == wanted]
        if not found:
            raise Refused(f"{name} is not {wanted[0]} at {wanted[1]}", "See `wain identity role list`.")
        identity.assignments.revoke(found[0].id)
    render.say(f"{name} is no longer {wanted[0]} at {wanted[1]}.")


@role_app.command("list")
def list_roles(context: typer.Context, directory: Directory = "", json: Json = False) -> None:
    """List who may do what where."""
    with _open(context, directory) as identity:
        _show_roles(identity, identity.assignments.all(), json)


@key_app.command("rotate")
def rotate_key(
    context: typer.Context,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="End every token that is out: somebody may have the old key.")
    ] = False,
    directory: Directory = "",
) -> None:
    """Sign with a new key from now on. Tokens signed with the old one count until they expire."""
    with _open(context, directory) as identity:
        kid, _ = identity.signing.rotate(at_once=at_once)
    render.say(f"Tokens are signed with key {kid} from now on.")


@key_app.command("list")
def list_keys(context: typer.Context, directory: Directory = "", json: Json = False) -> None:
    """List the keys that sign, or still verify."""
    with _open(context, directory) as identity:
        keys = identity.signing.listed()
    if json:
        rows = [
            {
                "id": key.kid,
                "createdAt": render.json_moment(key.created_at),
                "retiredAt": render.json_moment(key.retired_at),
            }
            for key in keys
        ]
        render.emit_json(rows)
        return
    rows_text = [(key.kid, render.moment(key.created_at), render.moment(key.retired_at)) for key in keys]
    render.table(("key", "made", "retired"), rows_text)


def _open(context: typer.Context, directory: str) -> "Identity":
    from wain.identity.service import NOWHERE, Identity

    settings = context.obj
    assert isinstance(settings, Settings)
    root = Path(path_of(directory, "--directory")) if directory else Path(settings.home) / "identity"
    return Identity.open(root, NOWHERE, now)


def _new_password(file: str) -> str:
    from wain.identity.passwords import check_password

    if file:
        password = options.first_line(file, "the password", _FLAG)
        check_password(password)
        return password
    password = options.ask_hidden(_FLAG, "the password")
    check_password(password)
    if options.ask_hidden(_FLAG, "the password again") != password:
        raise Refused("the two passwords differ", "Type it again.")
    return password


def _principal(identity: "Identity", name: str) -> str:
    """Return the object id of a user's name; an object id stands for itself."""
    return identity.users.find(name).object_id if "@" in name else name.lower()


def _show_users(users: "list[User]", as_json: bool) -> None:
    if as_json:
        rows = [
            {"id": user.object_id, "name": user.name, "displayName": user.display_name, "enabled": user.enabled}
            for user in users
        ]
        render.emit_json(rows)
        return
    shown = [(user.name, user.display_name, user.object_id, "yes" if user.enabled else "no") for user in users]
    render.table(("user", "name", "object id", "enabled"), shown)


def _show_roles(identity: "Identity", found: "list[RoleAssignment]", as_json: bool) -> None:
    names = {user.object_id: user.name for user in identity.users.all()}
    if as_json:
        rows = [
            {
                "id": each.id,
                "principal": each.principal,
                "name": names.get(each.principal, ""),
                "role": each.role,
                "scope": each.scope,
            }
            for each in found
        ]
        render.emit_json(rows)
        return
    shown = [(names.get(each.principal, each.principal), each.role, each.scope) for each in found]
    render.table(("who", "role", "scope"), shown)
