"""`wain serve` as a process of its own, and the unmodified azure-mgmt-databox in front of it."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from azure.core.credentials import AccessToken
from azure.mgmt.databox import DataBoxManagementClient
from azure.mgmt.databox import models as m

from wain.databox.service import DataBox
from wain.identity.service import Identity
from wain.order.order import AccountKind

SUBSCRIPTION = "6f2b1c1e-0000-4000-8000-000000000001"
OTHER = "6f2b1c1e-0000-4000-8000-000000000002"
GROUP = "branches"
ACCOUNT = "seeds"
REGION = "westeurope"
ADA, BOB, EVE = "ada@example.org", "bob@example.org", "eve@example.org"
PASSWORD = "a sentence that is long enough"
ARM = "https://management.azure.com"
CLI_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
PATIENCE_SECONDS = 30.0


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Signed:
    """Tokens that the served directory's own key has signed, for somebody who has signed in."""

    identity: Identity
    name: str

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        user = self.identity.users.find(self.name)
        epoch = self.identity.users.epoch(user.object_id)
        assert epoch is not None
        token = self.identity.tokens.for_user(user, epoch, CLI_CLIENT, ARM)
        return AccessToken(token, int(time.time()) + 600)


@dataclass
class Serve:
    """The home of a service with its people, and the process that serves it."""

    home: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.identity = Identity.open(self.home / "identity", self.url, now)
        self.databox = DataBox.open(self.home / "databox")

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def ca(self) -> Path:
        return self.home / "tls" / "tls.pem"

    def settle(self) -> None:
        """Ada owns the subscription, Bob reads it, Eve may do nothing; there are two accounts."""
        for name, role in ((ADA, "Owner"), (BOB, "Data Box Reader"), (EVE, "")):
            user = self.identity.users.add(name, name, PASSWORD)
            if role:
                self.identity.assignments.grant(user.object_id, role, f"/subscriptions/{SUBSCRIPTION}")
        self.databox.create_account(ACCOUNT, AccountKind.STORAGE_V2, REGION)
        self.databox.create_account("blobsonly", AccountKind.BLOB_STORAGE, REGION)

    def command(self, *more: str) -> list[str]:
        listen = f"127.0.0.1:{self.port}"
        return [sys.executable, "-m", "wain.cli.main", "serve", "--listen", listen, "--url", self.url, *more]

    def start(self) -> None:
        environ = {**os.environ, "WAIN_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(self.command(), env=environ, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server never answered"
            try:
                with self.http() as http:
                    http.get("/healthz").raise_for_status()
            except (httpx.TransportError, OSError):
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        """Stop it as a service manager does; return its exit code and what it printed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            out, _ = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.identity.close()
        self.databox.close()

    def http(self, name: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {Signed(self.identity, name).get_token().token}"} if name else {}
        trust = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=self.url, verify=trust, trust_env=False, timeout=30, headers=headers)

    def client(self, name: str = ADA, subscription: str = SUBSCRIPTION, credential: Any = None) -> Any:
        """The official client, as it comes from its package."""
        return DataBoxManagementClient(
            credential or Signed(self.identity, name),
            subscription,
            base_url=self.url,
            credential_scopes=[f"{ARM}/.default"],
            connection_verify=str(self.ca),
            polling_interval=0,
            retry_total=0,
        )


def account_id(name: str = ACCOUNT) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts/{name}"


def address(street: str = "1 Microsoft Way") -> m.ShippingAddress:
    return m.ShippingAddress(street_address1=street, city="Redmond", country="US", postal_code="98052")


def job(sku: str = "DataBoxDisk", account: str = ACCOUNT, **more: Any) -> m.JobResource:
    kinds = {
        "DataBoxDisk": m.DataBoxDiskJobDetails,
        "Archive": m.DataBoxDiskJobDetails,
        "DataBoxHeavy": m.DataBoxHeavyJobDetails,
    }
    details = kinds.get(sku, m.DataBoxJobDetails)
    said: dict[str, Any] = {
        "contact_details": m.ContactDetails(contact_name="Ada", phone="555-0100", email_list=[ADA]),
        "shipping_address": address(),
        "data_import_details": [
            m.DataImportDetails(
                account_details=m.StorageAccountDetails(storage_account_id=account_id(account)),
            )
        ],
        "expected_data_size_in_tera_bytes": 5,
    }
    properties = m.JobProperties(transfer_type="ImportToAzure", details=details(**(said | more)))
    return m.JobResource(location=REGION, sku=m.Sku(name=sku), properties=properties, tags={"site": "7"})


def running(home: Path) -> Iterator[Serve]:
    """A settled service that answers, until the fixture that yields it ends."""
    served = Serve(home)
    served.settle()
    served.start()
    yield served
    served.close()
