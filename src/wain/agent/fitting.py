"""Does it fit: what the policy's files hold, and whether that will probably go onto a device.

Only compressed sizes count for a device, and nobody knows them before the data is read. So a guess is a remark, and the
refusal comes with the pack that would go over (`wain.agent.sinks.DeviceSink`).
"""

import stat as modes
from dataclasses import dataclass

from wain.agent.walk import Entered, Walk, WalkPlan
from wain.base.progress import Progress
from wain.base.sizes import format_bytes
from wain.order.sku import Sku
from wain.pageblob.parity import Strength
from wain.policy.capacity import expected_bytes


def source_bytes(plan: WalkPlan) -> int:
    """Return what the files of a plan hold, in bytes, without reading any."""
    total = 0
    for event in Walk(plan, lambda _: None):
        if isinstance(event, Entered):
            total += sum(found.stat.st_size for found in event.leaves if modes.S_ISREG(found.stat.st_mode))
    return total


@dataclass(frozen=True, slots=True)
class Room:
    """What one server's seed may take: of its SKU, of what is free on the device; `parity` goes with its packs."""

    sku: Sku
    free_bytes: int
    parity: Strength | None


def remark_on_size(total: int, given: Room, progress: Progress) -> None:
    """Say beforehand when a source will probably not fit on the device, by the seed's typical compression.

    What may go on on another device always fits.
    """
    if given.sku.may_span:
        return
    least, _ = expected_bytes(total, given.parity)
    room = min(given.sku.limit_bytes, given.sku.usable_bytes, given.free_bytes)
    if least > room:
        progress.note(
            f"{format_bytes(total)} are to be protected and the device takes {format_bytes(room)}: it fits only if the "
            "files compress or repeat themselves well; the job stops with the exact shortfall if they do not"
        )
