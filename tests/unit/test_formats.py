"""The byte tables of every FORMAT*.md against the modules that write the bytes: magics, versions, sizes, offsets.

What a FORMAT file must say, for each format: `magic: `X`, version: N` at the start of a line, with `, fixed size: M`
where there is one, followed by a table `| field | bytes | ...`; or the two table rows ``magic `X` `` and `version, N`.
`M` is the sum of the table's numbers (or the whole, when a row `padding` fills it). The module that defines the magic
as `<P>MAGIC` has `<P>VERSION` (or one `VERSION` for all it defines) and one of `<P>FIXED_BYTES`, `<P>HEADER_BYTES`,
`<P>RECORD_BYTES`, `<P>BYTES`.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import wain

HOUSE = Path(wain.__file__).parent
LINE = re.compile(r"^magic: `(\w+)`, version: (\d+)(?:, fixed size: (\d+))?", re.MULTILINE)
ROWS = re.compile(r"\| magic `(\w+)` \|\n\|[^\n]*\| version, (\d+) \|")
PART = re.compile(r"^fixed size: (\d+) \(`(\w+)`\)$", re.MULTILINE)
CONSTANT = re.compile(r'^(\w*)MAGIC: Final = b"(\w+)"', re.MULTILINE)
SIZE_NAMES = ("FIXED_BYTES", "HEADER_BYTES", "RECORD_BYTES", "BYTES")
NEED_LIBFUSE = {"libfuse", "mount"}
"""Modules that cannot be imported without a library of the system; they define no format."""


@dataclass(frozen=True)
class Promise:
    """What a FORMAT file says of one format."""

    file: Path
    magic: bytes
    version: int
    fixed: int | None
    table: list[list[str]]


@dataclass(frozen=True)
class Code:
    """Where a magic is defined."""

    module: ModuleType
    prefix: str


def first_table(text: str) -> list[list[str]]:
    """Return the cells of the first table in a text, its head first."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return [row for row in rows if not set("".join(row)) <= set("-")]


def files() -> list[Path]:
    return sorted(HOUSE.glob("*/FORMAT*.md"))


def promises() -> list[Promise]:
    found = []
    for file in files():
        text = file.read_text()
        for match in LINE.finditer(text):
            magic, version, fixed = match.groups()
            table = first_table(text[match.end() :])
            found.append(Promise(file, magic.encode(), int(version), int(fixed) if fixed else None, table))
        found += [Promise(file, match[1].encode(), int(match[2]), None, []) for match in ROWS.finditer(text)]
    return found


def magics() -> dict[tuple[str, bytes], Code]:
    """Return every magic the code defines, by room."""
    found = {}
    for source in sorted(HOUSE.glob("*/*.py")):
        for match in CONSTANT.finditer(source.read_text()):
            module = import_module(f"wain.{source.parent.name}.{source.stem}")
            key = (source.parent.name, match[2].encode())
            assert key not in found, f"{match[2]} is defined twice"
            found[key] = Code(module, match[1])
    return found


PROMISES = promises()
MAGICS = magics()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.magic.decode())
def test_a_promise_is_what_the_code_does(promise: Promise) -> None:
    code = MAGICS.get((promise.file.parent.name, promise.magic))
    assert code, f"no module beside {promise.file} defines {promise.magic!r}"
    version = getattr(code.module, code.prefix + "VERSION", None) or code.module.VERSION
    assert version == promise.version
    if promise.fixed is not None:
        sizes = [name for end in SIZE_NAMES if hasattr(code.module, name := code.prefix + end)]
        assert sizes, f"{code.module.__name__} names no fixed size"
        assert getattr(code.module, sizes[0]) == promise.fixed, sizes[0]


@pytest.mark.parametrize(
    "promise", [promise for promise in PROMISES if promise.table], ids=lambda promise: promise.magic.decode()
)
def test_a_table_adds_up(promise: Promise) -> None:
    head, *rows = promise.table
    assert head[:2] == ["field", "bytes"]
    assert rows[0][:2] == ["magic", str(len(promise.magic))]
    assert promise.magic.decode() in rows[0][2]
    assert rows[1] == ["version", "2", str(promise.version)]
    names = [row[0] for row in rows]
    assert len(set(names)) == len(names)
    total = sum(int(row[1]) for row in rows if row[1].isdigit())
    if promise.fixed is not None:
        assert total <= promise.fixed if names[-1] == "padding" else total == promise.fixed


@pytest.mark.parametrize("file", files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_parts_and_offsets_add_up(file: Path) -> None:
    text = file.read_text()
    sources = [source.stem for source in file.parent.glob("[a-z]*.py") if source.stem not in NEED_LIBFUSE]
    room = [import_module(f"wain.{file.parent.name}.{source}") for source in sources]
    for match in PART.finditer(text):
        found = {getattr(module, match[2]) for module in room if hasattr(module, match[2])}
        assert int(match[1]) in found, match[0]
        rows = first_table(text[match.end() :])[1:]
        assert sum(int(row[1]) for row in rows if row[1].isdigit()) == int(match[1])
    for chapter in re.split(r"\n\n+", text):
        table = first_table(chapter)
        if table and table[0][:2] == ["offset", "bytes"]:
            for row, after in pairwise(table[1:]):
                if row[0].isdigit() and row[1].isdigit() and after[0].isdigit():
                    assert int(row[0]) + int(row[1]) == int(after[0]), f"{file}: {row}"


@pytest.mark.parametrize(("room", "magic"), MAGICS, ids=lambda part: part.decode() if isinstance(part, bytes) else part)
def test_every_magic_in_the_code_is_described_beside_it(room: str, magic: bytes) -> None:
    assert (room, magic) in {(promise.file.parent.name, promise.magic) for promise in PROMISES}


def test_no_two_formats_share_a_magic() -> None:
    seen = [magic for _, magic in MAGICS]
    assert len(set(seen)) == len(seen)
    assert len(seen) >= 12
