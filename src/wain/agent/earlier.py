"""The devices that a seed filled before its present one (docs/decisions/0027): each is taken in when it has arrived."""

from dataclasses import dataclass

from wain.agent import seed as seeding
from wain.agent.home import SeedRecord
from wain.agent.seed import SeedWork
from wain.base.progress import Progress
from wain.base.sizes import format_bytes
from wain.job.seeding import SETTLED, GiveUp, Import, Wait, next_step

_AGAIN = "what it held is read again"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What became of the devices before: `awaited` of those on the road, and the news of the others in words."""

    awaited: tuple[Wait, ...]
    news: tuple[str, ...]


def bring_in(work: SeedWork, planned: SeedRecord, progress: Progress) -> Earlier:
    """Take in each earlier device that has arrived, and let go of each that will not.

    Raises:
        RemoteError: account or vault cannot be reached; the next job goes on.
    """
    awaited, news = [], []
    for seed in planned.earlier:
        if seed.state in SETTLED:
            continue
        found = _bring_in(work, seed, progress)
        if isinstance(found, Wait):
            awaited.append(found)
        else:
            progress.note(found)
            news.append(found)
    return Earlier(tuple(awaited), tuple(news))


def _bring_in(work: SeedWork, seed: SeedRecord, progress: Progress) -> Wait | str:
    seeding.announce(work)
    stage = seeding.stage_of(work, seed)
    seeding.note_handed_over(work, seed, stage)
    step = next_step(seed.state, stage)
    if isinstance(step, Import):
        return _import(work, seed, progress)
    if isinstance(step, GiveUp):
        seeding.give_up(work, seed)
        return f"order {seed.order}: {step.reason}; {_AGAIN}"
    assert isinstance(step, Wait), "what is sealed is on the road, has arrived, or never will"
    return step


def _import(work: SeedWork, seed: SeedRecord, progress: Progress) -> str:
    try:
        report = seeding.import_seed(work, seed, progress)
    except seeding.NotCopied as error:
        seeding.give_up(work, seed)
        return f"order {seed.order} did not arrive ({error}); {_AGAIN}"
    if report.deficits:
        lost = f"{len(report.deficits)} of {report.packs} packs arrived damaged or not at all"
        return f"order {seed.order}: {lost}; {_AGAIN}"
    return f"order {seed.order} has arrived: {report.packs} packs, {format_bytes(report.new_bytes)} of them new"
