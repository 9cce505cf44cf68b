"""Restores files of a recovery point. It never knows which road the point took into the vault."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wain.agent.browse import PointView
from wain.agent.point_packs import StillTravelling
from wain.agent.restore_conflict import Conflict, Policy
from wain.agent.restore_pipeline import Decoded, Decoding
from wain.agent.restore_plan import Batch, Planner, selection
from wain.agent.restore_report import RestoreReport, Tally
from wain.agent.restore_root import TargetRoot
from wain.agent.restore_writer import RestoreWriter
from wain.base.errors import Refused
from wain.base.progress import Progress

__all__ = ["Conflict", "Policy", "RestoreReport", "RestoreRequest", "restore"]

REPORT_BYTES: Final = 4 << 20
"""Progress is told after so many bytes."""


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore, and where to.

    `paths` are absolute paths in the point; none means everything. A file lands at `to` + its absolute path. With
    `durable` the restore returns when its bytes survive a power cut.
    """

    to: Path
    paths: tuple[bytes, ...] = ()
    policy: Policy = field(default_factory=Policy)
    durable: bool = True


def restore(view: PointView, request: RestoreRequest, progress: Progress) -> RestoreReport:
    """Restore, and return what became of it. What one file suffers is in the report; all others are restored.

    A repeat after an interruption goes on: entries that are there and complete are left alone.

    Raises:
        Refused: a path is not in the point, the target cannot be used, or another restore is writing into it.
        OutOfSpace, WriteFailed, DeviceLost: the target takes no more. RemoteError: the vault gives no more.
    """
    if request.policy.in_place and request.policy.conflict is not Conflict.OVERWRITE:
        raise Refused("restoring in place changes existing files", "Say so with the conflict policy 'overwrite'.")
    for names in selection(request.paths):
        view.entry(b"/" + b"/".join(names))
    tally = Tally()
    progress.phase("restore", None if request.paths else view.details.counts.source_bytes)
    with TargetRoot(request.to) as root, RestoreWriter(root, request.policy, tally) as writer:
        _Run(view, writer, tally, progress).all(request.paths)
        if request.durable:
            progress.phase("make durable")
            root.sync()
    return tally.report(view.point, request.to)


class _Run:
    def __init__(self, view: PointView, writer: RestoreWriter, tally: Tally, progress: Progress) -> None:
        self._view = view
        self._writer = writer
        self._tally = tally
        self._progress = progress
        self._planner = Planner(view, writer, tally)
        self._told_bytes = 0
        self._told_items = 0

    def all(self, paths: tuple[bytes, ...]) -> None:
        for batch in self._planner.batches(paths):
            self._content(batch)
            alone = [item for item in batch.links if not self._writer.nodes.link(item)]
            for more in self._planner.again(alone):
                self._content(more)
            for place in batch.left:
                self._writer.leave(place)
        self._tell()

    def _content(self, batch: Batch) -> None:
        if not batch.packs:
            return
        with Decoding(batch, self._view.packs, self._view.namer) as decoding:
            for result in decoding:
                if isinstance(result, Decoded):
                    self._write(result)
                else:
                    damage = not isinstance(result.error, StillTravelling)
                    for want in result.wants:
                        self._writer.fail(want[0], str(result.error), damage=damage)
                if self._tally.written_bytes - self._told_bytes >= REPORT_BYTES:
                    self._tell()

    def _write(self, decoded: Decoded) -> None:
        writer, plain, bad = self._writer, decoded.plain, decoded.bad
        for item, at, offset, length, chunk in decoded.wants:
            if item.failed:
                continue
            if bad and chunk in bad:
                writer.fail(item, bad[chunk], damage=True)
            elif length == item.data and not item.starts and not item.in_place:
                writer.whole(item, plain[offset : offset + length])
            else:
                writer.piece(item, at, plain[offset : offset + length])

    def _tell(self) -> None:
        done, items = self._tally.written_bytes, self._tally.items
        self._progress.advance(done - self._told_bytes, items - self._told_items)
        self._told_bytes, self._told_items = done, items
