"""One backup of everything the policy names, into one sink. Knows nothing of orders and seeds.

Order of writes: packs of data and tree, the index of what is new, then the manifest; the caller makes the manifest
count (a recovery point in the vault, or a sealed device), and only then is what was seen remembered as history.
"""

import platform
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from wain import __version__
from wain.agent.history import HistoryReader, HistoryWriter, set_interrupted_aside
from wain.agent.home import AgentHome, Head
from wain.agent.known import KnownChunks
from wain.agent.pipeline import Pipeline, PipelineParts
from wain.agent.scratch import sweep
from wain.agent.sinks import PackSink
from wain.agent.source import Remarks, held_still, source_of
from wain.agent.table_file import table_pieces
from wain.agent.tree_backup import Tally, TreeBackup, TreeParts, history_files
from wain.agent.view import LIVE, View
from wain.agent.walk import Walk, WalkPlan
from wain.agent.write_keys import AgentKeys
from wain.base.errors import Refused
from wain.base.ids import NO_POINT, NO_SERIES, ChunkId, PackId, PointId, SeedId, SeriesId
from wain.base.progress import Progress
from wain.base.sizes import MIB
from wain.chunk.cutter import Cutter
from wain.chunk.names import ChunkType, Namer
from wain.job.job import PROBLEMS_CAP, Problem
from wain.pack.writer import PackFor
from wain.policy.compression import LEVELS
from wain.policy.exclusion import Exclusions
from wain.policy.policy import Policy
from wain.storage.durable import make_dirs, writing
from wain.tree.manifest import Counts, Details, Manifest, PackRef, point_id, seal_details, sign_manifest

INDEX_CHUNK_BYTES: Final = 4 * MIB


@dataclass(frozen=True, slots=True)
class RunParts:
    """What one run works with. `skip` are directories never to enter: the agent's own, the device, a local vault."""

    home: AgentHome
    keys: AgentKeys
    policy: Policy
    known: KnownChunks
    sink: PackSink
    progress: Progress
    now: datetime
    skip: frozenset[tuple[int, int]] = frozenset()
    total_bytes: int | None = None
    """What the source holds, if known: for the time that is left."""
    job: str = ""
    """The job's id, for the commands around it."""

    def plan(self, view: View = LIVE) -> WalkPlan:
        """Return what the walk is told."""
        policy = self.policy
        return WalkPlan(
            policy.includes,
            Exclusions(policy.excludes),
            policy.exclude_caches,
            policy.max_file_bytes,
            policy.one_file_system,
            view.seen_as(self.skip),
            view,
            self.scratch,
        )

    @property
    def scratch(self) -> Path:
        """Return where what does not belong in memory is put meanwhile."""
        return self.home.agent / "scratch"


@dataclass(frozen=True, slots=True)
class Content:
    """What a recovery point is to hold: the pieces of `/`, the protected paths, and what was counted."""

    root: tuple[ChunkId, ...]
    roots: tuple[bytes, ...]
    tally: Tally
    series: SeriesId = NO_SERIES


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: the signed manifest that makes it a recovery point, and what was seen."""

    manifest: bytes
    point: PointId
    seq: int
    tally: Tally
    counts: Counts
    remarks: Remarks
    keep_history: Callable[[], None] = lambda: None
    """Call once the manifest counts."""


def run_backup_into(parts: RunParts, head: Head | None, seed: SeedId) -> Outcome:
    """Store what the policy names, and return the manifest to commit.

    Raises:
        Refused: nothing the policy names exists.
        WainError: the sink failed; everything durable so far is found again by the next run.
    """
    last, partial = history_files(parts.home.agent)
    make_dirs(last.parent, 0o700)
    resumed = set_interrupted_aside(partial)
    tally = Tally()
    keys = parts.keys
    source = source_of(parts.policy, parts.home.agent, keys.registration, parts.job)
    remarks = Remarks(parts.progress)
    record = HistoryWriter(partial, keys.registration)
    with Pipeline(pipeline_parts(parts)) as pipeline, record, ExitStack() as open_files:
        histories = tuple(
            open_files.enter_context(closing(HistoryReader(path, keys.registration))) for path in (resumed, last)
        )
        report, cutter = _reporter(tally), Cutter(keys.write.cutter_seed)
        sweep(parts.scratch)
        with held_still(source, remarks) as view:
            work = TreeParts(pipeline, parts.known, cutter, histories, record, parts.progress, parts.scratch, view)
            tree = TreeBackup(work, report, tally)
            parts.progress.phase("Backing up", parts.total_bytes)
            # Closed before the view is: a snapshot with open directories cannot be unmounted.
            with closing(iter(Walk(parts.plan(view), report))) as events:
                tree.run(events)
        if not (tally.files or tally.others or tally.selected):
            raise _nothing(tally)
        made = make_point(parts, pipeline, (head, seed), Content(tree.root, parts.policy.includes, tally))
        segment_packs = pipeline.segment_packs()

    def keep_history() -> None:
        record.publish(last, segment_packs)
        with writing(str(resumed)):
            resumed.unlink(missing_ok=True)

    return replace(made, remarks=remarks, keep_history=keep_history)


def pipeline_parts(parts: RunParts) -> PipelineParts:
    """Return what the run's pipeline works with."""
    write = parts.keys.write
    return PipelineParts(
        PackFor(parts.keys.registration, write.restore_public),
        Namer(write.chunk_keys),
        parts.known,
        parts.sink,
        LEVELS[parts.policy.compression],
    )


