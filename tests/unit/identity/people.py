"""People who sign in: on the page, as a browser would, for a program that waits with a device code."""

import base64
import re
import threading
from typing import Protocol

import httpx
from azure.identity import DeviceCodeCredential

from unit.identity.certs import KeyPair
from unit.identity.serving import Served

ADA = "ada@example.org"
BOB = "bob@example.org"
PASSWORD = "a sentence that is long enough"
GRAPH = "https://graph.microsoft.com/.default"
ARM = "https://management.azure.com/.default"


class Posts(Protocol):
    """Whatever posts forms."""

    def post(self, path: str, *, data: dict[str, str]) -> httpx.Response: ...


def sign_in_on_the_page(client: Posts, code: str, name: str, password: str = PASSWORD) -> httpx.Response:
    """Type the code, then name and password."""
    asked = client.post("/devicelogin", data={"code": code})
    assert asked.status_code == 200, asked.text
    hidden = re.search(r"name=code value='([A-Z-]+)'", asked.text)
    assert hidden
    return client.post("/devicelogin", data={"code": hidden[1], "name": name, "password": password})


def person(served: Served, name: str, **options: object) -> DeviceCodeCredential:
    """The unmodified azure-identity, with somebody who signs in as soon as the code is shown."""

    def show(_: str, user_code: str, __: object) -> None:
        def browse() -> None:
            with served.client() as client:
                assert "You are signed in" in sign_in_on_the_page(client, user_code, name).text

        threading.Thread(target=browse).start()

    return DeviceCodeCredential(
        tenant_id=served.identity.site.tenant,
        authority=served.url,
        disable_instance_discovery=True,
        connection_verify=str(served.ca),
        prompt_callback=show,
        **options,
    )


def token_of(served: Served, name: str, audience: str) -> str:
    """A person's token, without the way that leads to it."""
    user = served.identity.users.find(name)
    epoch = served.identity.users.epoch(user.object_id)
    assert epoch is not None
    return served.identity.tokens.for_user(user, epoch, "04b07795-8ddb-461a-bbee-02f9e1bf7b46", audience)


def graph_of(served: Served, name: str) -> httpx.Client:
    """Graph, as somebody who has signed in."""
    client = served.client()
    client.headers["Authorization"] = f"Bearer {token_of(served, name, 'https://graph.microsoft.com')}"
    client.base_url = f"{served.url}/v1.0"
    return client


def registered(served: Served, name: str, *pairs: KeyPair) -> tuple[str, str]:
    """Register an application with certificates and an account; return its object id and client id."""

    keys = [
        {"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.b64encode(pair.der).decode()} for pair in pairs
    ]
    user = served.identity.users.find(ADA)
    made = served.identity.applications.create(user.object_id, {"displayName": name, "keyCredentials": keys})
    served.identity.applications.add_principal(made.app_id)
    return made.object_id, made.app_id
