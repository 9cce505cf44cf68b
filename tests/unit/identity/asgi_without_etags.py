"""The identity routes as a service without ETags: whether Entra has them for applications is not documented."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from unit.identity.asgi import build as build_whole

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def build() -> Callable[[Message, Receive, Send], Awaitable[None]]:
    app = build_whole()

    async def without(scope: Message, receive: Receive, send: Send) -> None:
        async def strip(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value) for name, value in message["headers"] if name not in (b"etag", b"content-length")
                ]
            elif message["type"] == "http.response.body":
                message["body"] = message.get("body", b"").replace(b'"@odata.etag"', b'"ignored"')
            await send(message)

        if scope["type"] == "http":
            scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != b"if-match"]}
        await app(scope, receive, strip)

    return without
