"""The directory and its routes in this process, with a clock that the test sets."""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from unit.identity.certs import NOW
from wain.identity.routes import routes
from wain.identity.service import Identity

URL = "https://identity.example:8443"
CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


@dataclass
class Clock:
    """Tells the moment that it was set to."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **span: float) -> None:
        self.at += timedelta(**span)


class Browser:
    """Sends requests to the routes in this process, as from a network address."""

    def __init__(self, app: Starlette, address: str) -> None:
        self._transport = httpx.ASGITransport(app, client=(address, 50000))

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=URL) as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


class Ground:
    """An open directory, its clock, and a browser in front of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.identity = Identity.open(root, URL, self.clock)
        self.app = Starlette(routes=routes(self.identity))
        self.browser = self.at("198.51.100.7")

    def at(self, address: str) -> "Browser":
        """A browser at another address."""
        return Browser(self.app, address)

    def begin(self, scope: str = "https://management.azure.com/.default offline_access") -> dict[str, str]:
        form = {"client_id": CLIENT, "scope": scope}
        answer = self.browser.post(f"/{self.identity.site.tenant}/oauth2/v2.0/devicecode", data=form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def poll(self, device_code: str, client: str = CLIENT) -> dict[str, str]:
        form = {
            "client_id": client,
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": device_code,
        }
        return dict(self.browser.post(f"/{self.identity.site.tenant}/oauth2/v2.0/token", data=form).json())

    def refresh(self, token: str, scope: str = "https://graph.microsoft.com/.default") -> dict[str, str]:
        form = {"client_id": CLIENT, "grant_type": "refresh_token", "refresh_token": token, "scope": scope}
        return dict(self.browser.post(f"/{self.identity.site.tenant}/oauth2/v2.0/token", data=form).json())

    def files(self) -> list[str]:
        return sorted(os.listdir(self.root / "signing"))
