"""Graph's rules over TLS: who may change what, keys as a whole collection, ETags, proofs of possession."""

import base64
import time
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from unit.identity.certs import NOW, KeyPair, make
from unit.identity.forging import signed
from unit.identity.people import ADA, BOB, graph_of, registered
from unit.identity.serving import Served

PROOF_AUDIENCE = "00000002-0000-0000-c000-000000000000"


@pytest.fixture
def ada(served: Served) -> httpx.Client:
    return graph_of(served, ADA)


def entry(pair: KeyPair, **more: Any) -> dict[str, Any]:
    key = base64.b64encode(pair.der).decode()
    return {"type": "AsymmetricX509Cert", "usage": "Verify", "key": key, **more}


def created(client: httpx.Client, *pairs: KeyPair) -> dict[str, Any]:
    body = {"displayName": f"app {uuid.uuid4()}", "keyCredentials": [entry(pair) for pair in pairs]}
    answer = client.post("/applications", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def read(client: httpx.Client, object_id: str) -> tuple[list[dict[str, Any]], str]:
    answer = client.get(f"/applications/{object_id}", params={"$select": "keyCredentials"})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["keyCredentials"]), answer.headers["ETag"]


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_s107_me_and_others_by_name(served: Served, ada: httpx.Client) -> None:
    me = ada.get("/me").json()
    assert me["id"] == served.identity.users.find(ADA).object_id
    assert ada.get(f"/users/{BOB}").json()["id"] == served.identity.users.find(BOB).object_id
    assert error(ada.get("/users/nobody@example.org")) == (404, "Request_ResourceNotFound")


def test_s86_an_application_is_created_found_and_deleted(ada: httpx.Client) -> None:
    made = created(ada)
    found = ada.get("/applications", params={"$filter": f"displayName eq '{made['displayName']}'"}).json()["value"]
    assert [each["id"] for each in found] == [made["id"]]
    by_app = ada.get(f"/applications(appId='{made['appId']}')").json()
    assert by_app["id"] == made["id"]
    assert ada.delete(f"/applications/{made['id']}").status_code == 204
    assert error(ada.get(f"/applications/{made['id']}")) == (404, "Request_ResourceNotFound")


def test_quotes_in_a_name_are_doubled_in_a_filter(ada: httpx.Client) -> None:
    made = ada.post("/applications", json={"displayName": "Ada's own"}).json()
    found = ada.get("/applications", params={"$filter": "displayName eq 'Ada''s own'"}).json()["value"]
    assert [each["id"] for each in found] == [made["id"]]
    ada.delete(f"/applications/{made['id']}")


@pytest.mark.parametrize(
    "query",
    [
        {"$filter": "startswith(displayName,'a')"},
        {"$filter": "displayName eq 'a' or 1 eq 1"},
        {"$filter": "displayName eq 'a'' or displayName eq 'b"},
        {"$filter": "password eq 'a'"},
        {"$filter": "displayName eq '" + "a" * 2000 + "'"},
        {"$top": "0"},
        {"$top": "-1"},
        {"$skiptoken": "x"},
    ],
)
def test_a_query_that_is_not_supported_says_so(ada: httpx.Client, query: dict[str, str]) -> None:
    assert error(ada.get("/applications", params=query)) == (400, "Request_UnsupportedQuery")


def test_a_long_listing_has_pages(served: Served) -> None:
    name = f"{uuid.uuid4().hex}"
    owner = served.identity.users.find(ADA).object_id
    made = [served.identity.applications.create(owner, {"displayName": name}).object_id for _ in range(5)]
    client = graph_of(served, ADA)
    seen: list[str] = []
    query: dict[str, str] | None = {"$filter": f"displayName eq '{name}'", "$top": "2"}
    url = "/applications"
    while url:
        answer = client.get(url, params=query).json()
        seen += [each["id"] for each in answer["value"]]
        url, query = answer.get("@odata.nextLink", ""), None
    assert seen == made


def test_certificates_are_shown_only_when_selected(ada: httpx.Client) -> None:
    pair = make("shown", 1)
    made = created(ada, pair)
    assert [key["key"] for key in ada.get(f"/applications/{made['id']}").json()["keyCredentials"]] == [None]
    (key,), _ = read(ada, made["id"])
    assert key["key"] == base64.b64encode(pair.der).decode()


def test_s89_adding_a_key_sends_every_earlier_key_back_unchanged(ada: httpx.Client) -> None:
    made = created(ada, make("one", 1), make("two", 2))
    before, tag = read(ada, made["id"])
    body = {"keyCredentials": [*before, entry(make("three", 3))]}
    assert ada.patch(f"/applications/{made['id']}", json=body, headers={"If-Match": tag}).status_code == 204
    after, _ = read(ada, made["id"])
    assert after[:2] == before
    assert len(after) == 3


