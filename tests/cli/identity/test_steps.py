"""The steps of the seed's troubleshooting one by one, and what they rest on."""

import json
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from cli.test_terminal import Person
from unit.identity.certs import make
from unit.identity.people import ADA, PASSWORD
from unit.identity.running import home_of, run, signed_in
from unit.identity.servers import graph_as
from unit.identity.serving import Served, now
from wain.agent.certificates import OwnCertificate
from wain.identity.service import NOWHERE, Identity


@pytest.fixture
def user(served: Served) -> str:
    name = f"{uuid.uuid4().hex}@example.org"
    served.identity.users.add(name, "", PASSWORD)
    return name


@pytest.fixture
def certificate(tmp_path: Path) -> OwnCertificate:
    """A certificate that was made and is on no application: what a failed try leaves behind."""
    return home_of(tmp_path / "home").certificates.make(now())


def test_s30_s32_s33_s88_no_other_program_is_needed(
    served: Served, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificate, application and upload without PowerShell, openssl or anything else on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    done = signed_in(served, tmp_path / "home", user, "identity", "setup", "--json").json()
    assert done["certificate"].startswith("CB_AzureADCertforOfflineSeeding_")
    assert done["publicKeys"] == "1"


def test_s93_d12_log_and_temp_folder_follow_the_home(served: Served, user: str, tmp_path: Path) -> None:
    for home in ("one", "two"):
        signed_in(served, tmp_path / home, user, "identity", "setup")
        assert "CB_AzureADCert" in (tmp_path / home / "agent" / "temp" / "CBUICurr.errlog").read_text()


def test_s101_c6_certificates_are_found_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    directory = tmp_path / "home" / "agent" / "certificates"
    directory.mkdir(parents=True)
    names = ["CB_AzureADCertforOfflineSeeding_20261127", "CB_AzureADCertforOfflineSeeding_5fd1-resource-id"]
    for number, name in enumerate([*names, "another"]):
        (directory / f"{name}.pem").write_bytes(make(name, number).both)
    listed = run(tmp_path / "home", "identity", "certificate", "list", "--json").json()
    assert [each["name"] for each in listed] == names


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_s102_d11_s110_the_export_is_what_openssl_reads_without_a_private_key(
    certificate: OwnCertificate, tmp_path: Path
) -> None:
    cer = tmp_path / "exported.cer"
    said = run(tmp_path / "home", "identity", "certificate", "export", certificate.thumbprint, "--to", str(cer))
    command = ["openssl", "x509", "-inform", "DER", "-in", str(cer), "-noout", "-fingerprint", "-sha1", "-subject"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    thumbprint = seen.split("=", 1)[1].split()[0].replace(":", "")
    assert thumbprint in said.out
    assert certificate.name in seen
    key = subprocess.run(["openssl", "pkey", "-inform", "DER", "-in", str(cer)], capture_output=True, check=False)
    assert key.returncode != 0
    again = run(tmp_path / "home", "identity", "certificate", "export", "--to", str(cer), code=1)
    assert "never overwritten" in again.err


def test_s103_a_public_key_is_uploaded_beside_the_others(
    served: Served, user: str, certificate: OwnCertificate, tmp_path: Path
) -> None:
    first = home_of(tmp_path / "first").ensure(graph_as(served, user))
    cer = tmp_path / "exported.cer"
    run(tmp_path / "home", "identity", "certificate", "export", "--to", str(cer))
    signed_in(served, tmp_path / "admin", user, "identity", "certificate", "upload", str(cer))
    keys = served.identity.applications.get(first.application.object_id).keys
    assert [key.certificate for key in keys] == [first.certificate.der, certificate.der]
    assert not (tmp_path / "admin" / "agent" / "certificates").exists()


def test_s103_a_user_without_an_application_is_told(
    served: Served, user: str, certificate: OwnCertificate, tmp_path: Path
) -> None:
    cer = tmp_path / "exported.cer"
    cer.write_bytes(certificate.der)
    refused = signed_in(served, tmp_path / "home", user, "identity", "certificate", "upload", str(cer), code=1)
    assert "there is no application AzureOfflineBackup_" in refused.err


def test_s104_s105_s106_s109_the_thumbprint_is_a_named_value(certificate: OwnCertificate, tmp_path: Path) -> None:
    owner = str(uuid.uuid4())
    spaced = " ".join(certificate.thumbprint[at : at + 2].lower() for at in range(0, 40, 2))
    run(tmp_path / "home", "identity", "thumbprint", "set", f"\u200e{spaced}", "--user", owner)
    record = json.loads((tmp_path / "home" / "agent" / "identity.json").read_text())
    assert record[f"AzureADAppCertThumbprint_{owner}"] == certificate.thumbprint
    shown = run(tmp_path / "home", "identity", "thumbprint", "show", "--json").json()
    assert shown == {f"AzureADAppCertThumbprint_{owner}": certificate.thumbprint}


def test_s107_the_user_id_comes_from_the_directory(served: Served, user: str, tmp_path: Path) -> None:
    shown = signed_in(served, tmp_path, user, "identity", "whoami", "--user", ADA, "--json").json()
    assert shown == {"user": served.identity.users.find(ADA).object_id, "name": ADA}
    shown = signed_in(served, tmp_path, user, "identity", "whoami", "--json").json()
    assert shown["user"] == served.identity.users.find(user).object_id


def test_s108_the_user_id_of_the_last_sign_in_is_remembered(served: Served, user: str, tmp_path: Path) -> None:
    assert "nobody has signed in" in run(tmp_path, "identity", "show", code=1).err
    standing = home_of(tmp_path).ensure(graph_as(served, user))
    record = json.loads((tmp_path / "agent" / "identity.json").read_text())
    assert record["currentUserId"] == standing.person.object_id
    assert run(tmp_path, "identity", "show", "--json").json()["user"] == standing.person.object_id


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"currentUserId": 1}', b"\xff", b"[" * 100000, b" " * 300000])
def test_a_damaged_record_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "identity.json").write_bytes(damage)
    refused = run(tmp_path, "identity", "show", code=1)
    assert "identity.json is not a record of Wain's" in refused.err
    assert "Traceback" not in refused.err


def test_a_damaged_certificate_is_named(certificate: OwnCertificate, tmp_path: Path) -> None:
    path = tmp_path / "home" / "agent" / "certificates" / f"{certificate.name}.pem"
    body = path.read_bytes()
    for damaged in (body[:100], body.replace(b"CERTIFICATE", b"CERTIFICAT"), make("x", 1).key_pem + body[-2000:]):
        path.write_bytes(damaged)
        refused = run(tmp_path / "home", "identity", "certificate", "list", code=4)
        assert f"{path} is damaged" in refused.err


def test_a_password_is_typed_twice_and_never_shown(tmp_path: Path) -> None:
    person = Person(tmp_path, "identity", "user", "add", ADA)
    person.answer("The password:", PASSWORD)
    person.answer("The password again:", PASSWORD)
    assert person.end() == 0, person.screen
    assert PASSWORD not in person.screen
    with Identity.open(tmp_path / "home" / "identity", NOWHERE, now) as identity:
        assert identity.users.signed_in(ADA, PASSWORD)
    person = Person(tmp_path, "identity", "user", "password", ADA)
    person.answer("The password:", "another sentence, long enough")
    person.answer("The password again:", "a third sentence, long enough")
    assert person.end() == 1
    assert "the two passwords differ" in person.screen
    with Identity.open(tmp_path / "home" / "identity", NOWHERE, now) as identity:
        assert identity.users.signed_in(ADA, PASSWORD)
