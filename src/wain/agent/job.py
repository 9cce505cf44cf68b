"""Runs one backup job: asks the seeding rules what to do, does it, and writes the job's record."""

import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from wain.agent import custody
from wain.agent import seed as seeding
from wain.agent.backup_run import Outcome, RunParts, run_backup_into
from wain.agent.earlier import bring_in
from wain.agent.fitting import Room, remark_on_size, source_bytes
from wain.agent.home import AgentHome, Head, SeedRecord
from wain.agent.known import KnownChunks
from wain.agent.sinks import DeviceFull, DeviceSink, PackSink, VaultSink
from wain.agent.stream_run import Stream, run_stream_into
from wain.agent.write_keys import AgentKeys
from wain.base.errors import Corrupt, Refused, WainError
from wain.base.ids import NO_SEED, PackId, PointId, RegistrationId, SeedId
from wain.base.progress import Progress
from wain.base.sizes import format_bytes
from wain.device.find import check_root
from wain.device.label import sku_of
from wain.job.job import Job, JobKind, JobState
from wain.job.seeding import (
    COMPLETED,
    NEXT_DEVICE,
    SETTLED,
    UNSEALED,
    BackUpOnline,
    GiveUp,
    Import,
    NameNext,
    NotYet,
    SeedState,
    Step,
    Wait,
    WriteDevice,
    next_step,
)
from wain.order.sku import Sku
from wain.pageblob.parity import STRENGTHS
from wain.policy.policy import InitialBackup, Policy
from wain.wire.databox import CustodyApi, DataBoxApi
from wain.wire.vault import Presence, RecoveryPoint, VaultApi

SAFE_TO_SHIP = "The device is written, read back and sealed: safe to ship"


@dataclass(frozen=True, slots=True)
class Services:
    """What a job talks to. `skip` are directories that must not be backed up: the home, a local vault, a device."""

    vault: VaultApi
    databox: DataBoxApi | None = None
    skip: tuple[Path, ...] = ()
    keeper: CustodyApi | None = None
    """Who keeps the chain of custody; None: nobody (Azure does not)."""
    witness: custody.Witness | None = None
    """Who speaks for the vault in that chain."""


@dataclass(frozen=True, slots=True)
class _Context:
    home: AgentHome
    keys: AgentKeys
    policy: Policy
    services: Services
    clock: Callable[[], datetime]
    progress: Progress

    @property
    def rid(self) -> RegistrationId:
        return self.keys.registration

    @property
    def seed_work(self) -> seeding.SeedWork:
        return seeding.SeedWork(self.home, self.keys, self.services.vault, self.services.databox, self.clock)


def run_backup(
    home: AgentHome,
    services: Services,
    clock: Callable[[], datetime],
    progress: Progress,
    stream: Stream | None = None,
) -> Job:
    """Run one backup job now and return its record, which is also kept in the home.

    With a stream, the job keeps that alone, in a recovery point of its own, and needs no policy.

    Raises:
        Refused: not registered, no policy, or another job is running (no record is written then).
        WainError: the job failed; its record says why, and repeating the job goes on where it stopped.
    """
    home.require_enrolment()
    policy = home.require_policy() if stream is None else home.policy() or Policy((stream.path,))
    context = _Context(home, home.require_keys(), policy, services, clock, progress)
    with home.lock():
        _bury_the_dead(home, clock())
        if stream is not None:
            _check_stream(context)
        kind = JobKind.BACKUP if stream is None else JobKind.STREAM
        job = Job(os.urandom(8).hex(), kind, JobState.RUNNING, clock())
        home.save_job(job)
        try:
            job = _run(context, job) if stream is None else _stream(context, job, stream)
        except BaseException as error:
            state, message = _end_of(error)
            with suppress(WainError):  # What ended the job is the news, not that its record could not be written.
                home.save_job(replace(job, state=state, ended_at=clock(), message=message))
            raise
        job = replace(job, ended_at=clock())
        home.save_job(job)
        return job