def test_a_null_key_of_an_earlier_entry_is_no_change(ada: httpx.Client) -> None:
    made = created(ada, make("one", 1))
    (before,), _ = read(ada, made["id"])
    body = {"keyCredentials": [{**before, "key": None}, entry(make("two", 2))]}
    assert ada.patch(f"/applications/{made['id']}", json=body).status_code == 204
    assert read(ada, made["id"])[0][0] == before


@pytest.mark.parametrize(
    "change",
    [
        {"customKeyIdentifier": None},
        {"customKeyIdentifier": "00"},
        {"displayName": "another"},
        {"startDateTime": "2020-01-01T00:00:00Z"},
        {"endDateTime": None},
        {"type": "X509CertAndPassword"},
        {"usage": "Sign"},
        {"key": base64.b64encode(make("other", 3).der).decode()},
    ],
)
def test_s95_a_changed_earlier_key_is_refused_in_the_seeds_words(ada: httpx.Client, change: dict[str, Any]) -> None:
    made = created(ada, make("one", 1))
    (before,), tag = read(ada, made["id"])
    body = {"keyCredentials": [{**before, **change}, entry(make("two", 2))]}
    answer = ada.patch(f"/applications/{made['id']}", json=body)
    assert error(answer) == (400, "Request_BadRequest")
    fault = answer.json()["error"]
    assert fault["message"] == f"Update to existing credential with KeyId {before['keyId']} is not allowed"
    assert fault["innerError"]["code"] == "KeyNotUpdatable"
    assert read(ada, made["id"]) == ([before], tag)


def test_a_stale_etag_changes_nothing(ada: httpx.Client) -> None:
    made = created(ada, make("one", 1))
    before, tag = read(ada, made["id"])
    path = f"/applications/{made['id']}"
    first = ada.patch(path, json={"keyCredentials": [*before, entry(make("two", 2))]}, headers={"If-Match": tag})
    assert first.status_code == 204
    now, _ = read(ada, made["id"])
    second = ada.patch(path, json={"keyCredentials": [*before, entry(make("three", 3))]}, headers={"If-Match": tag})
    assert error(second) == (412, "Request_ResourceModified")
    assert error(ada.delete(path, headers={"If-Match": tag})) == (412, "Request_ResourceModified")
    assert read(ada, made["id"])[0] == now


