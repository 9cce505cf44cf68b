"""docs/checklist.md against the tests and the code that exist."""

import re
from pathlib import Path

from wain.wire.arm_errors import Code

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/checklist.md").read_text()
TESTS = {
    name
    for directory in ("tests/unit/databox", "tests/unit/wire", "tests/cli", "tests/journeys")
    for path in sorted((ROOT / directory).glob("test_*.py"))
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}


def test_every_row_names_what_is_there() -> None:
    rows = re.findall(r"^\| ([SC]\d+) \|[^|]*\|([^|]*)\| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 10
    for number, home, named in rows:
        assert all((ROOT / "src/wain" / file).is_file() for file in re.findall(r"`([\w/.]+)`", home)), number
        tests = re.findall(r"`(test_\w+)`", named)
        assert tests
        assert set(tests) <= TESTS, number
        assert all(f"_{number.lower()}_" in test for test in tests), number


def test_every_rule_names_a_code_and_a_test() -> None:
    rows = re.findall(r"^\| [^|`]+(?:`mitigate`)? \| `(\w+)` \| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 8
    for code, named in rows:
        assert Code(code)
        assert set(re.findall(r"`(test_\w+)`", named)) <= TESTS