def _end_of(error: BaseException) -> tuple[JobState, str]:
    """Return the state and the words of a job that this error ended."""
    if isinstance(error, WainError):
        return JobState.FAILED, str(error)
    if isinstance(error, KeyboardInterrupt):
        return JobState.CANCELLED, "interrupted; run it again to go on"
    return JobState.FAILED, f"unexpected {type(error).__name__}: {error}"


def _bury_the_dead(home: AgentHome, now: datetime) -> None:
    """End the records of jobs that were killed: who holds the lock knows that none of them runs."""
    for job in home.jobs():
        if job.state is JobState.RUNNING:
            message = "it was killed, or the machine went down; the next job goes on"
            home.save_job(replace(job, state=JobState.FAILED, ended_at=now, message=message))


def _run(context: _Context, job: Job) -> Job:
    if context.policy.initial is InitialBackup.ONLINE:
        return _online(context, job)
    planned = seeding.plan_seed(context.home, context.policy)
    before = bring_in(context.seed_work, planned, context.progress)
    seed = context.home.seed() or planned
    # What is settled stays settled: nobody needs to answer for an order that is over.
    stage = None if seed.state in SETTLED else seeding.stage_of(context.seed_work, seed)
    step = next_step(seed.state, stage)
    if isinstance(step, Import) and before.awaited:
        step = before.awaited[0]  # The recovery point needs what the devices before bring.
    seeding.note_handed_over(context.seed_work, seed, stage)
    job = _do(context, job, seed, step)
    job = replace(job, notes=(*before.news, *job.notes))
    for one in (*seed.earlier, seed):
        job = _with_custody(context, job, one)
    return job


def _with_custody(context: _Context, job: Job, seed: SeedRecord) -> Job:
    """Hand in what this server has to say in the chain of custody; what hinders that is a note of the job."""
    keeper = context.services.keeper
    if keeper is None:
        return job
    name = context.home.require_enrolment().registration.name
    handing = custody.HandingIn(context.home, context.keys, name, keeper, context.services.witness)
    words = custody.try_to_hand_in(handing, SeedId(bytes.fromhex(seed.id)), context.progress.note)
    return replace(job, notes=(*job.notes, words)) if words else job


def _do(context: _Context, job: Job, seed: SeedRecord, step: Step) -> Job:
    match step:
        case WriteDevice():
            return _write_device(context, job, seed)
        case NameNext(message):
            return replace(job, state=JobState.WAITING, message=message)
        case NotYet(_, message):
            return replace(job, state=JobState.FAILED, message=message)
        case Wait(_, message):
            return _wait(context, job, message)
        case Import():
            return _import(context, job, seed)
        case GiveUp(reason):
            seeding.give_up(context.seed_work, seed)
            context.progress.note(reason)
            done = _online(context, job)
            return replace(done, message=f"{reason}; backed up over the wire instead")
        case BackUpOnline():
            return _online(context, job)


def _write_device(context: _Context, job: Job, seed: SeedRecord) -> Job:
    root = seeding.find_device(context.policy)
    work = context.seed_work
    previous = custody.newest(context.services.keeper, seed.order)
    plan = seeding.DevicePlan(root, context.policy.parity_percent, previous)
    with closing(seeding.open_device(work, seed, plan, context.clock)) as writer:
        if writer.sealed is not None:
            seeding.remember_sealed(work, writer)
            return _sealed(context, job)
        if seed.state is SeedState.FULL:
            seeding.seal_full(work, writer, context.progress)
            return _sealed(context, job)
        with closing(_known(context, {pack.id for pack in writer.written})) as known:
            room = Room(_sku(context, seed, root), writer.free_bytes, STRENGTHS[plan.parity_percent])
            stored = sum(pack.placement.length for pack in writer.written)
            parts = _parts(context, known, DeviceSink(writer, room, stored), (Path(root),))
            parts = replace(parts, total_bytes=_total(context, parts), job=job.id)
            if not stored:
                remark_on_size(parts.total_bytes or 0, room, context.progress)
            try:
                outcome, _ = seeding.write_seed(work, parts, writer, _head(context))
            except DeviceFull:
                if not writer.written:
                    raise  # Not even one pack: another device of this kind would help nobody.
            else:
                return replace(_counted(job, outcome), message=SAFE_TO_SHIP)
    full = replace(context.home.seed() or seed, state=SeedState.FULL)
    context.home.save_seed(full)
    context.progress.note(f"the device of order {seed.order} is full")
    return _write_device(context, job, full)


