"""The one place where the parts meet: which vault, which Data Box service, which clock, from what the user said."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from wain.base.errors import Missing, Refused
from wain.cli.config import Settings, path_of

if TYPE_CHECKING:
    from wain.agent.home import AgentHome
    from wain.agent.job import Services
    from wain.databox.service import DataBox
    from wain.policy.policy import Policy
    from wain.storage.api import AzureAccount, AzureBlobs, PageBlobs
    from wain.vault.place import VaultPlace
    from wain.vault.service import Vault
    from wain.wire.databox import CustodyApi, DataBoxApi

_DATABOX: Final = "databox"
_MARK: Final = "catalog.sqlite"


def now() -> datetime:
    """Return the present moment: the one clock every room is given."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """Opens what a command needs, when it needs it."""

    settings: Settings

    @classmethod
    def of(cls, context: typer.Context) -> "Parts":
        """Return the parts of the running command."""
        settings = context.obj
        assert isinstance(settings, Settings)
        return cls(settings)

    def home(self) -> "AgentHome":
        """Return the agent's home."""
        from wain.agent.home import AgentHome

        return AgentHome(Path(self.settings.home))

    def databox_path(self, url: str = "") -> Path:
        """Return where the Data Box service lives: below the home unless `--databox` names another place."""
        return Path(path_of(url, "--databox")) if url else Path(self.settings.home) / _DATABOX

    def databox(self, url: str = "") -> "DataBox":
        """Open the Data Box service; the embedded one comes into being with its first use."""
        from wain.databox.service import DataBox

        return DataBox.open(self.databox_path(url), now, _open_azure)

    def databox_knowing(self, order: str, url: str = "") -> "DataBox":
        """Open the Data Box service and make sure that it knows an order: a typing error is no damage.

        Raises:
            Refused: it does not.
        """
        service = self.databox(url)
        if all(each.name != order for each in service.orders()):
            raise Refused(f"there is no order {order!r}", "See `wain order list`.")
        return service

    def vault_url(self, url: str = "") -> str:
        """Return the vault's URL: as given, or as registered.

        Raises:
            Refused: neither.
        """
        if url:
            return url
        enrolment = self.home().enrolment()
        if enrolment is None:
            raise Refused("no vault is named", "Give it with --vault, or register this server first.")
        return enrolment.vault_url

    def vault(self, url: str = "", databox: str = "") -> "Vault":
        """Open a vault that exists.

        Raises:
            Refused: there is none at that place.
        """
        url = self.vault_url(url)
        path = Path(path_of(url, "--vault"))
        if not is_vault(path):
            hint = f"Mount what belongs there, or make one with `wain vault create {url}`."
            raise Refused(f"there is no vault at {path}", hint)
        return self.make_vault(path, databox)

    def make_vault(self, path: Path, databox: str = "") -> "Vault":
        """Open a vault, or make it when the directory is empty or absent."""
        from wain.vault.service import Vault

        def account(name: str) -> "PageBlobs":
            return self._account(databox, name)

        return Vault.open(path, account, now)

    def _account(self, databox: str, name: str) -> "PageBlobs":
        try:
            return self.databox(databox).account_blobs(name)
        except Missing:
            hint = f"Make it known: `wain account create {name} --azure URL --secret-file FILE`, or give --databox."
            raise Refused(f"the vault does not know the storage account {name!r}", hint) from None

    def vault_place(self) -> "VaultPlace | None":
        """Return the subscription and region of the vault that this server is registered with, when they were said."""
        from wain.vault.place import read_place

        return read_place(Path(path_of(self.vault_url(), "--vault")))

    def services(self, vault: str = "", databox: str = "") -> "Services":
        """Return what a backup job talks to."""
        from wain.agent.job import Services

        # What backups are made into is never backed up: it would grow with every job.
        skip = (self.databox_path(databox), Path(path_of(self.vault_url(vault), "--vault")))
        opened = self.vault(vault, databox)
        orders, keeper = self._orders(databox)
        return Services(opened, orders, skip, keeper, opened)

    def _orders(self, databox: str) -> "tuple[DataBoxApi | None, CustodyApi | None]":
        """Return who knows the order's stage, and who keeps its chain of custody.

        That is the policy's endpoint, else the embedded service where there is one.
        """
        policy = self.home().policy()
        if policy is not None and policy.service is not None:
            from wain.cli.remote import ServerOrders

            remote = ServerOrders(self.settings, policy.service)
            return remote, None if policy.service.is_azure else remote
        service = self.databox(databox) if self.databox_path(databox).is_dir() else None
        return service, service

    def save_policy(self, policy: "Policy") -> None:
        """Save the policy, and tell the vault how long to keep points."""
        home = self.home()
        enrolment = home.require_enrolment()
        self.vault(enrolment.vault_url).set_retention(enrolment.registration.id, policy.retention)
        home.save_policy(policy)


def _open_azure(account: "AzureAccount") -> "AzureBlobs":
    # Late: the official client takes half a second to import.
    from wain.storage.azure import AzurePageBlobs

    return AzurePageBlobs(account)


def is_vault(path: Path) -> bool:
    """Say whether a directory holds a vault: its objects, whether or not the catalog is still there."""
    return os.path.isdir(path / "objects") or os.path.isfile(path / _MARK)
