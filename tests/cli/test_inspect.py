"""Every format of every room has its explanation."""

import re
from pathlib import Path

import wain
from wain.cli.explain import FORMATS

INNER = {b"WAINFOOT", b"WAINHEND"}
"""Magics that never begin a file: the last page of a pack, the tail of a walk's memory."""


def test_every_magic_in_the_rooms_is_known() -> None:
    root = Path(wain.__file__).parent
    magics = set()
    for path in root.rglob("*.py"):
        if "cli" not in path.relative_to(root).parts:
            magics |= {word.encode() for word in re.findall(r'b"(WAIN[A-Z]{4}|W(?!AIN")[A-Z]{3})"', path.read_text())}
    assert len(magics) > 15
    assert magics - INNER <= FORMATS.keys()
