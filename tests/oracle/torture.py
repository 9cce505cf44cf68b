"""Makes a tree that backup programs have failed on: Zwicky's list of 1991, and what file systems learned since.

`build(root)` is quick (some 10,000 entries, 30 MB); `build(root, full=True)` makes every length, every byte, deep and
wide directories and huge holes. What the file system or the user cannot make is skipped and named in the report.
Everything is made from a fixed seed: two builds differ only in times. As a program: `torture.py DIR [--full]`.

Special names live in `oracle/torture_parts.py`; this file holds the order and the report.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from oracle import torture_names, torture_parts
from oracle.ground import Ground, Unsupported

PARTS: dict[bytes, Callable[[Ground], None]] = {
    b"sizes": torture_parts.sizes,
    b"holes": torture_parts.holes,
    b"lengths": torture_names.lengths,
    b"nested": torture_names.nested,
    b"targets": torture_names.targets,
    b"bytes": torture_names.every_byte,
    b"unicode": torture_names.unicode_names,
    b"looks-like": torture_names.look_alikes,
    b"links": torture_parts.hard_links,
    b"modes": torture_parts.modes,
    b"devices": torture_parts.devices,
    b"sockets": torture_parts.sockets,
    b"xattrs": torture_parts.xattrs,
    b"capability": torture_parts.capability,
    b"trusted": torture_parts.trusted,
    b"acls": torture_parts.acls,
    b"times": torture_parts.times,
    b"owners": torture_parts.owners,
    b"wide": torture_parts.wide,
    b"deep": torture_names.deep,
    b"beyond": torture_names.beyond,
    b"reflinks": torture_parts.reflinks,
    b"content": torture_parts.content,
}
"""Each part fills a directory of its own name."""


@dataclass(frozen=True, slots=True)
class Report:
    """`made` names the parts that are there in full; `skipped` maps the others to the reason."""

    made: tuple[str, ...]
    skipped: dict[str, str]


def build(root: bytes, *, full: bool = False, without: frozenset[bytes] = frozenset()) -> Report:
    """Fill the new directory `root`. A part that cannot be made, or only in part, is skipped by name."""
    os.makedirs(root)
    made, skipped = [], {}
    for name, part in PARTS.items():
        if name in without:
            continue
        os.mkdir(os.path.join(root, name))
        try:
            part(Ground(os.path.join(root, name), full=full))
            made.append(name.decode())
        except Unsupported as reason:
            skipped[name.decode()] = str(reason)
    return Report(tuple(made), skipped)


def main(arguments: list[str]) -> int:
    """Build a torture tree from the command line."""
    parser = argparse.ArgumentParser(description="Make a torture tree in a new directory.")
    parser.add_argument("root", type=os.fsencode)
    parser.add_argument("--full", action="store_true")
    chosen = parser.parse_args(arguments)
    report = build(chosen.root, full=chosen.full)
    print(f"made: {', '.join(report.made)}")
    for name, reason in report.skipped.items():
        print(f"skipped: {name}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
