"""A protected server whose first backup travels: a device directory, an order with a stage, an account."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from unit.agent.engine import START, Server
from wain.agent.job import Services, run_backup
from wain.base.errors import Missing
from wain.base.progress import Silent
from wain.device.label import LABEL_FILE, Label, encode_label
from wain.job.job import Job
from wain.order.order import AccountKind, Order, Stage, StageTime
from wain.policy.policy import InitialBackup
from wain.storage.blobs import DirectoryPageBlobs
from wain.vault.service import Vault

ORDER = "order-1"


@dataclass
class Orders:
    """The Data Box service: orders whose stage a test sets, for all or for one."""

    stage: Stage = Stage.DELIVERED
    names: tuple[str, ...] = (ORDER,)
    renamed: dict[str, str] = field(default_factory=dict)
    containers: list[str] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    skus: dict[str, str] = field(default_factory=dict)

    def orders(self) -> list[Order]:
        return [self.order(name) for name in self.names]

    def order(self, name: str) -> Order:
        if name not in self.names:
            raise Missing(f"order {name}")
        history = (StageTime(self.stages.get(name, self.stage), START),)
        return Order(
            name, self.skus.get(name, "DataBoxDisk"), "seeds", AccountKind.STORAGE_V2, "sub", "region", None, history
        )

    def copied_to(self, name: str, container: str) -> str | None:
        return self.renamed.get(container, container) if container in self.containers else None


class Road:
    def __init__(self, root: Path) -> None:
        self.server = Server(root)
        self.device = root / "device"
        self.account = root / "account"
        self.account.mkdir()
        self.plug_in(b"D" * 16)
        self.orders = Orders()
        self.server.vault.close()
        self.server.vault = Vault.open(root / "vault", lambda _: DirectoryPageBlobs(self.account), self.server.clock)
        self.policy()

    def plug_in(self, device: bytes) -> None:
        shutil.rmtree(self.device, ignore_errors=True)
        (self.device / "PageBlob").mkdir(parents=True)
        label = Label(device, "S1", ORDER, "DataBoxDisk", 10**12, START)
        (self.device / LABEL_FILE).write_bytes(encode_label(label))

    def policy(self, **over: object) -> None:
        words = {"initial": InitialBackup.OFFLINE, "order": ORDER, "device": str(self.device)} | over
        self.server.policy(**words)

    def backup(self, vault: object = None, *, databox: bool = True) -> Job:
        services = Services(vault or self.server.vault, self.orders if databox else None, (self.server.root / "vault",))
        return run_backup(self.server.home, services, self.server.clock, Silent())

    def copy(self) -> None:
        """The data copy: device to account."""
        for container in (self.device / "PageBlob").iterdir():
            shutil.copytree(container, self.account / container.name, dirs_exist_ok=True)
            self.orders.containers.append(container.name)
        self.orders.stage = Stage.COMPLETED
