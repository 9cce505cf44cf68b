"""Roles as one table: which ARM actions each allows. Actions and scopes are compared without regard to case.

Names and ids are those of Azure's built-in roles (azure.md 1.1; Azure built-in roles), cut to what the services of
Wain answer. `Data Box Operator` is named in Azure's FAQ and has no published id: this one is ours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from wain.base.errors import Refused

ROOT_SCOPE: Final = "/"
"""Holds every subscription."""
MANAGE_DIRECTORY: Final = "Microsoft.Authorization/elevateAccess/action"
"""Who may do this at the root may change every application: the directory's administrators."""
SCOPE_CAP: Final = 1024


@dataclass(frozen=True, slots=True)
class Role:
    """A role: its name, Azure's id, what it allows, and what it does not although `actions` say so.

    `*` in a pattern stands for any characters.
    """

    name: str
    id: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()


_DATA_BOX_LOOK: Final = (
    "Microsoft.DataBox/*/read",
    "Microsoft.DataBox/locations/*/action",
    "Microsoft.DataBox/jobs/wainCustody/action",
    "Microsoft.Authorization/*/read",
)
"""Adding one's own signed word to a chain of custody is Wain's, not Azure's: who may look at an order may do it."""

ROLES: Final = (
    Role("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", ("*",)),
    Role(
        "Contributor",
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        ("*",),
        ("Microsoft.Authorization/*/write", "Microsoft.Authorization/*/delete", MANAGE_DIRECTORY),
    ),
    Role("Data Box Reader", "028f4ed7-e2a9-465e-a8f4-9c0ffdfdc027", _DATA_BOX_LOOK),
    Role(
        "Data Box Contributor",
        "add466c9-e687-43fc-8d98-dfcf8d720be5",
        ("Microsoft.DataBox/*", "Microsoft.Authorization/*/read"),
    ),
    Role(
        "Data Box Operator",
        "5f0c1d5e-9c0a-4a51-9f0e-6d1c6a1f3b77",
        (*_DATA_BOX_LOOK, "Microsoft.DataBox/jobs/*/action"),
        ("Microsoft.DataBox/jobs/cancel/action",),
    ),
    Role(
        "Backup Operator",
        "00c29273-979b-4161-815c-10b084fb9324",
        (
            "Microsoft.RecoveryServices/*/read",
            "Microsoft.RecoveryServices/vaults/*/action",
            "Microsoft.RecoveryServices/vaults/certificates/write",
            "Microsoft.RecoveryServices/vaults/registeredIdentities/write",
            "Microsoft.Authorization/*/read",
        ),
    ),
)


def find_role(name_or_id: str) -> Role:
    """Return the role of a name (in any case) or of a role definition's id, with or without its path.

    Raises:
        Refused: there is no such role.
    """
    wanted = name_or_id.rsplit("/", 1)[-1].casefold()
    for role in ROLES:
        if wanted in (role.name.casefold(), role.id):
            return role
    raise Refused(f"there is no role {name_or_id!r}", f"Roles: {', '.join(role.name for role in ROLES)}.")


def allows(role: Role, action: str) -> bool:
    """Say whether a role allows an action such as `Microsoft.DataBox/jobs/read`."""
    return _matches(role.actions, action) and not _matches(role.not_actions, action)


def check_scope(scope: str) -> str:
    """Return a scope as it is kept: `/`, or `/subscriptions/S/...` without a slash at its end.

    Raises:
        Refused: it is no scope.
    """
    kept = "/" + scope.strip("/")
    parts = kept.split("/")[1:]
    sound = kept == ROOT_SCOPE or (len(parts) >= 2 and parts[0].lower() == "subscriptions" and all(parts))
    if not sound or len(kept) > SCOPE_CAP or not kept.isprintable() or {".", ".."} & set(parts):
        raise Refused(f"{scope!r} is not a scope", "Write / or /subscriptions/S or /subscriptions/S/resourceGroups/G.")
    return kept


def covers(scope: str, place: str) -> bool:
    """Say whether what is granted at `scope` holds at `place`: there and below it."""
    held = scope.rstrip("/").casefold()
    asked = place.rstrip("/").casefold()
    return asked == held or asked.startswith(held + "/")


def permits(granted: Iterable[tuple[str, str]], action: str, place: str) -> bool:
    """Say whether any of the granted (role name, scope) pairs allows an action at a place."""
    return any(covers(scope, place) and allows(find_role(name), action) for name, scope in granted)


def _matches(patterns: tuple[str, ...], action: str) -> bool:
    return any(_matches_one(pattern.casefold(), action.casefold()) for pattern in patterns)


@cache
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("*"))


def _matches_one(pattern: str, action: str) -> bool:
    first, *rest = _pieces(pattern)
    if not rest:
        return action == pattern
    if not action.startswith(first):
        return False
    at = len(first)
    for piece in rest[:-1]:
        found = action.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(action) - at >= len(rest[-1]) and action.endswith(rest[-1])
