"""`wain find`, `wain diff`, `wain verify` by slices and ages, and the refusals of `wain mount`: words and JSON."""

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from wain.base.errors import Refused
from wain.cli import mount
from wain.cli.moments import parse_moment
from wain.cli.options import slice_of

from .conftest import Result, Wain


@pytest.fixture
def twice(registered: Wain, source: Path, passphrase: Path) -> Wain:
    """A server with two points: a note changed, one went, one came, one has another mode."""
    registered("policy", "set", "--include", source, "--initial", "online")
    registered("backup")
    (source / "notes" / "1.txt").write_text("changed\n")
    (source / "notes" / "2.txt").unlink()
    (source / "notes" / "new\nline").write_text("new\n")
    (source / "large").chmod(0o600)
    registered("backup")

    def run(*args: str | os.PathLike[str], code: int | None = 0) -> Result:
        keyed = args[0] in ("find", "diff", "mount")
        return registered(*args, *(("--passphrase-file", passphrase) if keyed else ()), code=code)

    return run


def ids(wain: Wain) -> list[str]:
    return [point["id"] for point in wain("points", "--json").json()]


def test_find_names_what_a_point_holds(twice: Wain, source: Path) -> None:
    found = twice("find", "latest", "1?.txt", "large", "--json")
    assert found.out.count("\n") == 1
    paths = [one["path"] for one in found.json()]
    assert paths == [f"{source}/large", *(f"{source}/notes/1{n}.txt" for n in range(10))]
    assert found.json()[0]["size"] == 8192 * 256
    (line,) = twice("find", "latest", "*", "--type", "f", "--min-size", "1MiB").out.splitlines()
    assert line.startswith("-rw-------    2.1 MB  ")
    assert line.endswith(f"  {source}/large")
    assert twice("find", "latest", "*", "--type", "l", "--json").json()[0]["target"] == "notes/1.txt"
    assert twice("find", "latest", "new*").out.count("\n") == 1  # A name cannot begin a line.
    assert twice("find", "latest", "absent", "--json").json() == []
    assert twice("find", "latest", "*.txt", "--older", "2001-01-01", "--json").json() == []
    assert len(twice("find", "latest", "*.txt", "--newer", "1h", "--json").json()) == 19


def test_find_all_says_which_points_have_each_version(twice: Wain, source: Path) -> None:
    old, new = ids(twice)
    versions = twice("find", "all", "1.txt", "2.txt", "3.txt", "--json").json()
    assert [(Path(one["path"]).name, one["points"]) for one in versions] == [
        ("1.txt", [new]), ("1.txt", [old]), ("2.txt", [old]), ("3.txt", [new, old]),
    ]  # fmt: skip
    lines = twice("find", "all", "2.txt").out.splitlines()
    assert "1 of 2" in lines[1]
    assert old[:12] in lines[1]
    assert lines[1].endswith(f"{source}/notes/2.txt")


def test_diff_shows_what_changed(twice: Wain, source: Path) -> None:
    old, new = ids(twice)
    lines = twice("diff", old, "latest", source).out.splitlines()
    assert lines == [
        f"U {source}/large", f"U {source}/notes/", f"M {source}/notes/1.txt", f"- {source}/notes/2.txt",
        f"+ {source}/notes/new\\x0aline",
        "1 added (4 B), 1 removed (350 B), 1 changed (350 B before, 8 B now), "
        "2 with other metadata, 0 of another type",
    ]  # fmt: skip
    said = twice("diff", old[:8], new[:8], source, "--json")
    assert said.out.count("\n") == 1
    found = said.json()
    assert (found["from"], found["to"]) == (old, new)
    assert [one["change"] for one in found["changes"]] == ["metadata", "metadata", "content", "removed", "added"]
    assert found["summary"]["content"] == {"entries": 1, "oldBytes": 350, "newBytes": 8}
    assert twice("diff", new, "latest").out == "Nothing differs.\n"
    assert "in neither" in twice("diff", old, new, "/absent", code=1).err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("find", "latest", "!x"), "the pattern '!x' begins with"),
        (("find", "latest", "x", "--type", "fz"), "--type does not know z"),
        (("find", "latest", "x", "--min-size", "many"), "'many' is not a size"),
        (("find", "latest", "x", "--newer", "soon"), "--newer 'soon' is not a moment"),
        (("find", "abcdefg", "x"), "there is no point 'abcdefg'"),
        (("diff", "latest", "abcdefg"), "there is no point 'abcdefg'"),
        (("diff", "all", "latest"), "there is no point 'all'"),
    ],
)
def test_bad_requests_are_one_sentence(twice: Wain, args: tuple[str, ...], words: str) -> None:
    said = twice(*args, code=1)
    assert words in said.err
    assert said.err.count("\n") == 2  # The sentence, and what to do.


