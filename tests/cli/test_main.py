"""The edges of the command line: usage, exit codes, what is loaded, and being stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wain import __version__

from .conftest import Wain


def test_the_version_loads_no_parser_and_no_engine() -> None:
    code = (
        "import sys\nfrom wain.cli.main import main\nmain(['--version'])\n"
        "heavy = {'typer', 'rich', 'sqlite3', 'cryptography', 'blake3', 'zstandard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"wain {__version__}\n"), done.stderr


def test_help_loads_no_engine() -> None:
    code = (
        "import sys\nfrom wain.cli.main import main\nmain(['--help'])\n"
        "heavy = {'sqlite3', 'cryptography', 'blake3', 'zstandard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "restore" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["order", "show"], "Missing argument 'ORDER'"),
        (["backup", "--nosuch"], "No such option"),
        (["policy", "set", "--schedule", "sometimes", "--include", "/"], "is not a schedule"),
        (["policy", "set", "--parity", "7", "--include", "/"], "parity of 7 % cannot be written"),
        (["policy", "set", "--parity", "some", "--include", "/"], "'some' is not an amount of parity"),
        (["policy", "set", "--parity", "-6", "--include", "/"], "'-6' is not an amount of parity"),
        (["policy", "set", "--initial", "sideways", "--include", "/"], "is not a road"),
        (["order", "show", "nosuch"], "there is no order 'nosuch'"),
        (["account", "show", "nosuch"], "there is no storage account nosuch"),
        (["account", "create", "abc", "--kind", "Tape"], "is not a kind of storage account"),
        (["vault", "show"], "no vault is named"),
        (["vault", "verify", "/nowhere/at/all"], "there is no vault at"),
        (["points"], "not registered"),
        (["backup"], "not registered"),
        (["inspect", "/nowhere"], "No such file"),
        (["demo", "/nowhere"], "is not a directory"),
        (["policy", "show"], "no policy"),
    ],
)
def test_usage_ends_with_one_sentence_and_code_1(wain: Wain, args: list[str], words: str) -> None:
    said = wain(*args, code=1)
    first = said.err.splitlines()[0]
    assert first.startswith("wain: ")
    assert words in first
    assert said.err.splitlines()[1].startswith("hint: ")


def test_errors_are_json_when_asked(wain: Wain) -> None:
    said = json.loads(wain("points", "--json", code=1).err)
    assert said["exitCode"] == 1
    assert said["hint"]


@pytest.mark.parametrize(
    ("args", "flag"),
    [
        (("register", "--recovery-key-file", "OUT"), "--vault"),
        (("register", "--vault", "VAULT", "--recovery-key-file", "OUT"), "--passphrase-file"),
        (("register", "--vault", "VAULT", "--passphrase-file", "PASS"), "--recovery-key-file"),
    ],
)
def test_a_missing_answer_names_its_flag(
    wain: Wain, tmp_path: Path, passphrase: Path, args: tuple[str, ...], flag: str
) -> None:
    places = {"VAULT": f"file://{tmp_path}/vault", "OUT": str(tmp_path / "out"), "PASS": str(passphrase)}
    said = wain(*(places.get(word, word) for word in args), code=1)
    assert f"Give it with {flag}." in said.err


def test_wain_toml_answers_for_options(wain: Wain, tmp_path: Path, passphrase: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "wain.toml").write_text(
        f'vault = "file://{tmp_path}/vault"\n[register]\nname = "from the file"\n'
        f'passphrase-file = "{passphrase}"\nrecovery-key-file = "{tmp_path}/recovery"\n'
    )
    assert wain("register", "--json").json()["name"] == "from the file"


def test_ctrl_c_is_calm(tmp_path: Path) -> None:
    fifo = tmp_path / "passphrase"
    os.mkfifo(fifo)  # Reading it waits for a writer that never comes.
    args = ["register", "--vault", f"{tmp_path}/vault", "--passphrase-file", str(fifo), "--recovery-key-file", "/x"]
    environ = {**os.environ, "WAIN_HOME": str(tmp_path / "home")}
    # Whoever runs the tests in the background has the signal ignored, and so would the command.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "wain.cli.main", *args]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        for _ in range(600):
            if (tmp_path / "home" / "agent" / "lock").exists():
                break
            time.sleep(0.05)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.strip().splitlines() == [
        "wain: stopped before the end. Nothing is lost: repeat the same command and it goes on."
    ]
