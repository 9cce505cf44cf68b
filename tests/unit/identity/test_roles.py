"""The table of roles: what each allows, and where."""

import pytest

from wain.base.errors import Refused
from wain.identity.roles import ROLES, check_scope, covers, find_role, permits

READ = "Microsoft.DataBox/jobs/read"
WRITE = "Microsoft.DataBox/jobs/write"
CREDENTIALS = "Microsoft.DataBox/jobs/listCredentials/action"
CANCEL = "Microsoft.DataBox/jobs/cancel/action"
SKUS = "Microsoft.DataBox/locations/availableSkus/action"
GRANT = "Microsoft.Authorization/roleAssignments/write"
LOOK = "Microsoft.Authorization/roleAssignments/read"
VAULT_READ = "Microsoft.RecoveryServices/vaults/read"
VAULT_BACKUP = "Microsoft.RecoveryServices/vaults/backup/action"
VAULT_DELETE = "Microsoft.RecoveryServices/vaults/delete"
ALL = (READ, WRITE, CREDENTIALS, CANCEL, SKUS, GRANT, LOOK, VAULT_READ, VAULT_BACKUP, VAULT_DELETE)

ALLOWED = {
    "Owner": set(ALL),
    "Contributor": set(ALL) - {GRANT},
    "Data Box Reader": {READ, SKUS, LOOK},
    "Data Box Contributor": {READ, WRITE, CREDENTIALS, CANCEL, SKUS, LOOK},
    "Data Box Operator": {READ, CREDENTIALS, SKUS, LOOK},
    "Backup Operator": {VAULT_READ, VAULT_BACKUP, LOOK},
}


def test_every_role_is_looked_at() -> None:
    assert set(ALLOWED) == {role.name for role in ROLES}
    assert len({role.id for role in ROLES}) == len(ROLES)


@pytest.mark.parametrize("action", ALL)
@pytest.mark.parametrize("role", ALLOWED)
def test_what_a_role_allows(role: str, action: str) -> None:
    granted = [(role, "/subscriptions/S")]
    assert permits(granted, action, "/subscriptions/S/resourceGroups/G") == (action in ALLOWED[role])
    assert permits(granted, action.upper(), "/SUBSCRIPTIONS/s") == (action in ALLOWED[role])
    assert not permits(granted, action, "/subscriptions/T")
    assert not permits(granted, action, "/")


@pytest.mark.parametrize(
    ("scope", "place", "holds"),
    [
        ("/", "/subscriptions/S", True),
        ("/subscriptions/S", "/subscriptions/S", True),
        ("/subscriptions/S", "/subscriptions/S/resourceGroups/G/x", True),
        ("/subscriptions/S", "/subscriptions/S2", False),
        ("/subscriptions/S/resourceGroups/G", "/subscriptions/S", False),
        ("/subscriptions/S/resourceGroups/G", "/subscriptions/S/resourceGroups/G2", False),
    ],
)
def test_a_scope_covers_what_is_below_it(scope: str, place: str, holds: bool) -> None:
    assert covers(scope, place) is holds


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "/subscriptions",
        "/subscriptions//x",
        "/elsewhere/x",
        "/subscriptions/../..",
        "/subscriptions/a\n",
        "/" * 9 + "a",
    ],
)
def test_what_is_no_scope(scope: str) -> None:
    if scope == "":
        assert check_scope(scope) == "/"
        return
    with pytest.raises(Refused, match="not a scope"):
        check_scope(scope)


def test_a_role_is_found_by_name_or_definition() -> None:
    owner = find_role("owner")
    assert find_role(f"/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/{owner.id}") is owner
    with pytest.raises(Refused, match="no role"):
        find_role("King")
