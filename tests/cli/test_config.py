"""Where state lives, and what `wain.toml` may say."""

import os
from pathlib import Path
from typing import Any

import pytest
import typer

from wain.base.errors import Refused
from wain.cli import config
from wain.cli.commands import build


@pytest.mark.parametrize(
    ("environ", "is_root", "home"),
    [
        ({"WAIN_HOME": "/somewhere/else"}, True, "/somewhere/else"),
        ({"WAIN_HOME": "/somewhere/../else"}, False, "/else"),
        ({}, True, "/var/lib/wain"),
        ({"XDG_STATE_HOME": "/state"}, False, "/state/wain"),
        ({"XDG_STATE_HOME": "relative"}, False, os.path.expanduser("~/.local/state/wain")),
        ({}, False, os.path.expanduser("~/.local/state/wain")),
    ],
)
def test_home_is_found(environ: dict[str, str], is_root: bool, home: str) -> None:
    assert config.find_home(environ, is_root) == home


@pytest.fixture(scope="module")
def command() -> Any:
    return typer.main.get_command(build())


def test_a_key_at_the_top_serves_every_command_that_has_the_option(command: Any) -> None:
    defaults = config.default_map({"vault": "file:///v"}, command)
    assert defaults["register"]["vault"] == "file:///v"
    assert defaults["points"]["vault"] == "file:///v"
    assert "vault" not in defaults["jobs"]


def test_a_table_serves_one_command_and_wins(command: Any) -> None:
    defaults = config.default_map({"vault": "file:///v", "points": {"vault": "file:///w"}}, command)
    assert defaults["points"]["vault"] == "file:///w"
    assert defaults["backup"]["vault"] == "file:///v"


def test_names_may_have_dashes_and_groups_have_tables(command: Any) -> None:
    said = {"restore": {"passphrase-file": "/p"}, "policy": {"set": {"include": ["/a", "/b"]}}}
    defaults = config.default_map(said, command)
    assert defaults["restore"]["passphrase_file"] == "/p"
    assert defaults["policy"]["set"]["include"] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"valut": "x"}, "'valut'"),
        ({"backup": {"include": ["/"]}}, "'backup.include'"),
        ({"policy": {"sett": {"include": []}}}, "'policy.sett.include'"),
    ],
)
def test_a_typing_error_never_passes_in_silence(command: Any, said: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused, match=named):
        config.default_map(said, command)


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "wain.toml").write_text("vault = \n")
    with pytest.raises(Refused, match="line 1"):
        config.load({"WAIN_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///srv/vault", "/srv/vault"), ("file:///srv//vault/", "/srv/vault"), ("/srv/vault", "/srv/vault")],
)
def test_urls_name_paths(url: str, path: str) -> None:
    assert config.path_of(url, "--vault") == path


@pytest.mark.parametrize("url", ["https://vault.example", "file://host/share", "s3://bucket"])
def test_other_urls_are_refused_by_the_flag(url: str) -> None:
    with pytest.raises(Refused, match="--vault"):
        config.path_of(url, "--vault")
