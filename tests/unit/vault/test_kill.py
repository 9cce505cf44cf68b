"""Fail the n-th call, n = 1, 2, ..., until the verb passes; then call it again. The end must be the same end.

The fault strikes before or after the call took effect (a kill right before or right behind a write), in the objects
or in the catalog; then the same process or a new one goes on.
"""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from unit.vault.ground import Failing, Ground, Shipment, commit, damage, put, put_pack, until_it_passes
from wain.base.errors import RemoteError, WriteFailed
from wain.base.progress import Silent
from wain.keys import signing
from wain.pack.slices import Slice
from wain.policy.retention import Retention
from wain.vault.catalog import Catalog
from wain.vault.collect import CollectOptions
from wain.vault.service import Vault


@dataclass
class Story:
    """`before` leads up to the verb; `verb` is called again and again."""

    before: Callable[[Vault, Ground], object]
    verb: Callable[[Vault, Ground, object], object]
    enrol: bool = True


def _ship(vault, ground, spoil=False):
    shipment = Shipment(ground.server, ground.server.packs(3), blob_limit=1 << 15)
    ref = shipment.arrive(ground.blobs)
    if spoil:
        shipment.spoil(ground.blobs, shipment.packs[1])
    cover = ground.server.packs(1)
    put(vault, ground.server, cover)
    vault.announce_seed(ground.server.rid, shipment.seal)
    vault.commit_point(ground.server.rid, ground.server.manifest([*shipment.packs, *cover], 2, shipment.point))
    return shipment, ref


def _receive(vault, ground):
    _, ref = _ship(vault, ground)
    body = vault.import_seed(ground.server.rid, ref, Silent()).receipt.body
    return body, signing.sign(ground.server.sign_seed, signing.COUNTERSIGN, body)


def _age(vault, ground, collect=False):
    server, previous = ground.server, bytes(32)
    for seq in range(1, 4):
        previous = commit(vault, server, server.packs(2), seq, previous).id
        ground.clock.pass_(days=1)
    vault.set_retention(server.rid, Retention(7, 0, 0, 0))
    ground.clock.pass_(days=30)
    if collect:
        vault.expire()
        vault.gc()
        ground.clock.pass_(days=14)


def _spoil(vault, ground):
    packs = ground.server.packs(3)
    commit(vault, ground.server, packs)
    damage(ground.objects, ground.server, packs[0].id)


def _aside(vault, ground):
    """A pack whose bad copy has no row yet, as a kill in an import leaves it."""
    [pack] = ground.server.packs(1)
    ground.objects.create(f"packs/{ground.server.rid.hex()}/{pack.id.hex()[:2]}/{pack.id.hex()}", pack.stored)
    damage(ground.objects, ground.server, pack.id)
    return pack


STORIES = {
    "register": Story(lambda v, g: None, lambda v, g, _: v.register(g.server.registration, g.server.slots), False),
    "put": Story(lambda v, g: g.server.pack(), lambda v, g, p: put_pack(v, g.server.rid, p.id, p.stored)),
    "heal": Story(_aside, lambda v, g, p: put_pack(v, g.server.rid, p.id, p.stored)),
    "commit": Story(lambda v, g: g.server.packs(2), lambda v, g, packs: commit(v, g.server, packs)),
    "announce": Story(
        lambda v, g: Shipment(g.server, g.server.packs(2)), lambda v, g, s: v.announce_seed(g.server.rid, s.seal)
    ),
    "release": Story(_ship, lambda v, g, shipped: v.release_seed(g.server.rid, shipped[0].seed)),
    "import": Story(_ship, lambda v, g, shipped: v.import_seed(g.server.rid, shipped[1], Silent())),
    "import of a damaged seed": Story(
        lambda v, g: _ship(v, g, True), lambda v, g, shipped: v.import_seed(g.server.rid, shipped[1], Silent())
    ),
    "countersign": Story(_receive, lambda v, g, signed: v.countersign(g.server.rid, *signed)),
    "retention": Story(lambda v, g: None, lambda v, g, _: v.set_retention(g.server.rid, Retention(7, 4, 3, 1))),
    "expire": Story(_age, lambda v, g, _: v.expire()),
    "collect": Story(lambda v, g: _age(v, g, True), lambda v, g, _: v.gc(CollectOptions(override=True))),
    "scrub": Story(_spoil, lambda v, g, _: v.scrub(Slice())),
    "rebuild": Story(_ship, lambda v, g, _: v.rebuild()),
}


class _FailingWrites:
    """Makes the n-th write transaction of the catalog fail, before it begins or behind its commit."""

    def __init__(self, monkeypatch, at, after):
        self.struck = False
        left = at
        true = Catalog.write

        @contextlib.contextmanager
        def write(catalog):
            nonlocal left
            left -= 1
            if left == 0 and not after:
                self.struck = True
                raise WriteFailed("the catalog", "cut before")
            with true(catalog) as connection:
                yield connection
            if left == 0:
                self.struck = True
                raise WriteFailed("the catalog", "cut behind")

        monkeypatch.setattr(Catalog, "write", write)


def _copy(prepared: Ground, root: Path) -> Ground:
    other = Ground(root)
    shutil.copytree(prepared.root, root)
    other.objects._bodies = dict(prepared.objects._bodies)
    other.blobs, other.server, other.clock.now = prepared.blobs, prepared.server, prepared.clock.now
    return other


def _end(ground: Ground) -> tuple[object, object]:
    """What must be the same: objects by name, and rows. Spent loss numbers are no difference."""
    names = {name for name in ground.objects._bodies if not name.startswith("losses/")}
    facts = ground.facts()
    facts["facts"] = [row for row in facts["facts"] if not row[1].startswith("losses/")]
    facts["registrations"] = [row[:-1] for row in facts["registrations"]]
    return names, facts


WHERE = (
    ("objects before", "same process"),
    ("objects after", "new process"),
    ("catalog before", "new process"),
    ("catalog after", "same process"),
)


@pytest.mark.parametrize(("where", "again"), WHERE)
@pytest.mark.parametrize("name", STORIES)
def test_a_fault_at_every_call(tmp_path, monkeypatch, name, where, again):
    story = STORIES[name]
    prepared = Ground(tmp_path / "prepared")
    with prepared.enrolled() if story.enrol else prepared.vault() as vault:
        given = story.before(vault, prepared)
    straight = _copy(prepared, tmp_path / "straight")
    with straight.vault() as vault:
        story.verb(vault, straight, given)
    wanted = _end(straight)
    kind, _, when = where.partition(" ")

    def at(number: int) -> bool:
        ground = _copy(prepared, tmp_path / f"{number}")
        with contextlib.ExitStack() as stack:
            fault = faulty = Failing(ground.objects, number if kind == "objects" else 0, after=when == "after")
            with contextlib.suppress(RemoteError):
                vault = stack.enter_context(ground.vault(faulty))
                with monkeypatch.context() as patch:
                    if kind == "catalog":
                        fault = _FailingWrites(patch, number, when == "after")
                    story.verb(vault, ground, given)
                assert not fault.struck, "a fault was swallowed"
            faulty.disarm()
            if again == "same process" and "vault" in locals():
                story.verb(vault, ground, given)
            else:
                stack.close()
                with ground.vault() as fresh:
                    story.verb(fresh, ground, given)
        assert _end(ground) == wanted
        with ground.vault() as fresh:
            before = ground.facts()
            fresh.rebuild()
            assert ground.facts() == before, "the catalog is not what the objects add up to"
        shutil.rmtree(ground.root)
        return fault.struck

    assert until_it_passes(at) >= 1