def test_moments_are_local_unless_they_name_a_zone() -> None:
    now = datetime(2026, 3, 8, 12, tzinfo=UTC)
    assert parse_moment("36h", "--newer", now) == now - timedelta(hours=36)
    assert parse_moment("2w", "--newer", now) == now - timedelta(weeks=2)
    assert parse_moment("2026-03-01T12:30Z", "--newer", now) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    zone = timezone(timedelta(hours=2))
    assert parse_moment("2026-03-01T12:30+02:00", "--newer", now) == datetime(2026, 3, 1, 12, 30, tzinfo=zone)
    assert parse_moment("2026-03-01", "--newer", now) == datetime(2026, 3, 1).astimezone()
    for text in ("", "3", "3x", "2026-13-01"):
        with pytest.raises(Refused, match="is not a moment"):
            parse_moment(text, "--newer", now)


# Slices and ages


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("", ""), ("", None)), (("latest", ""), ("latest", None)), (("3/10", ""), ("", (3, 10))),
        (("latest", "3/10"), ("latest", (3, 10))), (("3/10", "latest"), ("latest", (3, 10))),
    ],
)  # fmt: skip
def test_a_slice_is_told_by_its_shape(words: tuple[str, str], meant: tuple[str, tuple[int, int] | None]) -> None:
    point, part = slice_of(*words)
    assert (point, (part.n, part.t) if part else None) == meant


def test_read_data_alone_reads_everything_and_slices_add_up_to_it(twice: Wain) -> None:
    whole = twice("verify", "--read-data", "--json").json()
    assert whole["readPacks"] == whole["packs"] > 0
    slices = [twice("verify", "--read-data", f"{n}/3", "--json").json() for n in (1, 2, 3)]
    assert {one["packs"] for one in slices} == {whole["packs"]}  # All are looked at, a third is read.
    assert sum(one["readPacks"] for one in slices) == whole["packs"]
    assert sum(one["readBytes"] for one in slices) == whole["readBytes"]
    assert twice("verify", "latest", "--read-data", "1/1", "--json").json()["points"] == 1
    assert twice("verify", "--json").json()["readPacks"] == 0
    vault = [twice("vault", "verify", f"{n}/3", "--json").json()["packs"] for n in (1, 2, 3)]
    assert sum(vault) == twice("vault", "verify", "--read-data", "--json").json()["packs"] == whole["packs"]


@pytest.mark.parametrize("args", [("0/3",), ("4/3",), ("latest", "3")])
def test_what_is_no_slice_is_refused(twice: Wain, args: tuple[str, ...]) -> None:
    assert "not a slice" in twice("verify", "--read-data", *args, code=1).err


def test_a_slice_without_read_data_is_refused(twice: Wain) -> None:
    assert "Add --read-data" in twice("verify", "1/2", code=1).err
    assert "Leave out one" in twice("verify", "--ages", "--read-data", code=1).err


def test_ages_come_from_full_reads_that_found_a_pack_whole(twice: Wain, tmp_path: Path) -> None:
    fresh = twice("verify", "--ages", "--json").json()
    assert (fresh["never"], fresh["oldest"]) == (fresh["packs"], None)
    twice("verify")  # Sizes and footers are no full read.
    assert twice("verify", "--ages", "--json").json()["never"] == fresh["packs"]
    read = twice("verify", "--read-data", "1/2", "--json").json()["readPacks"]
    assert twice("verify", "--ages", "--json").json()["never"] == fresh["packs"] - read
    twice("verify", "--read-data")
    before = twice("verify", "--ages", "--json")
    assert before.out.count("\n") == 1
    assert before.json()["never"] == 0
    assert before.json()["ages"][0] == {
        "upToDays": 1, "packs": fresh["packs"], "storedBytes": before.json()["storedBytes"],
    }  # fmt: skip
    packs = [path for path in (tmp_path / "vault" / "objects" / "packs").rglob("*") if path.is_file()]
    packs[0].chmod(0o600)
    with open(packs[0], "r+b") as file:
        file.seek(4000)
        file.write(b"damaged!")
    twice("verify", "--read-data", code=4)
    after = twice("verify", "--ages", "--json").json()
    (damaged,) = [one for one in after["checks"] if not one["whole"]]
    (same,) = [one for one in before.json()["checks"] if one["pack"] == packs[0].name]
    assert damaged["pack"] == packs[0].name
    assert damaged["wholeAt"] == same["wholeAt"] < damaged["readAt"]
    assert (after["damaged"], after["never"]) == (1, 0)
    text = twice("verify", "--ages").out
    assert "damaged when last read  1" in text
    assert "within 1 d" in text


def test_lost_ages_cost_nothing(twice: Wain, tmp_path: Path) -> None:
    twice("verify", "--read-data")
    checks = tmp_path / "home" / "agent" / "pack.checks"
    assert "when each pack was last read" in twice("inspect", checks).out
    checks.write_bytes(checks.read_bytes()[:-1])
    found = twice("verify", "--ages", "--json").json()
    assert found["never"] == found["packs"]
    twice("verify", "--read-data")
    assert twice("verify", "--ages", "--json").json()["never"] == 0


# Mounting


def test_without_a_fuse_device_mounting_is_refused(
    twice: Wain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount, "_DEVICE", str(tmp_path / "no-fuse"))
    (tmp_path / "mnt").mkdir()
    said = twice("mount", "latest", tmp_path / "mnt", code=1)
    assert "no mounts in user space" in said.err or "libfuse 3" in said.err