def _sealed(context: _Context, job: Job) -> Job:
    """Return the job that found its device sealed, or sealed it because it was full."""
    seed = context.home.seed()
    if seed is not None and seed.state is SeedState.CONTINUED:
        return replace(job, state=JobState.WAITING, message=f"{SAFE_TO_SHIP}. {NEXT_DEVICE}")
    return replace(job, state=JobState.COMPLETED, message=SAFE_TO_SHIP)


def _wait(context: _Context, job: Job, message: str) -> Job:
    """Say that the device is on the road; with gap cover, protect what changed meanwhile over the wire."""
    seeding.announce(context.seed_work)
    if not context.policy.gap_cover:
        return replace(job, state=JobState.WAITING, message=message)
    done = _online(context, job)
    # Skipped files make the run a warning, as in any other; else the job is what the seed's words say: waiting.
    state = JobState.WAITING if done.state is JobState.COMPLETED else done.state
    return replace(done, state=state, message=message)


def _import(context: _Context, job: Job, seed: SeedRecord) -> Job:
    try:
        report = seeding.import_seed(context.seed_work, seed, context.progress)
    except seeding.NotCopied as error:
        # The device is wiped after the data copy: what is not in the account now will not come.
        seeding.give_up(context.seed_work, seed)
        done = _online(context, job)
        return replace(done, message=f"the seed did not arrive ({error}); backed up over the wire instead")
    mended = f"{report.repaired} of {report.packs} packs of the seed arrived damaged and were repaired from parity"
    if report.repaired:
        context.progress.note(mended)
    if report.point is not None:
        counts = replace(job, stored_bytes=report.new_bytes, point=report.point)
        message = f"{COMPLETED}; {mended}" if report.repaired else COMPLETED
        return replace(counts, state=JobState.COMPLETED, message=message)
    lost = f"{len(report.deficits)} of {report.packs} packs of the seed arrived damaged or not at all"
    context.progress.note(f"{lost}; what they held is read again and sent over the wire")
    done = _online(context, job)
    return replace(done, message=f"{COMPLETED}; {lost}, sent {format_bytes(done.stored_bytes)} over the wire instead")


def _online(context: _Context, job: Job) -> Job:
    def run(parts: RunParts, head: Head | None) -> Outcome:
        return run_backup_into(replace(parts, total_bytes=_total(context, parts)), head, NO_SEED)

    return _over_the_wire(context, job, run)


def _over_the_wire(context: _Context, job: Job, run: Callable[[RunParts, Head | None], Outcome]) -> Job:
    vault = context.services.vault
    with closing(_known(context, set())) as known:
        # A copy in one step, because the job adds to it.
        sink = VaultSink(vault, context.rid, lambda: list(known.packs))
        parts = replace(_parts(context, known, sink, ()), job=job.id)
        outcome = run(parts, _head(context))
        vault.commit_point(context.rid, outcome.manifest)
        context.home.save_head(Head(outcome.seq, outcome.point))
        outcome.keep_history()
    return replace(_counted(job, outcome), point=outcome.point)


def _check_stream(context: _Context) -> None:
    """Refuse a stream while the seed is being made.

    It would go over the wire, which the policy says the first backup does not; and a job that does not hold the device
    takes what was written to it so far for absent.

    Raises:
        Refused: the first backup goes by device, and is not sealed yet.
    """
    if context.policy.initial is InitialBackup.ONLINE:
        return
    seed = context.home.seed()
    if seed is None or seed.state in UNSEALED:
        hint = "Run `wain backup` until the device is sealed; from then on a stream goes over the wire, like gap cover."
        raise Refused("the first backup travels by device, and a stream can only follow it once that is sealed", hint)


