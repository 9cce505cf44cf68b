"""What the damage tests rely on: where packs lie, what a report must say, and that a flip is undone."""

import os
from pathlib import Path

from damage.marks import Mark, PackAt, flipped, mark, named, packs_in, packs_of_vault

NAME = "ab" * 32


def test_packs_are_found_inside_a_blob(tmp_path: Path) -> None:
    body = os.urandom(3 << 20)
    folder = tmp_path / "vault" / "packs"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(body)
    (folder / "point").write_bytes(b"x")
    blob = tmp_path / "packs-00000"
    blob.write_bytes(bytes(4096) + body + os.urandom(4096))
    packs = packs_of_vault(tmp_path / "vault")
    assert [each.name for each in packs] == [NAME]
    assert packs_in(blob, packs) == [PackAt(NAME, 4096, len(body))]


def test_a_mark_names_pack_and_leaf() -> None:
    packs = [PackAt(NAME, 4096, 3 << 20)]
    path = Path("blob")
    assert mark(path, 4095, packs) == Mark(path, 4095)
    assert mark(path, 4096 + (1 << 20), packs) == Mark(path, 4096 + (1 << 20), NAME, 1)
    footer = 4096 + (3 << 20) - 1
    assert mark(path, footer, packs) == Mark(path, footer, NAME, None)


def test_a_report_must_say_it_exactly() -> None:
    wanted = Mark(Path("blob"), 0, NAME, 1)
    assert named(f"pack {NAME} is damaged: leaf 1 (bytes 1048576..2097151)", wanted)
    assert not named(f"pack {NAME} is damaged: leaf 12", wanted)
    assert not named("pack cd is damaged: leaf 1", wanted)
    assert not named("", Mark(Path("blob"), 0))


def test_a_flip_is_one_bit_and_undone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0" * 10)
    moment = path.stat().st_mtime_ns
    with flipped(path, 3, 6):
        assert path.read_bytes() == b"\0\0\0\x40" + b"\0" * 6
        assert path.stat().st_mtime_ns == moment
    assert path.read_bytes() == b"\0" * 10
