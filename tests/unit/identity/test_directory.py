"""The directory on disk: what persists, signing keys and their rotation, damage, and the two Protocols of `wire`."""

import base64
import os
import sqlite3
import stat
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from unit.identity.certs import make
from unit.identity.ground import URL, Ground
from unit.identity.people import ADA, BOB, PASSWORD
from wain.base.errors import Corrupt, Missing, Refused, UnknownVersion
from wain.identity import passwords
from wain.identity.callers import DirectoryCallers, DirectoryRoles
from wain.identity.refusals import GraphRefused
from wain.identity.service import Identity
from wain.identity.tables import APPLICATIONS
from wain.identity.tokens import TokenInvalid
from wain.wire.callers import Callers, Roles, Unauthenticated

ARM = ("https://management.azure.com",)


def token(identity: Identity, name: str = ADA, audience: str = ARM[0]) -> str:
    user = identity.users.find(name)
    return identity.tokens.for_user(user, identity.users.epoch(user.object_id) or 0, "client", audience)


def test_everything_outlives_the_process(ground: Ground) -> None:
    user = ground.identity.users.add(ADA, "Ada", PASSWORD)
    keys = [{"key": base64.b64encode(make("one", 1).der).decode()}]
    made = ground.identity.applications.create(user.object_id, {"displayName": "a", "keyCredentials": keys})
    principal = ground.identity.applications.add_principal(made.app_id)
    granted = ground.identity.assignments.grant(principal.object_id, "Data Box Reader", "/subscriptions/S")
    held = token(ground.identity)
    tenant = ground.identity.site.tenant
    ground.identity.close()
    with Identity.open(ground.root, URL, ground.clock) as again:
        assert again.site.tenant == tenant
        assert again.users.find(user.object_id) == user
        assert again.applications.get(made.object_id) == made
        assert again.assignments.of(principal.object_id) == [granted]
        assert again.tokens.read(held, ARM)["oid"] == user.object_id
        assert again.users.signed_in(ADA, PASSWORD) == user


def test_no_secret_lies_in_the_open(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)
    ground.identity.signing.current()
    sign_in = ground.identity.refresh_tokens.begin("u", 1, "c")
    refresh = ground.identity.refresh_tokens.issue(sign_in)
    device, _ = ground.identity.device_codes.begin("c", "s", "a")
    assert stat.S_IMODE(ground.root.stat().st_mode) == 0o700
    for path in ground.root.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
        if path.is_file():
            body = path.read_bytes()
            assert not any(secret.encode() in body for secret in (PASSWORD, refresh, device)), path


def test_a_password_is_argon2id(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)
    with ground.identity.catalog.reading() as rows:
        kept = rows.value("SELECT password FROM users")
    assert str(kept).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize("password", ["short", "", "a" * 2000])
def test_a_password_that_may_not_be_one(ground: Ground, password: str) -> None:
    with pytest.raises(Refused, match="a password has at"):
        ground.identity.users.add(ADA, "Ada", password)
    assert not passwords.verify_password(password * 2, "$argon2id$v=19$m=65536,t=3,p=4$AAAA$AAAA")


@pytest.mark.parametrize("name", ["ada", "a b@example.org", "@example.org", "a@", "a" * 70 + "@example.org", "a\n@b.c"])
def test_a_name_that_is_none(ground: Ground, name: str) -> None:
    with pytest.raises(Refused, match="not a user name"):
        ground.identity.users.add(name, "", PASSWORD)


def test_a_name_is_taken_once_in_any_case(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)
    with pytest.raises(Refused, match="already"):
        ground.identity.users.add(ADA.upper(), "Ada", PASSWORD)


def test_a_rotated_key_verifies_until_its_last_token_has_expired(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)
    old = ground.identity.signing.current()[0]
    held = token(ground.identity)
    new, _ = ground.identity.signing.rotate()
    assert ground.identity.signing.current()[0] == new != old
    assert ground.identity.tokens.read(held, ARM)
    published = {key["kid"] for key in ground.browser.get("/common/discovery/v2.0/keys").json()["keys"]}
    assert published == {old, new}
    ground.clock.pass_(hours=2, seconds=1)
    published = {key["kid"] for key in ground.browser.get("/common/discovery/v2.0/keys").json()["keys"]}
    assert published == {new}
    ground.identity.signing.rotate()
    assert f"{old}.pem" not in ground.files()
    with pytest.raises(TokenInvalid):
        ground.identity.tokens.read(held, ARM)


