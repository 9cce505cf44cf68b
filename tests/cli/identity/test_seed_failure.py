"""The failure of the seed's troubleshooting: made by a client like the old one, found, and cured three ways."""

import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from unit.identity.old_client import OldClient, PolicyNotCreated
from unit.identity.people import BOB, graph_of
from unit.identity.running import home_of, run, signed_in
from unit.identity.serving import Served, now
from wain.agent.offline_identity import OfflineIdentity

GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.fixture
def user(served: Served) -> str:
    """A user of this test's own."""
    name = f"{uuid4().hex}@example.org"
    served.identity.users.add(name, "", "a sentence that is long enough")
    return name


Old = Callable[[Path, str], OldClient]


@pytest.fixture
def old(served: Served) -> Old:
    def make(home: Path, name: str) -> OldClient:
        return OldClient(home_of(home), graph_of(served, name))

    return make


@pytest.fixture
def failed(old: Old, user: str, tmp_path: Path) -> Path:
    """The home of a second server of the same user, on which the old client has failed."""
    old(tmp_path / "first", user).configure()
    with pytest.raises(PolicyNotCreated, match=f"^Update to existing credential with KeyId {GUID} is not allowed$"):
        old(tmp_path / "second", user).configure()
    return tmp_path / "second"


def log_finding(home: Path, *options: str) -> dict[str, str]:
    found = run(home, "doctor", "--json", *options, code=None).json()
    return dict(next(each for each in found if each["what"] == "log"))


def test_s89_s90_s95_the_old_client_fails_on_a_second_server(failed: Path) -> None:
    last = (failed / "agent" / "temp" / "CBUICurr.errlog").read_text().splitlines()[-1]
    words = (
        "Unable to create an Azure AD application credential in customer's account. Exception: "
        f"Update to existing credential with KeyId {GUID} is not allowed"
    )
    assert re.search(words + "$", last)


def test_s91_s92_s93_s94_doctor_recognises_it_from_the_last_line(failed: Path) -> None:
    finding = log_finding(failed)
    assert finding["level"] == "bad"
    assert "CBUICurr" in finding["seen"]
    for cure in ("another account", "application delete", "certificate export", "thumbprint set"):
        assert cure in finding["cure"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_s93_doctor_reads_a_log_that_lies_elsewhere(tmp_path: Path, encoding: str) -> None:
    log = tmp_path / "CBUICurr.errlog"
    key = "f1c4e0a2-0000-4000-8000-00000000000a"
    log.write_text(
        "first line\r\n1234 Unable to create an Azure AD application credential in customer's account. Exception: "
        f"Update to existing credential with KeyId '{key}' is not allowed.\r\n",
        encoding=encoding,
    )
    finding = log_finding(tmp_path / "home", "--log", str(log))
    assert finding["level"] == "bad"
    assert key in finding["seen"]


def test_s94_only_the_last_line_counts(failed: Path) -> None:
    with open(failed / "agent" / "temp" / "CBUICurr.errlog", "a") as log:
        log.write("The offline backup policy was created.\n")
    assert log_finding(failed)["level"] == "ok"


def test_s96_step_1_another_account_cures_it(failed: Path, old: Old) -> None:
    old(failed, BOB).configure()
    assert log_finding(failed)["level"] == "ok"


def test_s97_s98_step_2_deleting_the_unshared_application_cures_it(
    served: Served, old: Old, user: str, tmp_path: Path
) -> None:
    # A second policy on the same server, as in the seed's "for the same or a different server".
    home = tmp_path / "only"
    old(home, user).configure()
    home_of(home).certificates.make(now())
    with pytest.raises(PolicyNotCreated):
        old(home, user).configure()
    assert log_finding(home)["level"] == "bad"
    deleted = signed_in(served, home, user, "identity", "application", "delete")
    assert "is deleted" in deleted.out
    old(home, user).configure()
    assert log_finding(home)["level"] == "ok"


def test_s99_step_2_is_refused_while_another_server_has_a_key_there(served: Served, failed: Path, user: str) -> None:
    shown = signed_in(served, failed, user, "identity", "application", "show", "--json").json()
    assert [key["server"] for key in shown["publicKeys"]] == ["other"]
    refused = signed_in(served, failed, user, "identity", "application", "delete", code=1)
    assert "public keys of other servers" in refused.err
    assert signed_in(served, failed, user, "identity", "application", "show", "--json").json() == shown


def test_s100_to_s110_step_3_export_upload_and_thumbprint_cure_it(
    served: Served, failed: Path, old: Old, user: str, tmp_path: Path
) -> None:
    (listed,) = run(failed, "identity", "certificate", "list", "--json").json()  # S100, S101
    assert listed["name"].startswith("CB_AzureADCertforOfflineSeeding_")
    cer = tmp_path / "exported.cer"
    run(failed, "identity", "certificate", "export", "--to", str(cer))  # S102
    assert b"PRIVATE" not in cer.read_bytes()  # D11
    uploaded = signed_in(served, failed, user, "identity", "certificate", "upload", str(cer), "--json").json()  # S103
    assert uploaded["publicKeys"] == "2"
    assert uploaded["thumbprint"] == listed["thumbprint"]
    who = signed_in(served, failed, user, "identity", "whoami", "--user", user, "--json").json()["user"]  # S107
    said = run(failed, "identity", "thumbprint", "set", listed["thumbprint"].lower(), "--user", who)  # S104 to S109
    assert f"AzureADAppCertThumbprint_{who} = {listed['thumbprint']}" in said.out
    assert old(failed, user).configure().thumbprint == listed["thumbprint"]
    assert log_finding(failed)["level"] == "ok"


def test_the_cause_is_cured_wain_itself_needs_no_workaround(
    served: Served, failed: Path, user: str, tmp_path: Path
) -> None:
    done = signed_in(served, failed, user, "identity", "setup", "--json").json()
    assert done["publicKeys"] == "2"
    assert log_finding(failed)["level"] == "ok"
    first = home_of(tmp_path / "first").certificates.all()[0].der
    application = served.identity.applications.by_app_id(done["applicationId"])
    assert application is not None
    assert application.keys[0].certificate == first


def test_a_private_key_is_not_uploaded(served: Served, failed: Path, user: str) -> None:
    path = next((failed / "agent" / "certificates").iterdir())
    refused = run(failed, "identity", "certificate", "upload", str(path), code=1)
    assert "holds a private key" in refused.err


def test_s106_a_thumbprint_of_no_certificate_here_is_refused(failed: Path) -> None:
    refused = run(failed, "identity", "thumbprint", "set", "AB" * 20, "--user", str(uuid4()), code=1)
    assert "no certificate with thumbprint" in refused.err
    assert isinstance(home_of(failed), OfflineIdentity)
