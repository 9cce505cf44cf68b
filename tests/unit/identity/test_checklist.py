"""docs/checklist-identity.md against the tests that exist: a number without a test of its name fails here."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| ([SDC]\d+) \|[^|]*\|([^|]*)\| (.+) \|$", re.MULTILINE)
TESTS = {
    name
    for directory in ("tests/unit/identity", "tests/cli/identity")
    for path in sorted((ROOT / directory).glob("test_*.py"))
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}
ROWS = {number: (home, named) for number, home, named in ROW.findall((ROOT / "docs/checklist-identity.md").read_text())}
IDENTITY = ["S25", *(f"S{number}" for number in (*range(28, 34), 63, 64, *range(86, 111))), "D10", "D11", "D12"]


@pytest.mark.parametrize("number", IDENTITY)
def test_a_number_has_its_home_and_its_test(number: str) -> None:
    home, named = ROWS[number]
    for file in re.findall(r"`([\w/.]+)`", home):
        assert (ROOT / "src/wain" / file).is_file(), file
    tests = re.findall(r"`(test_\w+)`", named)
    assert tests
    assert not set(tests) - TESTS
    digits = int(number[1:])
    assert any(_speaks_of(test, number.lower(), digits) for test in tests), tests


def _speaks_of(test: str, number: str, digits: int) -> bool:
    """A test's name holds the number, or a range of numbers around it."""
    span = re.search(r"_s(\d+)_to_s(\d+)_", test)
    within = span is not None and int(span[1]) <= digits <= int(span[2])
    return f"_{number}_" in test or within
