"""docs/checklist-devices.md against the code and tests that exist; with the other lists it leaves no number out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| ([SCD]\d+) \|[^|]*\|([^|]*)\| (.+) \|$", re.MULTILINE)
LISTS = ("checklist.md", "checklist-devices.md", "checklist-identity.md")
TESTS = {
    name
    for path in sorted((ROOT / "tests").glob("*/**/test_*.py"))
    if "node_modules" not in path.parts
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}
ELSEWHERE = {1, 2, *range(5, 17), 24, 39, 40, 41, 42, 54, 55, 56, 57, 59, 60}
"""Sentences about other things than orders, devices, data copy and signing in."""


def rows(name: str) -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "docs" / name).read_text())


def test_every_row_names_what_is_there() -> None:
    found = rows("checklist-devices.md")
    assert len(found) > 50
    for number, home, named in found:
        assert all((ROOT / "src/wain" / file).is_file() for file in re.findall(r"`([\w/.]+)`", home)), number
        tests = re.findall(r"`(test_\w+)`", named)
        assert tests, number
        assert set(tests) <= TESTS, number
        assert all(f"_{number.lower()}_" in test for test in tests), number


def test_no_number_is_left_out() -> None:
    listed = {number for name in LISTS for number, _, _ in rows(name)}
    assert {f"S{number}" for number in range(1, 112) if number not in ELSEWHERE} - listed == set()
    assert {f"D{number}" for number in range(1, 13)} - listed == set()