def _stream(context: _Context, job: Job, stream: Stream) -> Job:
    seed = context.home.seed()
    if seed is not None and seed.state is SeedState.SEALED:
        seeding.announce(context.seed_work)
    return _over_the_wire(context, job, lambda parts, head: run_stream_into(parts, head, stream))


def _known(context: _Context, on_device: set[PackId]) -> KnownChunks:
    """Open the chunk store and find out which of its packs exist."""
    known = KnownChunks(context.home.agent / "index")
    asked = [pack for pack in known.packs if pack not in on_device]
    answers = context.services.vault.presence(context.rid, asked)
    known.settle_presence(pack for pack, said in zip(asked, answers, strict=True) if said is Presence.ABSENT)
    return known


def _parts(context: _Context, known: KnownChunks, sink: PackSink, device: tuple[Path, ...]) -> RunParts:
    # A device that is still connected is no source, in a job over the wire either.
    seed = context.home.seed()
    roots = () if seed is None else (seed.root, *(one.root for one in seed.earlier))
    devices = [Path(path) for path in (context.policy.device, *roots) if path]
    skip = [context.home.root, *context.services.skip, *devices, *device]
    return RunParts(
        context.home, context.keys, context.policy, known, sink, context.progress, context.clock(), _identities(skip)
    )


def _total(context: _Context, parts: RunParts) -> int:
    """Return what the source holds: as the last job saw it, or measured when there was none."""
    seen = [job.source_bytes for job in context.home.jobs() if job.kind is JobKind.BACKUP and job.files]
    return seen[-1] if seen else source_bytes(parts.plan())


def _sku(context: _Context, seed: SeedRecord, root: str) -> Sku:
    """Return what bounds a seed."""
    databox = context.services.databox
    assert databox is not None, "the step to write a device comes from its order"
    return sku_of(databox.order(seed.order).sku, check_root(root).label)


def _identities(paths: Iterable[Path]) -> frozenset[tuple[int, int]]:
    found = []
    for path in paths:
        try:
            here = os.stat(path)
        except OSError:
            continue  # What cannot be looked at will not be walked either.
        found.append((here.st_dev, here.st_ino))
    return frozenset(found)


def _head(context: _Context) -> Head | None:
    """Return the manifest that the next one follows.

    The vault may be one point ahead (this agent crashed right behind the commit); it may never be behind, except for
    a seed that is still on the road or was lost.

    Raises:
        Corrupt: the vault does not have what it once confirmed: it was rolled back, or this agent was.
    """
    mine = context.home.head()
    points = context.services.vault.points(context.rid)
    newest = points[-1] if points else None
    seed = context.home.seed()
    carried = None if seed is None or not seed.point else PointId(bytes.fromhex(seed.point))
    if newest is not None and (mine is None or newest.seq > mine.seq):
        return Head(newest.seq, newest.id)
    if mine is not None and mine.point != carried and not _has(points, mine):
        raise Corrupt("the vault", f"recovery point {mine.seq} ({mine.point.hex()[:12]}), once confirmed, is gone")
    return mine


def _has(points: list[RecoveryPoint], head: Head) -> bool:
    return any(point.id == head.point for point in points)


def _counted(job: Job, outcome: Outcome) -> Job:
    tally, counts = outcome.tally, outcome.counts
    return replace(
        job,
        state=JobState.COMPLETED_WITH_WARNINGS if tally.skipped or outcome.remarks.warnings else JobState.COMPLETED,
        notes=tuple(outcome.remarks.lines),
        files=tally.files,
        directories=tally.directories,
        source_bytes=tally.source_bytes,
        new_bytes=counts.new_bytes,
        stored_bytes=counts.stored_bytes,
        skipped=tally.skipped,
        problems=tuple(tally.problems),
    )
