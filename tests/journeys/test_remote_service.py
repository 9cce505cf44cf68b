"""A server and a Data Box service in two homes: all that passes between them is TLS, a device, and an account."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from journeys.judges import assert_equal
from unit.databox.serving import ADA, BOB, GROUP, OTHER, REGION, SUBSCRIPTION, Serve, running
from unit.identity.certs import make
from unit.identity.people import registered, sign_in_on_the_page
from unit.identity.running import Ended, run, start

PASSPHRASE = "correct horse battery staple"
CHANGED = "UPDATE custody SET record = CAST(substr(record, 1, {}) || x'ff' || substr(record, {}) AS BLOB) WHERE seq = 6"
"""The sealed record with another byte."""
WAITING = "Waiting for Azure Data Box job to be completed"
WHERE = ("--contact", "name=Ada", "--address", "street=1 Way", "--address", "country=NL", "--address", "city=Delft")


@dataclass
class Branch:
    """One protected server, and the service that ships its device."""

    serve: Serve
    root: Path
    order: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def device(self) -> Path:
        return self.root / "device"

    @property
    def source(self) -> Path:
        return self.root / "source"

    def wain(self, *args: str, code: int | None = 0) -> Ended:
        """Run a command on the server."""
        return run(self.home, *args, code=code)

    def operator(self, *args: str, code: int | None = 0) -> Ended:
        """Run a command where the service is."""
        return run(self.serve.home, *args, code=code)

    def asked(self, name: str, *args: str, code: int = 0, subscription: str = SUBSCRIPTION) -> Ended:
        """Run a command on the server, as somebody who signs in at the service."""
        where = ("--service", self.serve.url, "--ca-file", str(self.serve.ca), "--subscription", subscription)
        process = start(self.home, *args, *where)
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"open (\S+) in a browser and enter the code ([A-Z-]+)", said)
        assert found, said + process.stderr.read()
        with self.serve.http() as http:
            assert "You are signed in" in sign_in_on_the_page(http, found[2], name).text
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err or out
        return Ended(process.returncode, out, err)

    def register(self, *place: str) -> None:
        passphrase = self.root / "passphrase"
        passphrase.write_text(PASSPHRASE + "\n")
        vault = f"file://{self.root}/vault"
        self.wain("vault", "create", vault, *place)
        recovery = str(self.root / "recovery")
        self.wain("register", "--vault", vault, "--passphrase-file", str(passphrase), "--recovery-key-file", recovery)

    def deliver(self, name: str = ADA) -> None:
        """Order a device at the endpoint, and have the operator prepare and send it."""
        create = ("order", "create", self.order, "--account", "seeds", "--region", REGION, "--resource-group", GROUP)
        assert self.asked(name, *create, *WHERE, "--json").json()["stage"] == "DeviceOrdered"
        self.device.mkdir()
        self.operator("device", "prepare", self.order, str(self.device))
        self.advance("Dispatched", "Delivered")

    def advance(self, *stages: str) -> None:
        for stage in stages:
            self.operator("order", "advance", self.order, stage)

    def policy(self, *more: str) -> tuple[str, ...]:
        return ("policy", "set", "--include", str(self.source), "--initial", "offline", "--order", self.order,
                "--device", str(self.device), *more)  # fmt: skip

    def backup(self, *more: str, code: int | None = 0) -> Ended:
        return self.wain("backup", "--json", *more, code=code)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    yield from running(tmp_path_factory.mktemp("serve"))


@pytest.fixture
def branch(serve: Serve, tmp_path: Path) -> Branch:
    source = tmp_path / "source"
    (source / "notes").mkdir(parents=True)
    for number in range(20):
        (source / "notes" / f"{number}.txt").write_text(f"note {number}\n" * 50)
    (source / "large").write_bytes(bytes(range(256)) * 8192)
    return Branch(serve, tmp_path, "branch-office")


def account_of(branch: Branch) -> tuple[str, str]:
    """Where the vault finds the storage account: both are on this machine."""
    return "--databox", str(branch.serve.home / "databox")


def test_c17_s81_the_first_backup_travels_by_an_order_at_another_service(branch: Branch) -> None:
    branch.register("--subscription", SUBSCRIPTION, "--region", REGION)
    branch.deliver()
    policy = branch.asked(ADA, *branch.policy(), "--json")
    assert policy.json()["service"] == {
        "url": branch.serve.url, "subscription": SUBSCRIPTION, "resourceGroup": GROUP, "caFile": str(branch.serve.ca)
    }  # fmt: skip
    assert "Note:" not in policy.err
    # From here on nobody signs in: the server has a certificate of its own.
    found = {row["what"]: row for row in branch.wain("doctor", "--json", code=None).json()}
    assert found["order"]["seen"] == f"{branch.order} is Delivered; the seed is planned"
    assert "safe to ship" in branch.backup().json()["message"]

    (branch.source / "notes" / "later.txt").write_text("written while the device travels\n")
    branch.advance("PickedUp")
    assert branch.backup().json()["message"] == WAITING
    branch.advance("AtAzureDC")
    # The seed's name is taken in the account: it arrives under another one, which only the copy log tells.
    container = json.loads((branch.home / "agent" / "seed.json").read_text())["container"]
    branch.serve.databox.account_blobs("seeds").create(container, "other", 512)
    copied = branch.operator("order", "copy", branch.order, str(branch.device), "--json").json()
    assert copied["stage"] == "CompletedWithWarnings"
    assert [each["name"] == each["copiedTo"] for each in copied["containers"]] == [False]

    branch.serve.kill()
    before = {path: path.read_bytes() for path in branch.home.rglob("seed.json")}
    down = branch.backup(*account_of(branch), code=1)
    assert "cannot be reached" in down.err
    assert len(down.err.strip().splitlines()) <= 2, down.err
    assert before == {path: path.read_bytes() for path in branch.home.rglob("seed.json")}
    branch.serve.start()

    unknown = branch.backup(code=1)
    assert "the vault does not know the storage account 'seeds'" in unknown.err
    assert branch.backup(*account_of(branch)).json()["message"] == "Job Completed"
    points = branch.wain("points", "--json").json()
    assert {point["state"] for point in points} == {"complete"}

    check_the_chain(branch)
    # What is settled asks nobody.
    branch.serve.kill()
    assert branch.backup().json()["state"] == "completed"
    restored = branch.root / "restored"
    branch.serve.start()
    branch.wain("restore", "latest", "--to", str(restored), "--passphrase-file", str(branch.root / "passphrase"))
    assert_equal(branch.source, restored / branch.source.relative_to("/"))


def check_the_chain(branch: Branch) -> None:
    """Every party has signed what it did; whatever is changed since is named, at the service and from afar."""
    show = ("order", "show", branch.order, "--resource-group", GROUP, "--custody")
    chain = branch.asked(BOB, *show, "--json").json()
    said = [(each["event"], each["party"]) for each in chain]
    server = branch.wain("vault", "list", f"file://{branch.root}/vault", "--json").json()[0]["name"]
    service = "Data Box service"
    assert said == [
        ("prepared", service), ("handed over", service), ("handed over", service),
        ("written", server), ("read back", server), ("sealed", server),
        ("picked up", service), ("handed over", server), ("received", service), ("copied", service),
        ("imported", "vault"), ("confirmed", server),
    ]  # fmt: skip
    assert len({each["publicKey"] for each in chain}) == 3
    words = branch.asked(BOB, *show).out
    assert f"{server} signed 5." in words
    assert "This server saw the chain up to step 12 before: it is the same." in words
    assert branch.operator("order", "custody", branch.order, "--json").json() == chain
    for statement, seen in (
        (CHANGED.format(139, 141), "record 6 (sealed)"),
        (CHANGED.format(119, 121), "record 6"),
        ("UPDATE witnesses SET party = 'somebody else' WHERE party = 'vault'", "record 11 (imported)"),
        ("DELETE FROM witnesses WHERE party = 'vault'", "record 11 (imported): it is signed with a key nobody"),
        ("DELETE FROM custody WHERE seq = 7", "record 7"),
    ):
        with tampered(branch, statement):
            assert seen in branch.operator("order", "show", branch.order, "--custody", code=4).err
    for statement, seen in ((CHANGED.format(119, 121), "record 6"), ("DELETE FROM custody WHERE seq = 7", "record 7")):
        with tampered(branch, statement):
            assert seen in branch.asked(BOB, *show, code=4).err
    with tampered(branch, "DELETE FROM custody WHERE seq = 12"):
        assert "record 12, which this server has seen, is gone" in branch.asked(BOB, *show, code=4).err


@contextmanager
def tampered(branch: Branch, statement: str) -> Iterator[None]:
    """Change the service's catalog behind its back, and put it back."""
    catalog = branch.serve.home / "databox" / "catalog.sqlite"
    with closing(sqlite3.connect(catalog)) as rows:
        kept = "\n".join(rows.iterdump())
        with rows:
            assert rows.execute(statement).rowcount == 1
        yield
        with closing(sqlite3.connect(":memory:")) as whole:
            whole.executescript(kept)
            for table in ("custody", "witnesses"):
                found = whole.execute(f"SELECT * FROM {table}").fetchall()
                marks = ", ".join("?" for _ in found[0])
                with rows:
                    rows.execute(f"DELETE FROM {table}")
                    rows.executemany(f"INSERT INTO {table} VALUES ({marks})", found)


