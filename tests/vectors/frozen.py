"""Reads frozen vectors: text files with `name: value` lines (the first is `expect`), comments and hex lines."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Vector:
    name: str
    expect: str
    facts: dict[str, str]
    body: bytes


def vectors(folder: str) -> list[Vector]:
    return [read(path) for path in sorted((HERE / folder).glob("*.txt"))]


def read(path: Path) -> Vector:
    facts: dict[str, str] = {}
    digits = ""
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if ":" in line:
            name, _, value = line.partition(":")
            assert name not in facts, f"{path}: {name} twice"
            assert not digits, f"{path}: {name} after the bytes"
            facts[name] = value.strip()
        else:
            digits += line.strip()
    return Vector(path.stem, facts.pop("expect"), facts, bytes.fromhex(digits))


def error_name(call) -> str:
    """Return `ok` or the class of the error that `call()` ends in. Only Wain's own errors are answers."""
    from wain.base.errors import WainError  # noqa: PLC0415

    try:
        call()
    except WainError as error:
        return type(error).__name__ if str(error) else "an error without words"
    return "ok"
