"""The Data Box service, embedded: `wire.databox.DataBoxApi` for agents, and the operator's verbs.

Everything lives in one directory (see `home`). Every verb may be repeated, after a `kill -9` at any point too: it comes
to the same end. Several processes may hold the service open; what works on a device does so alone.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from wain.base.errors import Refused
from wain.base.progress import Progress
from wain.databox import account_check, check, datacopy, erase, handed_in, prepare
from wain.databox.account_check import AccountReport
from wain.databox.catalog import Catalog
from wain.databox.check import DeviceStatus, VerifyReport
from wain.databox.custody import Book, service_key
from wain.databox.datacopy import CopyReport
from wain.databox.erase import EraseRequest, Erasure, ImportProof, Proofs
from wain.databox.home import Home, Parts
from wain.databox.jobs import Jobs
from wain.databox.orders import Account, Clock, Orders
from wain.databox.prepare import Blank
from wain.device.label import Label
from wain.order.custody import CustodyRecord
from wain.order.order import AccountKind, Order, OrderRequest, Stage
from wain.order.sku import Sku
from wain.storage.api import AzureAccount, AzureBlobs, OpenAzure, PageBlobs
from wain.wire.databox import Chain, CopiedContainer, check_chain_of


def no_azure(account: AzureAccount) -> AzureBlobs:
    """Open nothing: for those who composed the service without the client for Azure."""
    raise Refused(f"{account.endpoint} lies in Azure, and this program was put together without its client")


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


__all__ = [
    "Account",
    "AccountReport",
    "CopyReport",
    "DataBox",
    "DeviceStatus",
    "EraseRequest",
    "Erasure",
    "ImportProof",
    "OrderRequest",
    "VerifyReport",
]


class DataBox:
    """The service in the directory `root`, which is made when it is missing.

    Errors of every verb: `Missing` for an unknown order or account, `WriteFailed` when the catalog cannot be written.
    """

    def __init__(self, root: Path, clock: Clock = now, open_azure: OpenAzure = no_azure) -> None:
        home = Home(root)
        self._book = Book(service_key(home.keys))
        self._catalog = Catalog(home.catalog)
        self._orders = Orders(self._catalog, self._book, clock)
        self._parts = Parts(home, self._catalog, self._book, self._orders, clock, open_azure)

    @classmethod
    def open(cls, root: str | Path, clock: Clock = now, open_azure: OpenAzure = no_azure) -> Self:
        """Open the service. `open_azure` opens accounts that lie in Azure."""
        return cls(Path(root), clock, open_azure)

    def close(self) -> None:
        """Let go of the catalog."""
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What agents see: wire.databox.DataBoxApi.

    def orders(self) -> list[Order]:
        """Return all orders, oldest first."""
        return self._orders.all()

    def order(self, name: str) -> Order:
        """Return one order."""
        return self._orders.one(name)

    def copied(self, name: str) -> list[CopiedContainer]:
        """Return what the data copy of a finished order put where; nothing while it is not finished."""
        return datacopy.copied(self._parts, self._orders.one(name))

    def copied_to(self, name: str, container: str) -> str | None:
        """Return where the data copy of a finished order put a container of the device; None: nowhere."""
        return next((one.copied_to for one in self.copied(name) if one.name == container), None)

    # Accounts and orders.

    def create_account(self, name: str, kind: AccountKind, region: str) -> Account:
        """Make a storage account (see `Orders.create_account`)."""
        return self._orders.create_account(name, kind, region)

    def add_azure_account(self, name: str, region: str, azure: AzureAccount) -> Account:
        """Make a storage account in Azure known, whose kind Azure tells. The same call again changes nothing.

        Raises:
            Refused: as `Orders.create_account`, or its secret does not open it, or Wain does not know its kind.
            RemoteError: it cannot be reached.
        """
        word = self._parts.open_azure(azure).kind()
        if word not in {each.value for each in AccountKind}:
            hint = "Use a storage account of general purpose v2 (StorageV2)."
            raise Refused(f"storage account {name} is of kind {word}, which has no page blobs for a Data Box", hint)
        return self._orders.create_account(name, AccountKind(word), region, azure)

    def account(self, name: str) -> Account:
        """Return one storage account."""
        return self._orders.account(name)

    def accounts(self) -> list[Account]:
        """Return the storage accounts, by name."""
        return self._orders.accounts()

    def account_blobs(self, name: str) -> PageBlobs:
        """Return the page blobs of a storage account: what a vault imports from.

        Raises:
            Refused: accounts of its kind have none, or its secret does not open it.
            RemoteError: it lies in Azure and cannot be reached.
        """
        return self._parts.blobs(name)

    def skus(self) -> list[Sku]:
        """Return the kinds of device that can be ordered, those that the operator has defined last."""
        return list(self._orders.skus().values())

    def add_sku(self, sku: Sku) -> Sku:
        """Define a kind of device, for disks of the operator's own. The same again changes nothing."""
        return self._orders.add_sku(sku)

    def remove_sku(self, name: str) -> None:
        """Forget a kind of device that no order names."""
        self._orders.remove_sku(name)

    def create_order(self, request: OrderRequest) -> Order:
        """Order a device (see `Orders.create`)."""
        return self._orders.create(request)

    def advance(self, name: str, stage: Stage) -> Order:
        """Say that an order has reached a stage (see `Orders.advance`)."""
        return self._orders.advance(name, stage)

    def cancel(self, name: str, reason: str) -> Order:
        """Cancel an order (see `Orders.cancel`)."""
        return self._orders.cancel(name, reason)

    def jobs(self) -> Jobs:
        """Return the orders as the ARM wire asks for them."""
        return Jobs(self._parts)

    # Devices.

    def prepare_device(self, order: str, path: str | Path, serial: str = "") -> Label:
        """Prepare the device at `path` for an order (see `prepare.prepare_device`)."""
        return prepare.prepare_device(self._parts, order, Blank(Path(path), serial))

    def device_status(self, path: str | Path) -> DeviceStatus:
        """Return what lies on the device at `path` (see `check.device_status`)."""
        return check.device_status(Path(path))

    def verify_device(self, path: str | Path, progress: Progress) -> VerifyReport:
        """Check every byte of a device (see `check.verify_device`)."""
        return check.verify_device(Path(path), progress)

    def copy_data(self, order: str, path: str | Path, progress: Progress) -> CopyReport:
        """Copy a device into the order's account (see `datacopy.copy_data`)."""
        return datacopy.copy_data(self._parts, order, Path(path), progress)

    def copy_report(self, order: str) -> CopyReport:
        """Return the report of a finished data copy (see `datacopy.report`)."""
        return datacopy.report(self._parts, order)

    def verify_account(self, order: str, progress: Progress) -> AccountReport:
        """Check every byte that a finished data copy put into its account (see `account_check.verify_account`)."""
        return account_check.verify_account(self._parts, order, progress)

    def erase_device(self, order: str, request: EraseRequest, progress: Progress) -> Erasure:
        """Erase the device of an order (see `erase.erase_device`)."""
        return erase.erase_device(self._parts, order, request, progress)

    def clean_account(self, order: str, proofs: Proofs) -> list[str]:
        """Delete an order's sealed containers from its account (see `erase.clean_account`)."""
        return erase.clean_account(self._parts, order, proofs)

    # Custody.

    @property
    def public_key(self) -> bytes:
        """The raw Ed25519 public key that the service signs custody records with."""
        return self._book.public

    def custody(self, order: str) -> list[CustodyRecord]:
        """Return the chain of custody of an order, oldest first."""
        with self._catalog.reading() as rows:
            return self._book.records(rows, self._orders.held(rows, order).id)

    def check_custody(self, order: str) -> None:
        """Return when the chain of custody of an order is whole and signed by those whom this service knows.

        Raises:
            Corrupt: names the first record that breaks it.
        """
        check_chain_of(self.chain(order))

    def chain(self, order: str) -> Chain:
        """Return the chain of custody of an order, and whose key each one is."""
        return handed_in.chain_of(self._parts, order)

    def hand_in(self, order: str, record: bytes) -> None:
        """Take a record that another party on this machine has signed (see `handed_in.hand_in`)."""
        handed_in.hand_in(self._parts, order, record, "this machine")
