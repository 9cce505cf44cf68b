"""Medians, ratios and the page that shows them."""

from benchmarks.figures import LIMIT, SEED, TOOL, Figure, Ratios, beside_limits, medians, ratios
from benchmarks.machine import machine_class
from benchmarks.page import Run, page
from benchmarks.report import table
from benchmarks.scenarios import DEFAULT, SCENARIOS, named


def figure(tool: str, seconds: float, kind: str = TOOL, step: str = "first backup") -> Figure:
    size = 0 if kind == LIMIT else seconds * 1e6
    return Figure("large file", step, tool, kind, seconds, seconds / 2, size, size)


ROUNDS = [
    *(figure("wain", seconds) for seconds in (9, 2, 3)),
    *(figure("restic", seconds) for seconds in (6, 6, 1)),
    *(figure("zstd -3 -T0", seconds, LIMIT) for seconds in (1, 2, 1.5)),
    figure("wain seed", 5, SEED, "write device"),
]


def test_medians_are_taken_per_scenario_step_and_tool() -> None:
    assert [(each.tool, each.seconds) for each in medians(ROUNDS)] == [
        ("wain", 3),
        ("restic", 6),
        ("zstd -3 -T0", 1.5),
        ("wain seed", 5),
    ]


def test_a_ratio_below_one_says_that_wain_takes_less() -> None:
    wain, restic, zstd, seed = medians(ROUNDS)
    group = [wain, restic, zstd]
    assert ratios(group, restic) == Ratios(0.5, 0.5, 0.5, 0.5)
    assert ratios(group, zstd) == Ratios(2.0, 2.0, None, None)
    for alone in (ratios(group, wain), ratios([seed], seed), ratios([restic], restic)):
        assert alone == Ratios(None, None, None, None)


def test_the_offline_road_has_limits_of_its_own() -> None:
    seed, dd = figure("wain seed", 3, SEED, "verify device"), figure("dd read", 2, LIMIT, "verify device")
    assert ratios([seed, dd], dd) == Ratios(1.5, 1.5, None, None)


def test_a_figure_of_nothing_gives_no_ratio() -> None:
    assert ratios([figure("wain", 3)], figure("find -printf", 0, LIMIT)) == Ratios(None, None, None, None)


def test_limits_are_said_in_words() -> None:
    assert beside_limits(medians(ROUNDS)) == ["large file, first backup: 2.0 x zstd -3 -T0"]


def test_the_table_has_limits_after_tools() -> None:
    lines = table(["a machine"], medians(ROUNDS)).splitlines()
    assert lines[0] == "a machine"
    assert [line.split()[0] for line in lines[4:7]] == ["wain", "restic", "zstd"]
    assert lines[5].endswith("0.50 x time, 0.50 x CPU, 0.50 x stored, 0.50 x memory")
    assert lines[6].endswith("2.00 x time, 2.00 x CPU")


def test_the_page_holds_date_machine_figures_and_the_command() -> None:
    run = Run("2026-01-02", "a machine", ["wain 1", "restic 2"], ["kopia: absent"], [SCENARIOS["large"]], "the command")
    text = page(run, medians(ROUNDS))
    assert text.startswith("# Benchmarks\n")
    for line in (
        "- 2026-01-02",
        "- a machine",
        "- wain 1; restic 2",
        "- left out: kopia: absent",
        "| first backup | wain | 3.00 | 1.50 | 3.0 | 3 |  |  |  |  |",
        "|  | restic | 6.00 | 3.00 | 6.0 | 6 | 0.50 | 0.50 | 0.50 | 0.50 |",
        "|  | zstd -3 -T0 | 1.50 | 0.75 |  |  | 2.00 | 2.00 |  |  |",
        "Wain beside the limits: first backup: 2.0 x zstd -3 -T0.",
        "the command",
    ):
        assert line in text.splitlines()


def test_the_machine_class_names_no_host() -> None:
    with open("/proc/sys/kernel/hostname", encoding="ascii") as file:
        host = file.read().strip()
    assert "cores" in machine_class()
    assert host not in machine_class().replace("Linux", "")


def test_scenarios_are_found_by_short_and_full_name() -> None:
    assert DEFAULT == ("small", "large")
    for word, scenario in SCENARIOS.items():
        assert named(word) is named(scenario.name) is scenario
    assert named("medium") is None
