"""What a person at a terminal is asked."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from .conftest import PASSPHRASE

PATIENCE_SECONDS = 60.0


class Person:
    """Sits at a pseudo terminal: waits for words, types answers."""

    def __init__(self, tmp_path: Path, *args: str) -> None:
        ours, theirs = pty.openpty()
        environ = {**os.environ, "WAIN_HOME": str(tmp_path / "home"), "TERM": "xterm", "COLUMNS": "120"}
        self._fd = ours
        self.screen = ""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "wain.cli.main", *args], env=environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def read_until(self, words: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while words not in self.screen:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"never saw {words!r} in {self.screen!r}"
            self.screen += os.read(self._fd, 65536).decode()

    def answer(self, question: str, text: str) -> None:
        self.read_until(question)
        until = time.monotonic() + PATIENCE_SECONDS
        while termios.tcgetattr(self._fd)[3] & termios.ECHO:  # What is typed before echo is off would be thrown away.
            assert time.monotonic() < until, f"{question!r} shows what is typed"
            time.sleep(0.01)
        self.screen = ""
        os.write(self._fd, text.encode() + b"\n")

    def end(self) -> int:
        try:
            while piece := os.read(self._fd, 65536):
                self.screen += piece.decode()
        except OSError:
            pass  # Linux ends a pseudo terminal with EIO.
        os.close(self._fd)
        return self._child.wait(PATIENCE_SECONDS)


def shown_key(screen: str) -> str:
    found = re.search(r"^\s+((?:[A-Z2-7]{4}-){13}[A-Z2-7]{4})\s*$", screen, re.MULTILINE)
    assert found, screen
    return found[1]


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path, "register", "--vault", f"file://{tmp_path}/vault", "--name", "desk")


def test_the_recovery_key_is_typed_back(person: Person) -> None:
    person.answer("The passphrase:", PASSPHRASE)
    person.answer("The passphrase again:", PASSPHRASE)
    person.read_until("typed back:")
    key = shown_key(person.screen)
    person.answer("typed back:", key.lower().replace("-", " "))
    assert person.end() == 0, person.screen
    assert "Registered." in person.screen
    assert PASSPHRASE not in person.screen
    assert key not in person.screen


def test_two_different_passphrases_are_refused(person: Person, tmp_path: Path) -> None:
    person.answer("The passphrase:", PASSPHRASE)
    person.answer("The passphrase again:", PASSPHRASE + "!")
    assert person.end() == 1
    assert "the two passphrases differ" in person.screen
    assert not (tmp_path / "vault").exists()


def test_another_key_than_the_shown_one_registers_nothing(person: Person, tmp_path: Path) -> None:
    person.answer("The passphrase:", PASSPHRASE)
    person.answer("The passphrase again:", PASSPHRASE)
    person.answer("typed back:", "AAAA-BBBB")
    assert person.end() == 1
    assert not (tmp_path / "home" / "agent" / "enrolment.json").exists()
