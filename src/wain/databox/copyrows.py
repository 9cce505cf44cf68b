"""The rows of a data copy: its plan, how far it has come, what it found. One home for their SQL."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select, update

from wain.base.moment import from_ns, to_ns
from wain.databox.copylog import WARNINGS, Category, Copied, EntityType, Finding, Totals
from wain.databox.orders import Clock
from wain.databox.survey import Plan
from wain.databox.tables import BLOBS, CONTAINERS, COPIES, FINDINGS, ORDERS
from wain.databox.transfer import Checkpoint
from wain.wire.databox import CopiedContainer


@dataclass(frozen=True, slots=True)
class Run:
    """A data copy. `finished_ns` is None while blobs are left to do."""

    guid: str
    started_ns: int
    finished_ns: int | None


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """A container of the plan."""

    number: int
    name: bytes
    copied_to: str
    seal_hash: bytes | None


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob of the plan. `done` is None before it was made in the account; `crc64` is of the first `done` bytes."""

    container: int
    number: int
    path: bytes
    copied_to: str
    length: int
    done: int | None
    crc64: int | None

    @property
    def complete(self) -> bool:
        """All of it is durable in the account."""
        return self.crc64 is not None and self.done == self.length


class CopyRows:
    """The rows of one order's data copy, inside one transaction."""

    def __init__(self, rows: Connection, order_id: int) -> None:
        self._rows = rows
        self._id = order_id

    def run(self) -> Run | None:
        """Return the copy, or None when it has not begun."""
        row = self._rows.execute(select(COPIES).where(COPIES.c.order_id == self._id)).one_or_none()
        return None if row is None else Run(row.guid, row.started_ns, row.finished_ns)

    def begin(self, run: Run, plan: Plan) -> None:
        """Write a new plan down."""
        begun = {"guid": run.guid, "started_ns": run.started_ns, "finished_ns": run.finished_ns}
        self._rows.execute(COPIES.insert().values(order_id=self._id, **begun))
        for number, container in enumerate(plan.containers):
            self._rows.execute(
                CONTAINERS.insert().values(
                    order_id=self._id,
                    number=number,
                    name=container.name,
                    copied_to=container.copied_to,
                    seal_hash=container.seal_hash,
                )
            )
            self._rows.execute(
                BLOBS.insert(),
                [
                    {
                        "order_id": self._id,
                        "container": number,
                        "number": at,
                        "path": blob.path,
                        "copied_to": blob.copied_to,
                        "length": blob.length,
                    }
                    for at, blob in enumerate(container.blobs)
                ],
            )
        self.find(plan.findings)

    def finish(self, clock: Clock) -> Run:
        """Say that nothing is left to do; the first time counts."""
        own = COPIES.c.order_id == self._id
        open_run = own & COPIES.c.finished_ns.is_(None)
        self._rows.execute(update(COPIES).where(open_run).values(finished_ns=to_ns(clock())))
        run = self.run()
        assert run is not None
        return run

    def taken(self, account: str) -> frozenset[str]:
        """Return the container names that copies of other orders use in an account."""
        found = select(CONTAINERS.c.copied_to).join(ORDERS).where(ORDERS.c.account == account)
        return frozenset(self._rows.execute(found).scalars())

    def containers(self) -> list[ContainerRow]:
        """Return the containers of the plan."""
        found = select(CONTAINERS).where(CONTAINERS.c.order_id == self._id).order_by(CONTAINERS.c.number)
        return [ContainerRow(row.number, row.name, row.copied_to, row.seal_hash) for row in self._rows.execute(found)]

    def blobs(self) -> list[BlobRow]:
        """Return the blobs of the plan, in the order they are copied."""
        own = select(BLOBS).where(BLOBS.c.order_id == self._id).order_by(BLOBS.c.container, BLOBS.c.number)
        return [_blob(row) for row in self._rows.execute(own)]

    def made(self, blob: BlobRow) -> None:
        """Say that a blob was made in the account, empty."""
        self._rows.execute(update(BLOBS).where(self._key(blob), BLOBS.c.done.is_(None)).values(done=0))

    def reached(self, blob: BlobRow, path: bytes, checkpoint: Checkpoint) -> None:
        """Write a checkpoint down, with what was found on the way to it."""
        crc64 = checkpoint.crc64.to_bytes(8, "big")
        self._rows.execute(update(BLOBS).where(self._key(blob)).values(done=checkpoint.done, crc64=crc64))
        self.find(Finding(path, found.category, found.words) for found in checkpoint.findings)

    def drop(self, blobs: Iterable[BlobRow], finding: Finding) -> None:
        """Take blobs out of the plan: they cannot be copied any more."""
        for blob in blobs:
            self._rows.execute(delete(BLOBS).where(self._key(blob)))
        self.find([finding])

    def _key(self, blob: BlobRow) -> ColumnElement[bool]:
        return (BLOBS.c.order_id == self._id) & (BLOBS.c.container == blob.container) & (BLOBS.c.number == blob.number)

    def find(self, findings: Iterable[Finding]) -> None:
        """Write findings down."""
        for one in findings:
            self._rows.execute(
                FINDINGS.insert().values(
                    order_id=self._id,
                    path=one.path,
                    category=one.category.value,
                    message=one.message,
                    type=one.type.value,
                    left_behind=int(one.left_behind),
                )
            )

    def findings(self, limit: int | None = None) -> Iterator[Finding]:
        """Yield what was found, oldest first."""
        own = select(FINDINGS).where(FINDINGS.c.order_id == self._id).order_by(FINDINGS.c.id).limit(limit)
        for row in self._rows.execute(own.execution_options(yield_per=1000)):
            yield Finding(
                row.path, Category(row.category), row.message, EntityType(row.type), left_behind=bool(row.left_behind)
            )

    def copied(self) -> Iterator[Copied]:
        """Yield what lies in the account."""
        joined = (BLOBS.c.order_id == CONTAINERS.c.order_id) & (BLOBS.c.container == CONTAINERS.c.number)
        own = (
            select(BLOBS, CONTAINERS.c.copied_to.label("into"))
            .join(CONTAINERS, joined)
            .where(BLOBS.c.order_id == self._id)
            .order_by(BLOBS.c.container, BLOBS.c.number)
        )
        for row in self._rows.execute(own.execution_options(yield_per=1000)):
            blob = _blob(row)
            yield Copied(f"{row.into}/{blob.copied_to}", blob.length, blob.crc64 or 0)

    def copied_containers(self) -> list[CopiedContainer]:
        """Return the containers of the account that the copy filled."""
        named = {blob.container for blob in self.blobs()}
        rows = [row for row in self.containers() if row.number in named]
        return [CopiedContainer(row.name.decode(errors="replace"), row.copied_to) for row in rows]

    def totals(self, drive_id: str) -> Totals:
        """Return the counts for the end of the copy log."""
        own = FINDINGS.c.order_id == self._id
        per_category = select(FINDINGS.c.category, func.count()).where(own).group_by(FINDINGS.c.category)
        counts = {Category(name): int(count) for name, count in self._rows.execute(per_category)}
        is_file = own & (FINDINGS.c.type == EntityType.FILE.value)
        warnings = [category.value for category in WARNINGS]
        errored = select(func.count(FINDINGS.c.path.distinct())).where(is_file, FINDINGS.c.category.not_in(warnings))
        left = select(func.count(FINDINGS.c.path.distinct())).where(is_file, FINDINGS.c.left_behind == 1)
        planned = select(func.count()).select_from(BLOBS).where(BLOBS.c.order_id == self._id)
        files = int(self._rows.execute(planned).scalar_one()) + int(self._rows.execute(left).scalar_one())
        return Totals(drive_id, files, int(self._rows.execute(errored).scalar_one()), counts)


def _blob(row: Row[tuple[object, ...]]) -> BlobRow:
    crc64 = None if row.crc64 is None else int.from_bytes(row.crc64, "big")
    return BlobRow(row.container, row.number, row.path, row.copied_to, row.length, row.done, crc64)


def stamp(moment_ns: int) -> str:
    """Return a moment as BOM names have it: `yyyymmddHHMM`, UTC."""
    return from_ns(moment_ns).strftime("%Y%m%d%H%M")