@pytest.mark.parametrize(
    "keys",
    [
        [entry(make("twice", 1)), entry(make("twice", 1))][:1] * 2,
        [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.b64encode(b"no certificate").decode()}],
        [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": "not base64!"}],
        [{"type": "AsymmetricX509Cert", "usage": "Verify"}],
        [{"type": "Symmetric", "usage": "Verify", "key": "AAAA"}],
        [entry(make("weak", bits=1024))],
        [entry(make("dates", 1), endDateTime=(NOW + timedelta(days=4000)).isoformat())],
        [entry(make("dates", 1), startDateTime="yesterday")],
        [entry(make("id", 1), keyId="not a guid")],
        [entry(make("more", 1), secret="x")],
        [entry(make("name", 1), displayName="a" * 300)],
        [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.b64encode(make("p", 1).both).decode()}],
        ["a text"],
        "a text",
        [{}] * 300,
    ],
)
def test_keys_that_break_a_rule_create_nothing(ada: httpx.Client, keys: Any) -> None:
    name = f"app {uuid.uuid4()}"
    assert error(ada.post("/applications", json={"displayName": name, "keyCredentials": keys}))[0] == 400
    assert ada.get("/applications", params={"$filter": f"displayName eq '{name}'"}).json()["value"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[" * 100000,
        b'{"displayName": 1}',
        b'{"displayName": ""}',
        b'{"displayName": "a\\u0000b"}',
        b'{"displayName": "a", "requiredResourceAccess": []}',
        b'{"displayName": "a", "signInAudience": "AzureADMultipleOrgs"}',
    ],
)
def test_a_body_that_makes_no_sense_is_refused(ada: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert error(ada.post("/applications", content=body, headers=headers)) == (400, "Request_BadRequest")


def test_only_the_owner_and_administrators_change_an_application(served: Served, ada: httpx.Client) -> None:
    made = created(ada, make("one", 1))
    bob = graph_of(served, BOB)
    path = f"/applications/{made['id']}"
    assert bob.get(path).status_code == 200
    for answer in (
        bob.patch(path, json={"keyCredentials": []}),
        bob.delete(path),
        bob.post("/servicePrincipals", json={"appId": made["appId"]}),
    ):
        assert error(answer) == (403, "Authorization_RequestDenied")
    user = served.identity.users.find(BOB).object_id
    subscription = served.identity.assignments.grant(user, "Owner", "/subscriptions/s")
    assert bob.patch(path, json={"displayName": "mine"}).status_code == 403
    root = served.identity.assignments.grant(user, "Owner", "/")
    assert bob.patch(path, json={"displayName": "mine"}).status_code == 204
    for granted in (subscription, root):
        served.identity.assignments.revoke(granted.id)
    assert bob.delete(path).status_code == 403


def test_a_service_principal_is_there_once(ada: httpx.Client) -> None:
    made = created(ada)
    first = ada.post("/servicePrincipals", json={"appId": made["appId"]})
    assert first.status_code == 201
    assert error(ada.post("/servicePrincipals", json={"appId": made["appId"]}))[0] == 409
    query = {"$filter": f"appId eq '{made['appId']}'"}
    (found,) = ada.get("/servicePrincipals", params=query).json()["value"]
    assert found["id"] == first.json()["id"]
    assert ada.delete(f"/servicePrincipals/{found['id']}").status_code == 204
    assert ada.get("/servicePrincipals", params=query).json()["value"] == []
    assert error(ada.post("/servicePrincipals", json={"appId": str(uuid.uuid4())}))[0] == 400


class Own:
    """An application that calls Graph for itself."""

    def __init__(self, served: Served, *pairs: KeyPair) -> None:
        self.object_id, self.app_id = registered(served, f"own {uuid.uuid4()}", *pairs)
        application = served.identity.applications.get(self.object_id)
        principal = served.identity.applications.principal(self.app_id)
        assert principal is not None
        self.client = served.client()
        token = served.identity.tokens.for_application(
            application, principal, application.keys[0], "https://graph.microsoft.com"
        )
        self.client.headers["Authorization"] = f"Bearer {token}"
        self.client.base_url = f"{served.url}/v1.0"

    def proof(self, pair: KeyPair, **changes: Any) -> str:
        now = int(time.time())
        body = {"aud": PROOF_AUDIENCE, "iss": self.object_id, "nbf": now, "exp": now + 600} | changes
        return signed(pair, body)


def test_an_application_renews_its_own_keys_by_proof(served: Served) -> None:
    old, new = make("old", 1), make("new", 2)
    own = Own(served, old)
    path = f"/applications/{own.object_id}"
    added = own.client.post(
        f"{path}/addKey", json={"keyCredential": entry(new), "passwordCredential": None, "proof": own.proof(old)}
    )
    assert added.status_code == 200, added.text
    assert added.json()["key"] is None
    (first, _), _ = read(own.client, own.object_id)
    gone = own.client.post(f"{path}/removeKey", json={"keyId": first["keyId"], "proof": own.proof(new)})
    assert gone.status_code == 204, gone.text
    assert [key.key_id for key in served.identity.applications.get(own.object_id).keys] == [added.json()["keyId"]]


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("a stranger's", 401),
        ("expired", 401),
        ("for another audience", 401),
        ("of another application", 401),
        ("used before", 401),
        ("missing", 400),
    ],
)
def test_a_proof_that_proves_nothing(served: Served, case: str, status: int) -> None:
    pair = make("own", 1)
    own = Own(served, pair)
    used = own.proof(pair)
    proofs = {
        "a stranger's": own.proof(make("stranger", 2)),
        "expired": own.proof(pair, exp=int(time.time()) - 600),
        "for another audience": own.proof(pair, aud="https://graph.microsoft.com"),
        "of another application": own.proof(pair, iss=str(uuid.uuid4())),
        "used before": used,
        "missing": None,
    }
    path = f"/applications/{own.object_id}/addKey"
    body = {"keyCredential": entry(make("new", 3)), "proof": used}
    if case == "used before":
        assert own.client.post(path, json=body).status_code == 200
    before = served.identity.applications.get(own.object_id)
    body = {"keyCredential": entry(make("newer", 4)), "proof": proofs[case]}
    assert own.client.post(path, json=body).status_code == status
    assert served.identity.applications.get(own.object_id) == before


def test_an_application_sees_and_changes_nothing_but_its_own_keys(served: Served, ada: httpx.Client) -> None:
    pair = make("own", 1)
    own, other = Own(served, pair), created(ada, make("other", 2))
    assert own.client.get(f"/applications/{own.object_id}").status_code == 200
    assert own.client.get(f"/applications/{other['id']}").status_code == 404
    assert [each["id"] for each in own.client.get("/applications").json()["value"]] == [own.object_id]
    for answer in (
        own.client.patch(f"/applications/{own.object_id}", json={"keyCredentials": []}),
        own.client.delete(f"/applications/{own.object_id}"),
        own.client.post("/applications", json={"displayName": "x"}),
        own.client.get(f"/users/{ADA}"),
    ):
        assert answer.status_code == 403
    assert own.client.get("/me").status_code == 400
    body = {"keyCredential": entry(make("new", 3)), "proof": own.proof(pair)}
    assert own.client.post(f"/applications/{other['id']}/addKey", json=body).status_code == 404
