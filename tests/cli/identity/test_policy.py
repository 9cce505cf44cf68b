"""An offline policy asks for a sign-in first, and gives the server its certificate."""

import uuid
from pathlib import Path

import pytest

from unit.identity.running import home_of, run, signed_in
from unit.identity.serving import Served

ORDER = "branch-office"


@pytest.fixture
def user(served: Served) -> str:
    name = f"{uuid.uuid4().hex}@example.org"
    served.identity.users.add(name, "", "a sentence that is long enough")
    return name


@pytest.mark.usefixtures("delivered")
def test_s63_s64_s86_s87_an_offline_policy_creates_application_and_certificate(
    served: Served, user: str, tmp_path: Path, source: Path
) -> None:
    home, subscription = tmp_path / "home", str(uuid.uuid4())
    asked = ["policy", "set", "--include", str(source), "--initial", "offline", "--order", ORDER]
    asked += ["--device", str(tmp_path / "device"), "--subscription", subscription, "--json"]
    refused = signed_in(served, home, user, *asked, code=1)
    assert "is not Owner" in refused.err
    assert "there is no policy yet" in run(home, "policy", "show", code=1).err
    object_id = served.identity.users.find(user).object_id
    served.identity.assignments.grant(object_id, "Owner", f"/subscriptions/{subscription}")
    assert signed_in(served, home, user, *asked).json()["initial"] == "offline"
    (certificate,) = home_of(home).certificates.all()
    (application,) = served.identity.applications.listed(("displayName", f"AzureOfflineBackup_{object_id}"), 0, 9)
    assert [key.certificate for key in application.keys] == [certificate.der]
    principal = served.identity.applications.principal(application.app_id)
    assert principal is not None
    assert served.identity.assignments.may(
        principal.object_id, "Microsoft.DataBox/jobs/read", f"/subscriptions/{subscription}"
    )


@pytest.mark.usefixtures("delivered")
def test_d10_a_retried_policy_reuses_its_certificate(served: Served, user: str, tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    asked = ["policy", "set", "--include", str(source), "--initial", "offline", "--order", ORDER]
    asked += ["--device", str(tmp_path / "device")]
    for _ in range(2):
        signed_in(served, home, user, *asked)
    (certificate,) = home_of(home).certificates.all()
    object_id = served.identity.users.find(user).object_id
    (application,) = served.identity.applications.listed(("displayName", f"AzureOfflineBackup_{object_id}"), 0, 9)
    assert [key.certificate for key in application.keys] == [certificate.der]


@pytest.mark.usefixtures("delivered")
def test_an_online_policy_asks_nobody(served: Served, tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    run(home, "policy", "set", "--include", str(source), "--authority", served.url, "--ca-file", str(served.ca))
    assert not (home / "agent" / "identity.json").exists()


@pytest.mark.usefixtures("delivered")
def test_s28_s29_s31_doctor_checks_the_tools_that_sign_in(
    served: Served, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    signed_in(served, home, user, "identity", "setup")
    found = {row["what"]: row for row in run(home, "doctor", "--json", code=None).json()}
    assert found["tooling"]["level"] == "ok"
    assert "azure-identity 1." in found["tooling"]["seen"]
    older = tmp_path / "older" / "azure_identity-1.4.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: azure-identity\nVersion: 1.4.0\n")
    monkeypatch.setenv("PYTHONPATH", str(older.parent))
    found = {row["what"]: row for row in run(home, "doctor", "--json", code=None).json()}
    assert found["tooling"]["level"] == "bad"
    assert "azure-identity 1.4.0" in found["tooling"]["seen"]
    assert "lock file" in found["tooling"]["cure"]
