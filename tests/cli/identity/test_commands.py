"""`wain identity` as a process: people, roles, set-up with a subscription, rotation, revocation."""

import os
import stat
import uuid
from pathlib import Path

import pytest

from cli.conftest import Wain
from unit.identity.running import home_of, run, signed_in
from unit.identity.serving import Served, now
from wain.cli.directory import add_user
from wain.identity.service import NOWHERE, Identity

PASSWORD = "a sentence that is long enough"


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return str(path)


@pytest.fixture
def user(served: Served) -> str:
    name = f"{uuid.uuid4().hex}@example.org"
    served.identity.users.add(name, "", PASSWORD)
    return name


def test_people_and_roles(wain: Wain, tmp_path: Path, password: str) -> None:
    home = tmp_path / "home"
    (added,) = wain("identity", "user", "add", "Ada@example.org", "--password-file", password, "--json").json()
    assert added["name"] == "ada@example.org"
    wain("identity", "role", "grant", "ada@example.org", "owner", "--scope", "/subscriptions/S")
    (held,) = wain("identity", "role", "list", "--json").json()
    assert (held["name"], held["role"], held["scope"]) == ("ada@example.org", "Owner", "/subscriptions/S")
    assert "Owner" in wain("identity", "role", "list").out
    wain("identity", "role", "revoke", "ada@example.org", "Owner", "--scope", "/subscriptions/s/")
    assert wain("identity", "role", "list", "--json").json() == []
    assert "is not Owner" in wain("identity", "role", "revoke", "ada@example.org", "Owner", "--scope", "/", code=1).err
    wain("identity", "user", "disable", "ada@example.org")
    assert wain("identity", "user", "list", "--json").json()[0]["enabled"] is False
    wain("identity", "user", "enable", "ada@example.org")
    with Identity.open(home / "identity", NOWHERE, now) as identity:
        assert identity.users.signed_in("ada@example.org", PASSWORD)
    other = tmp_path / "other"
    other.write_text("another sentence, long enough")
    wain("identity", "user", "password", "ada@example.org", "--password-file", str(other))
    with Identity.open(home / "identity", NOWHERE, now) as identity:
        assert not identity.users.signed_in("ada@example.org", PASSWORD)


def test_a_password_comes_from_a_terminal_or_a_file_only(tmp_path: Path) -> None:
    refused = run(tmp_path, "identity", "user", "add", "ada@example.org", code=1)
    assert "the password is missing" in refused.err
    assert "--password-file" in refused.err
    assert not [name for name in add_user.__annotations__ if name == "password"]
    short = tmp_path / "short"
    short.write_text("short\n")
    assert (
        "at least 12 characters"
        in run(tmp_path, "identity", "user", "add", "ada@example.org", "--password-file", str(short), code=1).err
    )


def test_signing_keys_are_rotated_by_hand(wain: Wain, tmp_path: Path) -> None:
    wain("identity", "key", "rotate")
    wain("identity", "key", "rotate")
    newest, oldest = wain("identity", "key", "list", "--json").json()
    assert newest["retiredAt"] is None
    assert oldest["retiredAt"]
    for name in os.listdir(tmp_path / "home" / "identity" / "signing"):
        assert stat.S_IMODE((tmp_path / "home" / "identity" / "signing" / name).stat().st_mode) == 0o600


def test_s25_s64_setup_asks_for_an_owner_and_grants_the_application_its_role(
    served: Served, user: str, tmp_path: Path
) -> None:
    subscription = str(uuid.uuid4())
    refused = signed_in(served, tmp_path, user, "identity", "setup", "--subscription", subscription, code=1)
    assert f"{user} is not Owner of subscription {subscription}" in refused.err
    assert not home_of(tmp_path).certificates.all()
    owner = served.identity.users.find(user).object_id
    assert served.identity.applications.listed(("displayName", f"AzureOfflineBackup_{owner}"), 0, 9) == []
    served.identity.assignments.grant(owner, "Owner", f"/subscriptions/{subscription}")
    done = signed_in(served, tmp_path, user, "identity", "setup", "--subscription", subscription, "--json").json()
    principal = served.identity.applications.principal(done["applicationId"])
    assert principal is not None
    assert [(each.role, each.scope) for each in served.identity.assignments.of(principal.object_id)] == [
        ("Data Box Reader", f"/subscriptions/{subscription}")
    ]


def test_a_certificate_is_shown_rotated_and_revoked_without_a_person(served: Served, user: str, tmp_path: Path) -> None:
    done = signed_in(served, tmp_path, user, "identity", "setup", "--json").json()
    shown = run(tmp_path, "identity", "show", "--json").json()
    assert (shown["user"], shown["thumbprint"]) == (done["user"], done["thumbprint"])
    assert shown["tenant"] == served.identity.site.tenant
    assert "is good until" in run(tmp_path, "identity", "certificate", "rotate", "--if-due").out
    run(tmp_path, "identity", "certificate", "rotate")
    after = run(tmp_path, "identity", "show", "--json").json()
    assert after["thumbprint"] != done["thumbprint"]
    thumbprints = run(tmp_path, "identity", "thumbprint", "show", "--json").json()
    assert thumbprints == {f"AzureADAppCertThumbprint_{done['user']}": after["thumbprint"]}
    run(tmp_path, "identity", "certificate", "revoke")
    assert run(tmp_path, "identity", "certificate", "list", "--json").json() == []
    assert "no such certificate" in run(tmp_path, "identity", "certificate", "rotate", code=1).err
    application = served.identity.applications.by_app_id(done["applicationId"])
    assert application is not None
    assert application.keys == ()


def test_doctor_looks_at_the_certificate(served: Served, user: str, tmp_path: Path) -> None:
    signed_in(served, tmp_path, user, "identity", "setup")

    def finding() -> dict[str, str]:
        rows = run(tmp_path, "doctor", "--json", code=None).json()
        return dict(next(row for row in rows if row["what"] == "sign-in"))

    assert finding()["level"] == "ok"
    (path,) = (tmp_path / "agent" / "certificates").iterdir()
    path.chmod(0o644)
    assert (finding()["level"], finding()["cure"]) == ("bad", f"chmod 600 {path}")
    path.unlink()
    assert "is not on this server" in finding()["seen"]


def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = run(tmp_path, "identity", "setup", "--authority", "https://localhost:9", code=1)
    assert "localhost:9" in ended.err
    assert "Traceback" not in ended.err
    ended = run(tmp_path, "identity", "setup", "--authority", "http://localhost:9", code=1)
    assert "https" in ended.err
    assert "Traceback" not in ended.err


def test_s92_a_refused_set_up_says_so_and_stands_in_the_log(served: Served, user: str, tmp_path: Path) -> None:
    name = f"AzureOfflineBackup_{served.identity.users.find(user).object_id}"
    stranger = served.identity.users.add(f"{uuid.uuid4().hex}@example.org", "", PASSWORD)
    served.identity.applications.create(stranger.object_id, {"displayName": name})
    refused = signed_in(served, tmp_path, user, "identity", "setup", code=1)
    assert "the offline backup policy for the current Azure account could not be created" in refused.err
    log = (tmp_path / "agent" / "temp" / "CBUICurr.errlog").read_text()
    assert "Unable to create an Azure AD application credential in customer's account. Exception: " in log
    assert "Insufficient privileges" in log
