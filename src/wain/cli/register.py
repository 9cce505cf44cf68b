"""`wain register`: this server to a vault."""

import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli import options, render
from wain.cli.config import path_of, url_of
from wain.cli.options import Json, Vault
from wain.cli.parts import Parts, now

if TYPE_CHECKING:
    from wain.agent.home import AgentHome
    from wain.keys.secret import Secret
    from wain.wire.vault import Registration

_FILE_FLAG: Final = "--recovery-key-file"


def register(
    context: typer.Context,
    vault: Vault = "",
    name: Annotated[str, typer.Option(help="What the vault calls this server. Default: the host's name.")] = "",
    passphrase_file: options.PassphraseFile = "",
    recovery_key_file: Annotated[
        str, typer.Option(_FILE_FLAG, metavar="OUT", help="Write the recovery key here (mode 0600, never overwritten).")
    ] = "",
    json: Json = False,
) -> None:
    """Register this server with a vault. After an interruption, repeat it; done twice, it changes nothing."""
    from wain.agent.enrol import EnrolRequest, enrol

    parts = Parts.of(context)
    home = parts.home()
    url = url_of(path_of(vault or options.ask_line("--vault", "the vault"), "--vault"))
    with home.lock():
        enrolment = home.enrolment()
        if enrolment is not None:
            _check_same(enrolment.vault_url, url)
            _show(enrolment.registration, url, json, "This server is registered already.")
            return
        passphrase = options.new_passphrase(passphrase_file)
        recovery = _recovery_in_file(home, recovery_key_file) if recovery_key_file else _recovery_typed_back()
        request = EnrolRequest(name or socket.gethostname(), url, passphrase, recovery)
        registration = enrol(home, parts.make_vault(Path(path_of(url, "--vault"))), request, now())
    _show(
        registration, url, json, "Registered. Passphrase and recovery key open every backup; nobody can replace them."
    )


def _check_same(have: str, want: str) -> None:
    if have != want:
        hint = "One home belongs to one vault; set WAIN_HOME for another."
        raise Refused(f"this server is registered with {have} already", hint)


def _recovery_in_file(home: "AgentHome", path: str) -> "Secret":
    """Return a new recovery key that is durably in `path`, or the one an interrupted run of ours left there.

    The digest is remembered before the key is written, so that a file is known as ours without keeping the key.

    Raises:
        Refused: the file is there and is not ours.
    """
    from blake3 import blake3

    from wain.keys.phrases import recovery_from_text, recovery_to_text
    from wain.keys.secret import SECRET_BYTES, Secret
    from wain.storage.new_file import write_new

    taken = Refused(f"{path} exists already and is never overwritten", f"Give another file with {_FILE_FLAG}.")
    if os.path.lexists(path):
        pending = home.pending_recovery()
        if pending is None:
            raise taken
        found = recovery_from_text(options.first_line(path, "the recovery key", _FILE_FLAG))
        if blake3(found.raw).digest() != pending:
            raise taken
        return found
    recovery = Secret(secrets.token_bytes(SECRET_BYTES))
    home.save_pending_recovery(blake3(recovery.raw).digest())
    if not write_new(path, recovery_to_text(recovery).encode() + b"\n", 0o600):
        raise taken
    return recovery


def _recovery_typed_back() -> "Secret":
    """Show a new recovery key once and have it typed back.

    Raises:
        Refused: nobody is there, or what was typed differs.
    """
    from wain.keys.phrases import recovery_from_text, recovery_to_text
    from wain.keys.secret import SECRET_BYTES, Secret

    recovery = Secret(secrets.token_bytes(SECRET_BYTES))
    if options.is_interactive():
        text = "\nRecovery key, shown this once. Write it down and keep it away from this server:\n\n  {}\n"
        typer.echo(text.format(recovery_to_text(recovery)), err=True)
    typed = options.ask_hidden(_FILE_FLAG, "the recovery key, typed back")
    if recovery_from_text(typed) != recovery:
        raise Refused("what was typed is another key", "Nothing was registered. Run the command again for a new key.")
    return recovery


def _show(registration: "Registration", url: str, as_json: bool, words: str) -> None:
    if as_json:
        render.emit_json(
            {
                "id": registration.id.hex(),
                "name": registration.name,
                "vault": url,
                "state": registration.state.value,
                "registeredAt": render.json_moment(registration.registered_at),
            }
        )
        return
    render.say(words)
    render.facts(
        [
            ("server", registration.name),
            ("registration", registration.id.hex()),
            ("vault", url),
            ("state", registration.state.value),
        ]
    )