def make_point(parts: RunParts, pipeline: Pipeline, follows: tuple[Head | None, SeedId], content: Content) -> Outcome:
    """Make all of a run durable, and return the signed manifest that names it."""
    pipeline.flush()
    tally, keys = content.tally, parts.keys
    counts = tally.counts(pipeline.new_bytes, pipeline.stored_bytes)
    index = _store_index(parts.known, pipeline)
    details = Details(content.root, index, platform.node(), content.roots, counts, f"wain {__version__}")
    manifest = replace(
        _manifest(parts, *follows),
        packs=_refs(parts.known, pipeline),
        details=seal_details(details, keys.write.restore_public),
        series=content.series,
    )
    body = sign_manifest(manifest, keys.sign_seed)
    return Outcome(body, point_id(body), manifest.seq, tally, counts, Remarks(parts.progress))


def _nothing(tally: Tally) -> Refused:
    hint = "Check the paths with 'wain policy show'."
    if not tally.problems:
        return Refused("nothing that the policy names could be read", hint)
    first = tally.problems[0]
    path = first.path.decode(errors="backslashreplace")
    return Refused(f"nothing that the policy names could be read: {path}: {first.reason}", hint)


def _manifest(parts: RunParts, head: Head | None, seed: SeedId) -> Manifest:
    """Return a manifest that follows `head`, still without content."""
    seq, previous = (1, NO_POINT) if head is None else (head.seq + 1, head.point)
    return Manifest(parts.keys.registration, seq, previous, parts.now, seed, (), b"")


def _reporter(tally: Tally) -> Callable[[Problem], None]:
    def report(problem: Problem) -> None:
        tally.skipped += 1
        if len(tally.problems) < PROBLEMS_CAP:
            tally.problems.append(problem)

    return report


def _refs(known: KnownChunks, pipeline: Pipeline) -> tuple[PackRef, ...]:
    """Return every pack the point needs, by id: earlier ones that hold its chunks, and all of this run."""
    needed: dict[PackId, PackRef] = {pack: known.packs[pack] for pack in pipeline.used}
    needed.update((ref.id, ref) for ref in pipeline.packs)
    return tuple(sorted(needed.values(), key=lambda ref: ref.id))


def _store_index(known: KnownChunks, pipeline: Pipeline) -> tuple[tuple[ChunkId, ...], ...]:
    """Store every index table that the vault does not keep yet; return the chunks of each, oldest first.

    Call after `Pipeline.flush`.
    """
    known.spill()
    known.compact()
    stored: list[tuple[ChunkId, ...]] = []
    for number in range(known.table_count()):
        note = known.note(number)
        if note is None:
            before = len(pipeline.packs)
            pieces = table_pieces(known.table_path(number), INDEX_CHUNK_BYTES)
            chunks = tuple([pipeline.add(ChunkType.INDEX, piece) for piece in pieces])
            pipeline.flush()
            # Only now are they durable: a note never speaks of packs that may not exist.
            note = known.set_note(number, chunks, tuple([ref.id for ref in pipeline.packs[before:]]))
        pipeline.used.update(note.packs)
        stored.append(note.chunks)
    return tuple(stored)
