"""Options for how the source is read, and streams, as a user meets them."""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cli.conftest import Wain

pytestmark = pytest.mark.usefixtures("registered")


def test_what_a_policy_says_of_reading(wain: Wain, source: Path) -> None:
    said = wain("policy", "set", "--include", source, "--json").json()
    wanted = {"source": "live", "before": None, "after": None, "commandLimitSeconds": 3600, "compression": "default"}
    assert {name: said[name] for name in wanted} == wanted
    words = (
        "--source",
        "auto",
        "--before",
        "true",
        "--after",
        "echo",
        "--command-limit",
        "60",
        "--compression",
        "small",
    )
    said = wain("policy", "set", *words, "--json").json()
    wanted = {"source": "auto", "before": "true", "after": "echo", "commandLimitSeconds": 60, "compression": "small"}
    assert {name: said[name] for name in wanted} == wanted
    said = wain("policy", "set", "--before", "", "--source", "live", "--json").json()
    assert (said["before"], said["after"], said["source"], said["commandLimitSeconds"]) == (None, "echo", "live", 60)
    shown = wain("policy", "show").out
    assert "reads       live" in shown
    assert "compresses  small" in shown
    assert "after       echo" in shown


def test_what_makes_no_sense_is_refused(wain: Wain, source: Path) -> None:
    for words, message in (
        (("--source", "frozen"), "--source takes live, snapshot, auto."),
        (("--compression", "9"), "--compression takes fast, default, small."),
        (("--command-limit", "0"), "a command may run 1 to 604,800 seconds"),
        (("--before", "  "), "the command of --before is empty"),
    ):
        assert message in wain("policy", "set", "--include", source, *words, code=1).err


def test_a_policy_of_an_earlier_wain_reads_as_it_did(wain: Wain, source: Path, tmp_path: Path) -> None:
    wain("policy", "set", "--include", source)
    path = tmp_path / "home" / "agent" / "policy.json"
    body = json.loads(path.read_text())
    for name in ("source", "before", "after", "commandLimitSeconds", "compression"):
        del body[name]
    path.write_text(json.dumps(body))
    assert wain("policy", "show", "--json").json()["source"] == "live"
    path.write_text(json.dumps(body | {"compression": "tiny"}))
    assert "policy.json is not a record of Wain's" in wain("policy", "show", code=1).err


def test_commands_around_a_backup(wain: Wain, source: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    wain("policy", "set", "--include", source, "--before", f"echo b >> {log}", "--after", f"echo $WAIN_RESULT >> {log}")
    wain("backup")
    assert log.read_text() == "b\ncompleted\n"
    wain("policy", "set", "--after", "echo stuck; exit 4")
    ended = wain("backup", code=3)
    assert "note: the command after the backup (--after) ended with status 4; its last words: stuck" in ended.out
    wain("policy", "set", "--before", "echo locked; exit 5")
    ended = wain("backup", code=1)
    assert "(--before) ended with status 5; its last words: locked" in ended.err
    assert len(wain("points", "--json").json()) == 2


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no file system in memory at /dev/shm")
def test_a_snapshot_that_cannot_be_made_is_refused_and_auto_says_so(wain: Wain) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        wain("policy", "set", "--include", folder, "--source", "snapshot")
        assert "no snapshot can be made of /dev/shm (tmpfs)" in wain("backup", code=1).err
        wain("policy", "set", "--source", "auto")
        assert "note: /dev/shm (tmpfs) was read as it is" in wain("backup").out


# Streams


def test_a_dump_and_the_files_are_found_by_their_own_names(
    wain: Wain, source: Path, tmp_path: Path, passphrase: Path
) -> None:
    wain("policy", "set", "--include", source)
    assert wain("backup", "--from-command", "echo one", "--as", "/db/dump.sql", "--json").json()["kind"] == "stream"
    # With no point of files, the latest is the newest of all.
    assert "dump.sql" in wain("ls", "latest", "/db", "--passphrase-file", passphrase).out
    wain("backup")
    wain("backup", "--from-command", "echo two", "--as", "/db/dump.sql")
    wain("backup", "--from-command", "echo other", "--as", "/db/other.sql")
    restored = tmp_path / "out"
    wain("restore", "latest", "--to", restored, "--passphrase-file", passphrase)
    assert (restored / str(source).lstrip("/") / "large").exists()
    assert not (restored / "db").exists()
    wain("restore", "latest", "/db/dump.sql", "--to", restored, "--passphrase-file", passphrase)
    assert (restored / "db/dump.sql").read_text() == "two\n"
    assert (restored / "db/dump.sql").stat().st_mode & 0o7777 == 0o600
    assert (
        "is not in this"
        in wain("restore", "latest", "/db/none", "--to", restored, "--passphrase-file", passphrase, code=1).err
    )


def test_from_standard_input(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    command = [os.path.join(os.path.dirname(sys.executable), "wain"), "backup", "--from-stdin", "--as", "/dump"]
    done = subprocess.run(command, input=b"piped\n" * 1000, capture_output=True, check=True)
    assert b"The backup is complete" in done.stdout
    wain("restore", "latest", "/dump", "--to", tmp_path / "out", "--passphrase-file", passphrase)
    assert (tmp_path / "out/dump").read_bytes() == b"piped\n" * 1000
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    assert (done.returncode, b"nothing came out of the stream" in done.stderr) == (1, True)


def test_a_command_that_fails_is_exit_1_and_no_point(wain: Wain) -> None:
    ended = wain("backup", "--from-command", "echo x; echo no such table >&2; exit 2", "--as", "/db/dump.sql", code=1)
    assert "--from-command ended with status 2; its last words: no such table" in ended.err
    assert wain("points", "--json").json() == []
    assert wain("jobs", "--json").json()[-1]["state"] == "failed"


def test_half_a_stream_is_refused(wain: Wain) -> None:
    for words, message in (
        (("--from-command", "echo"), "with --as"),
        (("--as", "/dump"), "--as names a stream"),
        (("--from-stdin", "--from-command", "echo", "--as", "/d"), "not both"),
        (("--from-command", "echo", "--as", "dump"), "is not an absolute path"),
        (("--from-command", " ", "--as", "/dump"), "the command of --from-command is empty"),
    ):
        assert message in wain("backup", *words, code=1).err
    assert wain("jobs", "--json").json() == []


def test_a_terminal_is_no_pipe(wain: Wain, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert "nothing is piped in" in wain("backup", "--from-stdin", "--as", "/d", code=1).err