@pytest.mark.parametrize(
    ("order", "name", "subscription", "place", "words"),
    [
        ("bobs", BOB, SUBSCRIPTION, (), "is not Owner of subscription"),
        ("elsewhere", ADA, OTHER, (), "is not Owner of subscription"),
        ("apart", ADA, SUBSCRIPTION, ("--subscription", OTHER), "they must be in the same one"),
    ],
    ids=["not the owner", "of another subscription", "the vault is in another subscription"],
)
def test_s26_s63_only_its_owner_takes_an_order_of_the_vaults_subscription(
    branch: Branch, order: str, name: str, subscription: str, place: tuple[str, ...], words: str
) -> None:
    branch.order = order
    branch.register(*place)
    branch.deliver()
    refused = branch.asked(name, *branch.policy(), code=1, subscription=subscription)
    assert words in refused.err
    assert "there is no policy yet" in branch.wain("policy", "show", code=1).err


def test_s27_s34_c26_another_region_is_warned_of_and_other_stages_are_refused(branch: Branch) -> None:
    branch.order = "far-away"
    branch.register("--subscription", SUBSCRIPTION.upper(), "--region", "northeurope")
    branch.deliver()
    policy = branch.asked(ADA, *branch.policy(), "--json")
    assert "the storage account is in westeurope and the vault in northeurope" in policy.err
    # What is not named stays; the road is not asked about again, and nobody signs in.
    again = branch.wain("policy", "set", "--exclude", "*.tmp", "--json").json()
    assert again["service"] == policy.json()["service"]
    unknown = branch.wain("policy", "set", "--order", "far-off", code=1)
    assert "nobody has signed in" in unknown.err
    missing = branch.asked(ADA, "policy", "set", "--order", "far-off", code=1)
    assert "there is no order 'far-off'" in missing.err
    early = (
        "order", "create", "not-here", "--account", "seeds", "--region", REGION, "--resource-group", GROUP, *WHERE
    )  # fmt: skip
    branch.asked(ADA, *early)
    refused = branch.asked(ADA, "policy", "set", "--order", "not-here", code=1)
    assert "order not-here is DeviceOrdered, and only a Delivered order can be written" in refused.err
    assert branch.wain("policy", "show", "--json").json()["order"] == "far-away"


def test_a_server_without_an_identity_signs_in_as_azure_identity_finds(
    serve: Serve, branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch.order = "no-identity"
    branch.register()
    branch.deliver()
    branch.asked(ADA, *branch.policy(), "--default-credential")
    assert not (branch.home / "agent" / "certificates").exists()
    refused = branch.backup(code=1)
    assert "the sign-in failed" in refused.err
    assert not list((branch.device / "PageBlob").iterdir())
    pair = make("robot")
    _, app_id = registered(serve, "robot", pair)
    principal = serve.identity.applications.principal(app_id)
    assert principal is not None
    serve.identity.assignments.grant(principal.object_id, "Data Box Reader", f"/subscriptions/{SUBSCRIPTION}")
    (branch.root / "robot.pem").write_bytes(pair.both)
    monkeypatch.setenv("AZURE_TENANT_ID", serve.identity.site.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", app_id)
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(branch.root / "robot.pem"))
    assert "safe to ship" in branch.backup().json()["message"]
