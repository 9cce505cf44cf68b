"""ARM's `Microsoft.Authorization` over TLS, and the agent's client of it."""

import uuid

import httpx
import pytest

from unit.identity.people import token_of
from unit.identity.serving import Served
from wain.base.errors import Refused
from wain.identity.roles import find_role
from wain.wire.authorization import DATA_BOX_READER, OWNER, Authorization
from wain.wire.calls import Calls, Declined

ARM = "https://management.azure.com"


@pytest.fixture
def owner(served: Served) -> tuple[str, str, str]:
    """Somebody who is Owner of a subscription of this test's own: name, object id, subscription."""
    name, subscription = f"{uuid.uuid4().hex}@example.org", str(uuid.uuid4())
    user = served.identity.users.add(name, "", "a sentence that is long enough")
    served.identity.assignments.grant(user.object_id, "Owner", f"/subscriptions/{subscription}")
    return name, user.object_id, subscription


def arm_of(served: Served, name: str) -> httpx.Client:
    client = served.client()
    client.headers["Authorization"] = f"Bearer {token_of(served, name, ARM)}"
    return client


def authorization(served: Served, name: str, subscription: str) -> Authorization:
    return Authorization(Calls(served.url, lambda: token_of(served, name, ARM), str(served.ca)), subscription)


def test_ids_are_those_of_the_table() -> None:
    assert (find_role("Owner").id, find_role("Data Box Reader").id) == (OWNER, DATA_BOX_READER)


def test_s25_an_owner_is_told_from_others(served: Served, owner: tuple[str, str, str]) -> None:
    name, object_id, subscription = owner
    authorization(served, name, subscription).check_owner(object_id, name)
    with pytest.raises(Refused, match="not Owner of subscription"):
        authorization(served, name, str(uuid.uuid4())).check_owner(object_id, name)
    other = f"{uuid.uuid4().hex}@example.org"
    user = served.identity.users.add(other, "", "a sentence that is long enough")
    for role, scope in (("Contributor", f"/subscriptions/{subscription}"), ("Owner", "/subscriptions/other")):
        served.identity.assignments.grant(user.object_id, role, scope)
        with pytest.raises(Refused, match="not Owner"):
            authorization(served, other, subscription).check_owner(user.object_id, other)
    served.identity.assignments.grant(user.object_id, "Owner", f"/subscriptions/{subscription}/resourceGroups/g")
    with pytest.raises(Refused, match="not Owner"):
        authorization(served, other, subscription).check_owner(user.object_id, other)
    served.identity.assignments.grant(user.object_id, "Owner", "/")
    authorization(served, other, subscription).check_owner(user.object_id, other)


def test_s64_an_owner_grants_what_the_application_needs(served: Served, owner: tuple[str, str, str]) -> None:
    name, _, subscription = owner
    made = served.identity.applications.create("o", {"displayName": "agent"})
    principal = served.identity.applications.add_principal(made.app_id).object_id
    for _ in range(2):
        authorization(served, name, subscription).grant(principal, DATA_BOX_READER)
    (granted,) = served.identity.assignments.of(principal)
    assert (granted.role, granted.scope) == ("Data Box Reader", f"/subscriptions/{subscription}")


def test_who_is_not_owner_grants_and_sees_nothing(served: Served, owner: tuple[str, str, str]) -> None:
    _, object_id, subscription = owner
    other = f"{uuid.uuid4().hex}@example.org"
    user = served.identity.users.add(other, "", "a sentence that is long enough")
    served.identity.assignments.grant(user.object_id, "Contributor", f"/subscriptions/{subscription}")
    with pytest.raises(Declined, match="does not have authorization"):
        authorization(served, other, subscription).grant(user.object_id, OWNER)
    client = arm_of(served, other)
    path = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleAssignments"
    assert client.get(path).status_code == 200  # A Contributor may read.
    elsewhere = "/subscriptions/elsewhere/providers/Microsoft.Authorization/roleAssignments"
    assert client.get(elsewhere).status_code == 403
    (mine,) = [each.id for each in served.identity.assignments.of(object_id)]
    assert client.delete(f"{path}/{mine}").status_code == 403
    assert served.identity.assignments.of(object_id)


def test_an_owner_takes_a_role_away(served: Served, owner: tuple[str, str, str]) -> None:
    name, _, subscription = owner
    other = served.identity.users.add(f"{uuid.uuid4().hex}@example.org", "", "a sentence that is long enough")
    granted = served.identity.assignments.grant(other.object_id, "Contributor", f"/subscriptions/{subscription}")
    root = served.identity.assignments.grant(other.object_id, "Contributor", "/")
    client = arm_of(served, name)
    path = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleAssignments"
    assert client.delete(f"{path}/{granted.id}").status_code == 200
    assert client.delete(f"{path}/{granted.id}").status_code == 204
    assert client.delete(f"{path}/{root.id}").status_code == 204  # It is not at this scope.
    assert served.identity.assignments.of(other.object_id) == [root]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/subscriptions/{s}/providers/Microsoft.Authorization/roleAssignments/{n}", {}, 400),
        ("/subscriptions/{s}/providers/Microsoft.Authorization/roleAssignments/{n}", {"properties": []}, 400),
        (
            "/subscriptions/{s}/providers/Microsoft.Authorization/roleAssignments/{n}",
            {"properties": {"roleDefinitionId": "x", "principalId": "y"}},
            400,
        ),
        ("/subscriptions/{s}/providers/Microsoft.Authorization/roleAssignments/not+a+guid", {"properties": {}}, 400),
        ("/providers/Microsoft.Authorization/roleAssignments/{n}", {"properties": {}}, 403),
        ("/elsewhere/providers/Microsoft.Authorization/roleAssignments/{n}", {"properties": {}}, 400),
    ],
)
def test_a_bad_assignment_changes_nothing(
    served: Served, owner: tuple[str, str, str], path: str, body: object, status: int
) -> None:
    name, _, subscription = owner
    before = served.identity.assignments.all()
    answer = arm_of(served, name).put(path.format(s=subscription, n=uuid.uuid4()), json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert served.identity.assignments.all() == before


def test_role_definitions_are_listed_by_name(served: Served, owner: tuple[str, str, str]) -> None:
    name, _, subscription = owner
    path = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions"
    (found,) = arm_of(served, name).get(path, params={"$filter": "roleName eq 'Owner'"}).json()["value"]
    assert found["name"] == OWNER
    assert len(arm_of(served, name).get(path).json()["value"]) == 6
