"""The application behind `wain serve`, and the process that serves it: routes, figures, and a calm end."""

import asyncio
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wain import __version__
from wain.base.errors import Refused, WainError
from wain.databox.arm import ArmRoutes
from wain.databox.arm_openapi import document
from wain.databox.jobs import Jobs
from wain.databox.service import DataBox
from wain.identity.callers import DirectoryCallers, DirectoryRoles
from wain.identity.routes import routes as identity_routes
from wain.identity.service import Identity
from wain.wire.tls import TlsFiles

_CLASS: Final = 100
_BACKLOG: Final = 128
_GRACE_SECONDS: Final = 30
"""How long a stop waits for requests that are being answered."""
_METHODS: Final = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_METRICS_TYPE: Final = "text/plain; version=0.0.4"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the services listen, how clients reach them, and with which certificate."""

    host: str
    port: int
    url: str
    tls: TlsFiles


class Figures:
    """Counts requests by method and class of status. What a stranger sends never makes a new label."""

    def __init__(self, app: ASGIApp, seen: Counter[tuple[str, str]]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its answer."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._seen[(method, f"{message['status'] // _CLASS}xx")] += 1
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


class Watch:
    """`/healthz` and `/metrics`, for whoever watches the service. Neither names a customer."""

    def __init__(self, jobs: Jobs, seen: Counter[tuple[str, str]]) -> None:
        self._jobs = jobs
        self._seen = seen

    async def health(self, _: Request) -> Response:
        """Say whether the catalog can be read."""
        try:
            await to_thread.run_sync(self._jobs.count)
        except WainError:
            return JSONResponse({"status": "the catalog cannot be read"}, 503)
        return JSONResponse({"status": "ok", "version": __version__})

    async def metrics(self, _: Request) -> Response:
        """Return the figures in Prometheus' text format."""
        try:
            stages = await to_thread.run_sync(self._jobs.count)
        except WainError:
            return PlainTextResponse("the catalog cannot be read\n", 503)
        lines = ["# HELP wain_orders Data Box orders by stage.", "# TYPE wain_orders gauge"]
        lines += [f'wain_orders{{stage="{stage}"}} {count}' for stage, count in stages.items()]
        lines += ["# HELP wain_http_requests_total Requests answered since the start."]
        lines += ["# TYPE wain_http_requests_total counter"]
        for (method, status), count in sorted(self._seen.items()):
            lines.append(f'wain_http_requests_total{{method="{method}",status="{status}"}} {count}')
        return PlainTextResponse("\n".join(lines) + "\n", media_type=_METRICS_TYPE)


def application(service: DataBox, identity: Identity, url: str) -> ASGIApp:
    """Return everything that `wain serve` answers."""
    seen: Counter[tuple[str, str]] = Counter()
    jobs = service.jobs()
    watch = Watch(jobs, seen)
    arm = ArmRoutes(jobs, DirectoryCallers(identity), DirectoryRoles(identity), url).routes()

    async def openapi(_: Request) -> Response:
        return JSONResponse(document(arm, url))

    routes: Sequence[BaseRoute] = [
        Route("/healthz", watch.health, methods=["GET"]),
        Route("/metrics", watch.metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        *arm,
        *identity_routes(identity),
    ]
    return Figures(Starlette(routes=routes, exception_handlers={HTTPException: _unknown}), seen)


async def _unknown(_: Request, error: Exception) -> Response:
    """Answer a path or a method that nobody serves, in ARM's form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = "MethodNotAllowed" if status == 405 else "InvalidResourceType"
    return JSONResponse({"error": {"code": code, "message": "Nothing is served there."}}, status)


class _Server(uvicorn.Server):
    """Leaves signals to `run`: uvicorn would raise them again after its end, and make a calm stop look like Ctrl-C."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(service: DataBox, identity: Identity, listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT; requests that are being answered are answered to their end.

    Raises:
        Refused: the address cannot be listened on.
    """
    with _listener(listening) as listener:
        asyncio.run(_serve(application(service, identity, listening.url), listening, listener))


def _listener(listening: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        return socket.create_server((listening.host, listening.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        where = f"{listening.host}:{listening.port}"
        raise Refused(f"cannot listen on {where}: {error.strerror or error}", "Choose another --listen.") from error


async def _serve(app: ASGIApp, listening: Listening, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_context_factory=lambda _config, _default: _tls(listening.tls),
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    await server.serve([listener])


def _tls(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    return context