def test_a_key_that_others_may_have_ends_at_once_in_every_process(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)
    held = token(ground.identity)
    old = ground.identity.signing.current()[0]
    with Identity.open(ground.root, URL, ground.clock) as other:
        assert other.tokens.read(held, ARM)
        new, _ = ground.identity.signing.rotate(at_once=True)
        assert ground.files() == [f"{new}.pem"]
        for each in (other, ground.identity):
            with pytest.raises(TokenInvalid, match="not known"):
                each.tokens.read(held, ARM)
            assert each.signing.current()[0] == new != old


def test_published_keys_are_public(ground: Ground) -> None:
    (key,) = ground.browser.get("/common/discovery/v2.0/keys").json()["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}


def test_a_key_is_replaced_after_ninety_days(ground: Ground) -> None:
    first = ground.identity.signing.current()[0]
    ground.clock.pass_(days=89)
    assert ground.identity.signing.current()[0] == first
    ground.clock.pass_(days=1)
    assert ground.identity.signing.current()[0] != first


def test_processes_that_begin_together_make_one_key(ground: Ground) -> None:
    others = [Identity.open(ground.root, URL, ground.clock) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        kids = set(pool.map(lambda each: each.signing.current()[0], others))
    for each in others:
        each.close()
    assert len(kids) == 1
    assert ground.files() == [f"{kids.pop()}.pem"]


def test_one_process_verifies_what_another_signed_after_a_rotation(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)
    with Identity.open(ground.root, URL, ground.clock) as other:
        token(other)
        ground.identity.signing.rotate()
        assert other.tokens.read(token(ground.identity), ARM)
        assert ground.identity.tokens.read(token(other), ARM)


def test_a_missing_or_damaged_signing_key_is_named(ground: Ground) -> None:
    kid = ground.identity.signing.current()[0]
    path = ground.root / "signing" / f"{kid}.pem"
    body = path.read_bytes()
    for damage, error in ((None, Missing), (b"nothing", Corrupt), (make("x", 5).key_pem, Corrupt)):
        path.unlink(missing_ok=True)
        if damage is not None:
            path.write_bytes(damage)
        with Identity.open(ground.root, URL, ground.clock) as again, pytest.raises(error, match=str(kid)):
            again.signing.current()
    path.write_bytes(body)
    with Identity.open(ground.root, URL, ground.clock) as again:
        assert again.signing.current()[0] == kid


def test_a_catalog_of_another_version_is_refused(ground: Ground) -> None:
    ground.identity.close()
    with sqlite3.connect(ground.root / "catalog.sqlite") as rows:
        rows.execute("PRAGMA user_version=99")
    with pytest.raises(UnknownVersion):
        Identity.open(ground.root, URL, ground.clock)


def test_a_flipped_column_is_damage_and_not_an_answer(ground: Ground) -> None:
    user = ground.identity.users.add(ADA, "Ada", PASSWORD)
    ground.identity.applications.create(user.object_id, {"displayName": "a"})
    with ground.identity.catalog.writing() as rows:
        rows.execute("UPDATE applications SET version = x'00'")
    with pytest.raises(Corrupt):
        ground.identity.applications.listed(None, 0, 10)


def test_two_applications_are_never_made_at_one_moment(ground: Ground) -> None:
    made = [ground.identity.applications.create("u", {"displayName": "same"}) for _ in range(5)]
    assert len({each.created_at for each in made}) == 5
    assert ground.identity.applications.listed(("displayName", "same"), 0, 10) == made


def test_callers_and_roles_speak_the_protocols(ground: Ground) -> None:
    user = ground.identity.users.add(ADA, "Ada", PASSWORD)
    callers: Callers = DirectoryCallers(ground.identity)
    roles: Roles = DirectoryRoles(ground.identity)
    caller = callers.caller(token(ground.identity))
    assert (caller.object_id, caller.tenant_id, caller.name, caller.is_application) == (
        user.object_id,
        ground.identity.site.tenant,
        ADA,
        False,
    )
    place, action = "/subscriptions/S/resourceGroups/G", "Microsoft.DataBox/jobs/read"
    assert not roles.may(caller, action, place)
    granted = ground.identity.assignments.grant(user.object_id, "Data Box Reader", "/subscriptions/S")
    assert roles.may(caller, action, place)
    assert not roles.may(caller, "Microsoft.DataBox/jobs/write", place)
    ground.identity.assignments.revoke(granted.id)
    assert not roles.may(caller, action, place)
    for bad in ("", "x", token(ground.identity, audience="https://graph.microsoft.com")):
        with pytest.raises(Unauthenticated):
            callers.caller(bad)
    own = callers.caller(token(ground.identity, audience=URL))
    assert own == caller


def test_an_application_is_a_caller_as_long_as_its_key_is_there(ground: Ground) -> None:
    keys = [{"key": base64.b64encode(make("one", 1).der).decode()}]
    made = ground.identity.applications.create("owner", {"displayName": "agent", "keyCredentials": keys})
    principal = ground.identity.applications.add_principal(made.app_id)
    held = ground.identity.tokens.for_application(made, principal, made.keys[0], ARM[0])
    callers = DirectoryCallers(ground.identity)
    caller = callers.caller(held)
    assert (caller.object_id, caller.name, caller.is_application) == (principal.object_id, "agent", True)
    ground.identity.applications.update(made.object_id, {"keyCredentials": []}, "")
    with pytest.raises(Unauthenticated, match="was removed"):
        callers.caller(held)


def test_deleting_an_application_takes_its_roles(ground: Ground) -> None:
    made = ground.identity.applications.create("owner", {"displayName": "agent"})
    principal = ground.identity.applications.add_principal(made.app_id)
    ground.identity.assignments.grant(principal.object_id, "Owner", "/subscriptions/S")
    ground.identity.applications.delete(made.object_id)
    assert ground.identity.assignments.all() == []
    assert ground.identity.applications.principal(made.app_id) is None


def test_a_role_goes_to_somebody_who_exists(ground: Ground) -> None:
    with pytest.raises(Refused, match="no user or service principal"):
        ground.identity.assignments.grant(str(uuid.uuid4()), "Owner", "/")


def test_a_role_is_granted_once(ground: Ground) -> None:
    user = ground.identity.users.add(BOB, "Bob", PASSWORD)
    first = ground.identity.assignments.grant(user.object_id, "Owner", "/subscriptions/S")
    assert ground.identity.assignments.grant(user.object_id, "owner", "/subscriptions/s/") == first
    assert ground.identity.assignments.all() == [first]
    with pytest.raises(Refused, match="of that id exists"):
        ground.identity.assignments.grant(user.object_id, "Contributor", "/", first.id)


def test_leftovers_of_a_crash_go_with_the_next_rotation(ground: Ground) -> None:
    (ground.root / "signing" / "never-named.pem").write_bytes(b"left")
    kid, _ = ground.identity.signing.rotate()
    assert os.listdir(ground.root / "signing") == [f"{kid}.pem"]


def test_a_user_owns_a_limited_number_of_applications(ground: Ground) -> None:
    with ground.identity.catalog.writing() as rows:
        for number in range(249):
            row = APPLICATIONS.filled(
                id=str(number), app_id=str(number), display_name="a", owner="one", created_ns=number, version=1
            )
            rows.change(APPLICATIONS.insertion(), **row)
    ground.identity.applications.create("one", {"displayName": "a"})
    with pytest.raises(GraphRefused, match="at most 250"):
        ground.identity.applications.create("one", {"displayName": "a"})
    assert ground.identity.applications.create("two", {"displayName": "a"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.0/applications"),
        ("GET", "/subscriptions/s/providers/Microsoft.Authorization/roleAssignments"),
        ("GET", "/common/discovery/v2.0/keys"),
    ],
)
def test_a_damaged_directory_answers_in_each_services_own_form(
    ground: Ground, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    user = ground.identity.users.add(ADA, "Ada", PASSWORD)
    ground.identity.assignments.grant(user.object_id, "Owner", "/")
    ground.identity.applications.create(user.object_id, {"displayName": "a"})
    graph = path.startswith("/v1.0")
    headers = {
        "Authorization": f"Bearer {token(ground.identity, ADA, 'https://graph.microsoft.com' if graph else ARM[0])}"
    }
    with ground.identity.catalog.writing() as rows:
        rows.execute("UPDATE applications SET version = x'00'")
        rows.execute("UPDATE role_assignments SET role = x'00'")
    for name in ground.files():
        (ground.root / "signing" / name).write_bytes(b"damage") if "keys" in path else None
    if "keys" in path:
        ground.identity.signing._loaded.clear()
    answer = ground.browser.request(method, path, headers=headers)
    assert answer.status_code == 500
    assert answer.json()["error"]
    assert "damage" not in answer.text
    assert "Corrupt" in caplog.text
