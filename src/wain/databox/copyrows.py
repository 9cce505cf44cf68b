"""The rows of a data copy: its plan, how far it has come, what it found. One home for their SQL."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from wain.base.moment import from_ns, to_ns
from wain.databox.copylog import WARNINGS, Category, Copied, EntityType, Finding, Totals
from wain.databox.orders import Clock
from wain.databox.survey import Plan
from wain.databox.tables import BLOBS, CONTAINERS, COPIES, FINDINGS
from wain.databox.transfer import Checkpoint
from wain.storage.sql import Connection
from wain.wire.databox import CopiedContainer

_OF_BLOB: Final = "WHERE order_id = :id AND container = :container AND number = :number"
_ALL: Final = 2**62
"""More rows than there are."""
_FINDING: Final = """
INSERT INTO findings (order_id, path, category, message, type, left_behind)
VALUES (:id, :path, :category, :message, :type, :left_behind)
"""
_COPIED: Final = f"""
SELECT {", ".join(f"blobs.{column}" for column in BLOBS.columns)}, containers.copied_to AS into_container FROM blobs
JOIN containers ON blobs.order_id = containers.order_id AND blobs.container = containers.number
WHERE blobs.order_id = :id ORDER BY blobs.container, blobs.number
"""  # noqa: S608 - our own names


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
        row = self._rows.row(f"{COPIES.selection} WHERE order_id = :id", id=self._id)
        return None if row is None else Run(row.guid, row.started_ns, row.finished_ns)

    def begin(self, run: Run, plan: Plan) -> None:
        """Write a new plan down."""
        begun = {"guid": run.guid, "started_ns": run.started_ns, "finished_ns": run.finished_ns}
        self._rows.execute(COPIES.insertion(), {"order_id": self._id, **begun})
        for number, container in enumerate(plan.containers):
            row = {
                "order_id": self._id,
                "number": number,
                "name": container.name,
                "copied_to": container.copied_to,
                "seal_hash": container.seal_hash,
            }
            self._rows.execute(CONTAINERS.insertion(), row)
            blobs = (
                BLOBS.filled(
                    order_id=self._id,
                    container=number,
                    number=at,
                    path=blob.path,
                    copied_to=blob.copied_to,
                    length=blob.length,
                )
                for at, blob in enumerate(container.blobs)
            )
            self._rows.insert_many(BLOBS.insertion(), blobs)
        self.find(plan.findings)

    def finish(self, clock: Clock) -> Run:
        """Say that nothing is left to do; the first time counts."""
        ending = "UPDATE copies SET finished_ns = :now WHERE order_id = :id AND finished_ns IS NULL"
        self._rows.change(ending, id=self._id, now=to_ns(clock()))
        run = self.run()
        assert run is not None
        return run

    def taken(self, account: str) -> frozenset[str]:
        """Return the container names that copies of other orders use in an account."""
        found = """
            SELECT containers.copied_to FROM containers JOIN orders ON orders.id = containers.order_id
            WHERE orders.account = :account
            """
        return frozenset(self._rows.column(found, account=account))

    def containers(self) -> list[ContainerRow]:
        """Return the containers of the plan."""
        found = self._rows.rows(f"{CONTAINERS.selection} WHERE order_id = :id ORDER BY number", id=self._id)
        return [ContainerRow(row.number, row.name, row.copied_to, row.seal_hash) for row in found]

    def blobs(self) -> list[BlobRow]:
        """Return the blobs of the plan, in the order they are copied."""
        own = f"{BLOBS.selection} WHERE order_id = :id ORDER BY container, number"
        return [_blob(row) for row in self._rows.rows(own, id=self._id)]

    def made(self, blob: BlobRow) -> None:
        """Say that a blob was made in the account, empty."""
        self._rows.change(f"UPDATE blobs SET done = 0 {_OF_BLOB} AND done IS NULL", **self._key(blob))  # noqa: S608 - our own words

    def reached(self, blob: BlobRow, path: bytes, checkpoint: Checkpoint) -> None:
        """Write a checkpoint down, with what was found on the way to it."""
        crc64 = checkpoint.crc64.to_bytes(8, "big")
        reached = f"UPDATE blobs SET done = :done, crc64 = :crc64 {_OF_BLOB}"  # noqa: S608 - our own words
        self._rows.change(reached, done=checkpoint.done, crc64=crc64, **self._key(blob))
        self.find(Finding(path, found.category, found.words) for found in checkpoint.findings)

    def drop(self, blobs: Iterable[BlobRow], finding: Finding) -> None:
        """Take blobs out of the plan: they cannot be copied any more."""
        for blob in blobs:
            self._rows.change(f"DELETE FROM blobs {_OF_BLOB}", **self._key(blob))  # noqa: S608 - our own words
        self.find([finding])

    def _key(self, blob: BlobRow) -> dict[str, int]:
        return {"id": self._id, "container": blob.container, "number": blob.number}

    def find(self, findings: Iterable[Finding]) -> None:
        """Write findings down."""
        for one in findings:
            self._rows.change(
                _FINDING,
                id=self._id,
                path=one.path,
                category=one.category.value,
                message=one.message,
                type=one.type.value,
                left_behind=int(one.left_behind),
            )

    def findings(self, limit: int | None = None) -> Iterator[Finding]:
        """Yield what was found, oldest first."""
        own = f"{FINDINGS.selection} WHERE order_id = :id ORDER BY id LIMIT :limit"
        for row in self._rows.execute(own, {"id": self._id, "limit": _ALL if limit is None else limit}):
            yield Finding(
                row.path, Category(row.category), row.message, EntityType(row.type), left_behind=bool(row.left_behind)
            )

    def copied(self) -> Iterator[Copied]:
        """Yield what lies in the account."""
        for row in self._rows.execute(_COPIED, {"id": self._id}):
            blob = _blob(row)
            yield Copied(f"{row.into_container}/{blob.copied_to}", blob.length, blob.crc64 or 0)

    def copied_containers(self) -> list[CopiedContainer]:
        """Return the containers of the account that the copy filled."""
        named = {blob.container for blob in self.blobs()}
        rows = [row for row in self.containers() if row.number in named]
        return [CopiedContainer(row.name.decode(errors="replace"), row.copied_to) for row in rows]

    def totals(self, drive_id: str) -> Totals:
        """Return the counts for the end of the copy log."""
        per_category = "SELECT category, count(*) AS number FROM findings WHERE order_id = :id GROUP BY category"
        counts = {Category(name): int(count) for name, count in self._rows.rows(per_category, id=self._id)}
        warnings = {f"warning_{number}": category.value for number, category in enumerate(WARNINGS)}
        marks = ", ".join(f":{name}" for name in warnings)
        of_files = "SELECT count(DISTINCT path) AS number FROM findings WHERE order_id = :id AND type = :file"
        own = {"id": self._id, "file": EntityType.FILE.value}
        errored = self._rows.value(f"{of_files} AND category NOT IN ({marks})", **own, **warnings)
        left = self._rows.value(f"{of_files} AND left_behind = 1", **own)
        planned = self._rows.value("SELECT count(*) AS number FROM blobs WHERE order_id = :id", id=self._id)
        return Totals(drive_id, int(planned or 0) + int(left or 0), int(errored or 0), counts)


def _blob(row: Any) -> BlobRow:
    crc64 = None if row.crc64 is None else int.from_bytes(row.crc64, "big")
    return BlobRow(row.container, row.number, row.path, row.copied_to, row.length, row.done, crc64)


def stamp(moment_ns: int) -> str:
    """Return a moment as BOM names have it: `yyyymmddHHMM`, UTC."""
    return from_ns(moment_ns).strftime("%Y%m%d%H%M")
