"""One flipped bit, anywhere: found without keys by the right command, named to the leaf, and never restored.

Every kind of file on the device, in the account and in the vault gets `WAIN_FLIPS` flips (default 3) at places drawn
with `WAIN_SEED`; the first, the last and, in packs, a footer byte are always among them when there is room.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from damage import marks
from damage.marks import Mark
from journeys.judges import assert_equal
from journeys.sources import small_tree
from journeys.story import Result, Story
from oracle.walker import compare

FLIPS = int(os.environ.get("WAIN_FLIPS", "3"))
SEED = int(os.environ.get("WAIN_SEED", str(time.time_ns() % 1_000_000)))
CACHES = re.compile(r"catalog\.sqlite|-wal$|-shm$|\.lock$|(^|/)lock$")
"""Files that hold nothing which is not elsewhere. A flip there need not be found, but must never do harm."""


@dataclass(slots=True)
class World:
    """A finished story, with the device still on the desk and the copy still in the account."""

    story: Story
    packs: list[Path]

    def places(self) -> dict[str, list[Path]]:
        return {"device": [self.story.device], "account": self.story.accounts(), "vault": [self.story.vault]}

    def verify(self, place: str) -> Result:
        """Run the keyless verification that is meant for a place."""
        name = {"device": "device verify", "account": "order verify", "vault": "vault verify"}[place]
        return self.story.attempt(*self.story.command(name).args)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("flips")
    source = base / "source"
    small_tree(source, megabytes=12)
    story = Story(base / "story", source)
    story.tell_all(until="import")
    yield World(story, marks.packs_of_vault(story.vault))
    shutil.rmtree(base)


def files_by_kind(roots: list[Path]) -> dict[str, list[Path]]:
    """Group files by their name with every run of digits and hex taken out, so that each kind is hit."""
    kinds: dict[str, list[Path]] = {}
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                kind = re.sub(r"[0-9a-f]{8,}|\d+", "N", str(path.relative_to(root)))
                kinds.setdefault(kind, []).append(path)
    return kinds


def draw(dice: random.Random, path: Path, packs: list[marks.PackAt]) -> list[tuple[int, int]]:
    """Return (offset, bit) pairs to flip in a file."""
    size = path.stat().st_size
    offsets = [0, size - 1, *(dice.randrange(size) for _ in range(FLIPS))]
    offsets += [pack.start + pack.length - marks.FOOTER_BYTES + 64 for pack in packs[:1]]
    return [(offset, dice.randrange(8)) for offset in dict.fromkeys(offsets)]


@pytest.mark.parametrize("place", ["device", "account", "vault"])
def test_every_flip_is_found_and_named(world: World, place: str) -> None:
    print(f"WAIN_SEED={SEED} WAIN_FLIPS={FLIPS}")
    dice = random.Random(f"{SEED} {place}")
    assert world.packs, "the vault has no packs"
    calm = world.verify(place)
    assert calm.code == 0, calm
    missed = []
    for kind, paths in files_by_kind(world.places()[place]).items():
        if CACHES.search(kind):
            continue
        path = dice.choice(paths)
        packs = marks.packs_in(path, world.packs)
        for offset, bit in draw(dice, path, packs):
            wanted = marks.mark(path, offset, packs)
            with marks.flipped(path, offset, bit):
                if failure := look(world.verify(place), wanted):
                    missed.append(f"{kind} at {offset} bit {bit}: {failure}")
    assert not missed, f"{len(missed)} flips: " + "\n".join(missed)
    again = world.verify(place)
    assert again.code == 0, again


def look(result: Result, wanted: Mark) -> str:
    """Return what is wrong with a report about a flipped bit, or an empty string."""
    if result.code == 0:
        return "not found"
    if result.code != 4:
        return f"exit code {result.code}: {(result.out + result.err)[-300:]}"
    if "Traceback" in result.err:
        return f"a traceback: {result.err[-600:]}"
    if not marks.named(result.out + result.err, wanted):
        return f"does not name pack {wanted.pack} leaf {wanted.leaf}: {(result.out + result.err)[-500:]}"
    return ""


def test_no_wrong_byte_is_restored(world: World, tmp_path: Path) -> None:
    """A flip in the vault: the restore is whole, or names what it could not restore; no file holds other bytes."""
    print(f"WAIN_SEED={SEED} WAIN_FLIPS={FLIPS}")
    dice = random.Random(f"{SEED} restore")
    for kind, paths in files_by_kind([world.story.vault]).items():
        path = dice.choice(paths)
        for number, (offset, bit) in enumerate(draw(dice, path, [])[:FLIPS]):
            to = tmp_path / "to"
            with unmended(world.story.vault), marks.flipped(path, offset, bit):
                result = world.story.attempt(
                    *("restore", "latest", "--to", str(to)),
                    *("--passphrase-file", str(world.story.passphrase)),
                )
            told = f"{kind} at {offset} bit {bit} ({number}): {result}"
            assert "Traceback" not in result.err, told
            judge(world.story, to, result, told)
            shutil.rmtree(to, ignore_errors=True)


@contextmanager
def unmended(vault: Path) -> Iterator[None]:
    """Put the catalog's files back as they were: a vault may mend its cache when it is opened, which moves its bytes.

    Then nothing is left for `flipped` to flip back, so that it is done here, from a copy.
    """
    before = {path: path.read_bytes() for path in vault.glob("catalog.*")}
    try:
        yield
    finally:
        for path in vault.glob("catalog.*"):
            path.unlink()
        for path, body in before.items():
            path.write_bytes(body)


def judge(story: Story, to: Path, result: Result, told: str) -> None:
    """Exit 0 means whole. Anything else means that what is there has the right bytes."""
    restored = story.copy_of(story.source, to)
    if result.code == 0:
        assert_equal(story.source, restored)
        return
    assert result.code in (1, 4), told
    if not restored.exists():
        return
    wrong = [
        each
        for each in compare(os.fsencode(story.source), os.fsencode(restored))
        if each.field in ("content", "size", "target", "kind", "extra")
    ]
    # A hard link whose first name is missing is hashed under its next one: that is no other content.
    wrong = [each for each in wrong if not (each.field == "content" and "''" in (each.left, each.right))]
    assert not wrong, f"{wrong[:5]}\n{told}"


@pytest.mark.parametrize("place", ["device", "account"])
def test_a_flip_on_the_way_is_healed(place: str, tmp_path: Path) -> None:
    """One bit of a data pack flips on the device before the copy, or in the account before the import: the job
    that imports says so, the damage is healed or named, and what is restored in the end equals the source."""
    source = tmp_path / "source"
    small_tree(source, megabytes=8)
    story = Story(tmp_path / "story", source)
    story.tell_all(until="arrived" if place == "device" else "order verify")
    roots = [story.device] if place == "device" else story.accounts()
    blob = max((each for root in roots for each in root.rglob("packs-*")), key=lambda each: each.stat().st_size)
    dice = random.Random(SEED)
    offset = dice.randrange(blob.stat().st_size // 2)
    with marks.flipped(blob, offset, 3):
        if place == "device":
            copied = story.attempt(*story.command("copy").args)
            assert copied.code in (0, 3, 4), copied
            assert story.order() is not None
        first = story.attempt("backup", "--json")
        told = f"WAIN_SEED={SEED} {blob} at {offset}: {first}"
        assert "Traceback" not in first.err, told
        second = story.attempt("backup", "--json")
    assert second.code in (0, 3), f"{second}\n=== after {told}"
    story.restore(story.restored)
    assert_equal(source, story.copy_of(source))
