"""A Data Box service and a device for tests, on real directories with a clock that ticks."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wain.base.ids import PointId, RegistrationId, SeedId
from wain.base.progress import Silent
from wain.databox.datacopy import CopyReport
from wain.databox.erase import ImportProof
from wain.databox.service import DataBox, OrderRequest
from wain.device.seal import Seal, encode_seal, seal_hash, seal_part
from wain.device.target import DeviceTarget
from wain.device.writer import DeviceWriter
from wain.keys.secret import Secret
from wain.keys.signing import COUNTERSIGN, RECEIPT, SEAL, public_key, sign
from wain.order.order import AccountKind, Stage
from wain.pack.writer import SealedPack
from wain.pageblob.paged import encode_paged
from wain.tree.receipt import Receipt, encode_receipt

ORDER = "branch-7"
ACCOUNT = "seeds"
REQUEST = OrderRequest(ORDER, "DataBoxDisk", ACCOUNT, "sub-1", "westeurope")
REGISTRATION = RegistrationId(b"R" * 16)
SEED = SeedId(b"S" * 16)
AGENT = Secret(b"a" * 32)
VAULT = Secret(b"v" * 32)
MANIFEST = b"the manifest of these tests"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    """Each look at it is a second later."""

    now: datetime = NOON
    seen: list[datetime] = field(default_factory=list)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def service(home: Path) -> DataBox:
    return DataBox(home, Clock())


def ordered(home: Path) -> DataBox:
    """A service with one account and one order."""
    databox = service(home)
    databox.create_account(ACCOUNT, AccountKind.STORAGE_V2, "westeurope")
    databox.create_order(REQUEST)
    return databox


def delivered(home: Path, device: Path) -> DataBox:
    """The order's device is prepared and with the customer."""
    databox = ordered(home)
    device.mkdir(exist_ok=True)
    databox.prepare_device(ORDER, device, "WD-1")
    databox.advance(ORDER, Stage.DISPATCHED)
    databox.advance(ORDER, Stage.DELIVERED)
    return databox


def seal(device: Path, packs: Iterable[SealedPack], seed: SeedId = SEED, order: str = ORDER, **more: object) -> Seal:
    """Write and seal one server's seed."""
    target = DeviceTarget(device, REGISTRATION, seed, order, public_key(AGENT), **more)  # type: ignore[arg-type]
    with DeviceWriter.open(target, Clock()) as writer:
        for pack in packs:
            writer.put(pack)
        return writer.finish(MANIFEST, lambda body: sign(AGENT, SEAL, body), Silent())


def arrive(databox: DataBox) -> None:
    """The device travels back."""
    databox.advance(ORDER, Stage.PICKED_UP)
    databox.advance(ORDER, Stage.AT_AZURE_DC)


def copied(databox: DataBox, device: Path) -> CopyReport:
    return databox.copy_data(ORDER, device, Silent())


def container(device: Path) -> Path:
    return next((device / "PageBlob").glob("wain-*"))


def proof(sealed: Seal, agent: Secret = AGENT, **changes: object) -> tuple[bytes, ImportProof]:
    """The vault's receipt for a seal, countersigned by the agent."""
    hashed = seal_hash(encode_seal(sealed))
    values: dict[str, object] = {
        "registration": sealed.registration,
        "seed": sealed.seed,
        "seal_hash": hashed,
        "point": PointId(b"p" * 32),
        "packs": 1,
        "stored_bytes": 4096,
        "received_at": NOON,
    }
    body = encode_receipt(Receipt(**(values | changes)))  # type: ignore[arg-type]
    signature, countersignature = sign(VAULT, RECEIPT, body), sign(agent, COUNTERSIGN, body)
    return hashed, ImportProof(body, signature, public_key(VAULT), countersignature)


def reseal(device: Path, sealed: Seal, **changes: object) -> None:
    """Put another seal on the device, with a good signature."""
    unsigned = replace(sealed, **changes)  # type: ignore[arg-type]
    body = encode_seal(replace(unsigned, signature=sign(AGENT, SEAL, seal_part(unsigned))))
    (device / "PageBlob" / sealed.container / "seal").write_bytes(encode_paged(body))
