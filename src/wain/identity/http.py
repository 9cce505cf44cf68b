"""What all routes of the identity services share: bodies with a cap, work off the event loop, errors in one place."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from wain.base.errors import RemoteError, WainError

FORM_CAP: Final = 64 * 1024
FIELDS_CAP: Final = 32
READ_SECONDS: Final = 30.0
"""How long a body of these sizes may take to come."""
DROP_CAP: Final = 1024 * 1024
"""How much of a body that is too large is read and thrown away before the answer."""
_DIGITS: Final = 18
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}

_LOG: Final = logging.getLogger("wain.identity")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, whole. `address` is where the connection comes from; `id` names the request in answers."""

    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    address: str
    id: str

    @property
    def bearer(self) -> str:
        """The bearer token, or an empty text."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


def failure_status(error: WainError) -> int:
    """Return the status for an error of our own: 503 when the same request may work later, else 500.

    What exactly failed is for the operator's log (logger `wain.identity`), not for strangers.
    """
    _LOG.error("%s: %s", type(error).__name__, error)
    return 503 if isinstance(error, RemoteError) else 500


class BodyTooLarge(Exception):
    """A body over its cap; what is beyond it was not kept."""


class BodyUnreadable(Exception):
    """A body that is not what it must be. The text says how."""


Handler = Callable[[Call], Response]
Refusal = Callable[[Exception, Call], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(handler: Handler, refusal: Refusal, cap: int, limiter: CapacityLimiter | None = None) -> Endpoint:
    """Return a route's function: reads the body up to `cap` bytes, then runs `handler` in a thread.

    Whatever it raises, `refusal` answers. Calls over the limit wait without a thread, so that slow work starves nobody.
    """

    async def run(request: Request) -> Response:
        call = _call(request, b"")
        try:
            body = await _body(request, cap)
        except (BodyTooLarge, BodyUnreadable) as error:
            return refusal(error, call)
        return await to_thread.run_sync(_answer, handler, refusal, _call(request, body), limiter=limiter)

    return run


def form(call: Call) -> dict[str, str]:
    """Return the fields of an `application/x-www-form-urlencoded` body.

    Raises:
        BodyUnreadable: it is none, has too many fields, or one twice.
    """
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BodyUnreadable("the body must be application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(call.body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_CAP)
    except ValueError:
        raise BodyUnreadable("the body is no form, or has too many fields") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise BodyUnreadable("a field is there twice")
    return fields


async def _body(request: Request, cap: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdecimal() or len(announced) > _DIGITS:
        raise BodyTooLarge
    if int(announced) > cap + DROP_CAP:
        raise BodyTooLarge
    readable = int(announced) <= cap
    body = bytearray()
    dropped = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for piece in request.stream():
                if readable and len(body) + len(piece) <= cap:
                    body += piece
                    continue
                # Nothing more is kept; a little is still read, or the client would not see the answer for the reset.
                readable = False
                dropped += len(piece)
                if dropped > DROP_CAP:
                    break
    except (TimeoutError, ClientDisconnect):
        raise BodyUnreadable("the body did not arrive") from None
    if not readable:
        raise BodyTooLarge
    return bytes(body)


def _call(request: Request, body: bytes) -> Call:
    address = request.client.host if request.client else "unknown"
    query = dict(request.query_params)
    return Call(request.method, request.path_params, query, request.headers, body, address, str(uuid4()))


def _answer(handler: Handler, refusal: Refusal, call: Call) -> Response:
    try:
        return handler(call)
    except Exception as error:  # noqa: BLE001 - `refusal` re-raises what it does not know
        return refusal(error, call)
