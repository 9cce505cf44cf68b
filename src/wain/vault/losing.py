"""How a vault gives up packs: the loss record first, then the packs, then the rows.

The record's number is the registration's generation, so that an agent's cached presence is void before the first
pack goes; and a verb that was killed half-way is finished by `adopt` from the record.
"""

from collections.abc import Callable, Iterable

from wain.base.ids import PackId, RegistrationId
from wain.vault.adopting import take_in
from wain.vault.objects import loss_name, pack_name
from wain.vault.records import Loss, LossReason, encode
from wain.vault.site import Site


def give_up(
    site: Site, rid: RegistrationId, packs: Iterable[PackId], reason: LossReason, remove: Callable[[str], None]
) -> None:
    """Give up packs: `remove` deletes one object, or sets it aside. The caller holds the lock."""
    lost = tuple(sorted(packs))
    if not lost:
        return
    record = encode(Loss(rid, site.clock(), reason, lost), site.signer)
    number = site.row(rid).generation + 1
    while not site.objects.create(loss_name(rid, number), record):
        # A verb of another process was killed after its record: its number is spent.
        take_in(site, loss_name(rid, number), site.objects.read(loss_name(rid, number)))
        number += 1
    for pack in lost:
        if site.objects.size(pack_name(rid, pack)) is not None:
            remove(pack_name(rid, pack))
    take_in(site, loss_name(rid, number), record)
