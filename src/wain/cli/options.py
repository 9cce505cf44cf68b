"""Options that several commands share, and what happens when an answer is missing.

On a terminal it is asked for; elsewhere the refusal names the flag that gives it.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from wain.base.errors import Refused

if TYPE_CHECKING:
    from wain.pack.slices import Slice

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Vault = Annotated[str, typer.Option("--vault", metavar="URL", help="The vault: file:///srv/vault or a path.")]
DataBox = Annotated[
    str,
    typer.Option("--databox", metavar="URL", help="The Data Box service. Default: the one embedded in the home."),
]
PassphraseFile = Annotated[
    str, typer.Option("--passphrase-file", metavar="FILE", help="File whose first line is the passphrase.")
]
RecoveryKeyFile = Annotated[
    str, typer.Option("--recovery-key-file", metavar="FILE", help="File that holds the recovery key.")
]


def slice_of(first: str, second: str) -> "tuple[str, Slice | None]":
    """Tell a slice (`3/10`) from the word that may stand before it; return that word and the slice, if there is one.

    So `--read-data` stays a flag, and `--read-data 3/10` reads as it is meant, wherever the other word stands.

    Raises:
        Refused: two words and neither, or both, are a slice.
    """
    from wain.pack.slices import is_slice, parse_slice

    if second and is_slice(first):
        first, second = second, first
    if second:
        return first, parse_slice(second)
    return ("", parse_slice(first)) if is_slice(first) else (first, None)


def is_interactive() -> bool:
    """Say whether a question would reach a person."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(flag: str, what: str, question: Callable[[], str]) -> str:
    """Return the answer to a question.

    Raises:
        Refused: nobody is there to ask; the flag that gives the answer is named.
    """
    if not is_interactive():
        raise Refused(f"{what} is missing", f"Give it with {flag}.")
    return question()


def ask_line(flag: str, what: str) -> str:
    """Ask for one line that may be seen."""
    return ask(flag, what, lambda: str(typer.prompt(what[0].upper() + what[1:], err=True)))


def ask_hidden(flag: str, what: str) -> str:
    """Ask for one line that must not be seen."""
    return ask(flag, what, lambda: str(typer.prompt(what[0].upper() + what[1:], hide_input=True, err=True)))


def first_line(path: str, what: str, flag: str) -> str:
    """Return the first line of a small text file, without its line end.

    Raises:
        Refused: it cannot be read, or is no text.
    """
    try:
        with open(path, encoding="utf-8") as file:
            line = file.readline(8192)
    except OSError as error:
        raise Refused(f"{what} cannot be read from {path}: {error.strerror}", f"Check {flag}.") from error
    except UnicodeDecodeError:
        raise Refused(f"{path} is not a text file, so {what} cannot be read from it", f"Check {flag}.") from None
    return line.rstrip("\r\n")


def passphrase(file: str) -> str:
    """Return the passphrase from its file, or from the keyboard."""
    if file:
        return first_line(file, "the passphrase", "--passphrase-file")
    return ask_hidden("--passphrase-file", "the passphrase")


def new_passphrase(file: str) -> str:
    """Return a passphrase that will protect something: checked, and typed twice on a terminal.

    Raises:
        Refused: too short, a character no keyboard is sure to have, or typed differently the second time.
    """
    from wain.keys.phrases import check_passphrase

    text = passphrase(file)
    check_passphrase(text)
    if not file and ask_hidden("--passphrase-file", "the passphrase again") != text:
        raise Refused("the two passphrases differ", "Type it again.")
    return text
