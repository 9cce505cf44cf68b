"""`wain serve`: the services over HTTPS. It serves nobody before it knows who may call."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from wain.base.errors import Refused
from wain.cli import render
from wain.cli.config import path_of
from wain.cli.options import DataBox
from wain.cli.parts import Parts, now

if TYPE_CHECKING:
    from wain.identity.service import Identity
    from wain.wire.tls import TlsFiles

_PORT_CAP = 65535


def serve(
    context: typer.Context,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8443",
    url: Annotated[
        str, typer.Option(metavar="URL", help="How clients reach it. Default: https://localhost and the port.")
    ] = "",
    certificate: Annotated[
        str, typer.Option(metavar="FILE", help="The TLS certificate (PEM). Default: one is made.")
    ] = "",
    certificate_key: Annotated[
        str, typer.Option(metavar="FILE", help="Its private key (PEM), readable by its owner only.")
    ] = "",
    directory: Annotated[
        str, typer.Option(metavar="DIR", help="The directory's files. Default: identity/ in the home.")
    ] = "",
    databox: DataBox = "",
) -> None:
    """Serve Data Box orders and identity over HTTPS, until it is stopped (SIGTERM, Ctrl-C)."""
    from wain.cli.serving import Listening, run
    from wain.identity.service import Identity

    parts = Parts.of(context)
    host, port = _address(listen)
    url = (url or f"https://localhost:{port}").rstrip("/")
    root = Path(path_of(directory, "--directory")) if directory else Path(parts.settings.home) / "identity"
    files = _tls(parts, (certificate, certificate_key), url)
    if not root.is_dir():
        raise _nobody(root)
    with Identity.open(root, url, now) as identity, parts.databox(databox) as service:
        _check_somebody(identity, root)
        render.say(f"Serving {url} on {host}:{port}, tenant {identity.site.tenant}")
        render.say(f"Certificate {files.certificate}, SHA-256 {files.fingerprint()}")
        run(service, identity, Listening(host, port, url, files))
    render.say("Stopped.")


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port[:6]) <= _PORT_CAP:
        raise Refused(f"{listen!r} is no address to listen on", "Give --listen as HOST:PORT, such as 0.0.0.0:8443.")
    return host.strip("[]"), int(port)


def _tls(parts: Parts, given: tuple[str, str], url: str) -> "TlsFiles":
    from wain.wire.tls import TlsFiles, own_certificate

    certificate, key = given
    if bool(certificate) != bool(key):
        raise Refused("a certificate and its key belong together", "Give --certificate and --certificate-key, or none.")
    host = urlsplit(url).hostname or "localhost"
    if certificate:
        files = TlsFiles(Path(os.path.abspath(certificate)), Path(os.path.abspath(key)))
    else:
        files = own_certificate(Path(parts.settings.home) / "tls", host, now())
    files.check(now())
    return files


def _check_somebody(identity: "Identity", root: Path) -> None:
    if not identity.assignments.all():
        raise _nobody(root)


def _nobody(root: Path) -> Refused:
    hint = "Run `wain identity user add` and `wain identity role grant` first."
    return Refused(f"the directory {root} lets nobody in: no role is granted in it", hint)
