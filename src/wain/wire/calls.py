"""Calls to a service that speaks JSON over HTTPS: bearer tokens, bodies with a cap, refusals as Wain's errors."""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx

from wain.base.errors import Refused, RemoteError, TooLarge, UserError

ANSWER_CAP: Final = 16 * 1024 * 1024
TIMEOUT_SECONDS: Final = 60.0
_TEXT_CAP: Final = 500
_GONE: Final = 404
_CHANGED: Final = 412
_BUSY: Final = frozenset({408, 425, 429})
_SIGN_IN: Final = 401

Token = Callable[[], str]
"""Returns a bearer token that is valid now."""


@dataclass(eq=False)
class Unreachable(RemoteError):
    """A service that did not answer, or could not answer now. `where` is its address."""

    where: str
    why: str
    hint: str = "Try again; check the network, the address and the certificate of the service."

    def __str__(self) -> str:
        return f"{self.where} cannot be reached: {self.why}"


@dataclass(eq=False)
class Declined(UserError):
    """A service that understood and refused. `code` is its own word for why, `status` HTTP's."""

    where: str
    status: int
    code: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where} refuses: {self.reason} ({self.code or self.status})"


@dataclass(eq=False)
class NotThere(UserError):
    """What was asked for does not exist there, or not for this caller."""

    where: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where} does not have it: {self.reason}"


@dataclass(eq=False)
class Changed(RemoteError):
    """It has changed since it was read; read it again."""

    where: str

    def __str__(self) -> str:
        return f"{self.where} has changed in the meantime"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status, its headers in lower case, and its JSON object (empty when there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class Calls:
    """Calls one service. `ca_file` names the certificate authority to trust in place of the system's, or is empty."""

    def __init__(self, base_url: str, token: Token, ca_file: str = "") -> None:
        if not base_url.startswith("https://"):
            raise Refused(f"{base_url} is not https", "Give an address that begins with https://.")
        self.where = base_url.rstrip("/")
        self._token = token
        self._http = httpx.Client(verify=trust(ca_file), timeout=TIMEOUT_SECONDS, follow_redirects=False)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return its answer. `path` begins with `/` and holds the query (`with_query`).

        Raises:
            Changed: the resource is not as it was read (412).
            NotThere: it does not exist (404).
            Declined: any other refusal.
            Unreachable: no answer, or one that says "later".
        """
        whole = {"Authorization": f"Bearer {self._token()}", **(headers or {})}
        try:
            with self._http.stream(method, self.where + path, json=body, headers=whole) as response:
                answer = Answer(response.status_code, dict(response.headers), _json(_read(response)))
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise Unreachable(self.where, str(error) or type(error).__name__) from error
        self._check(answer)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _check(self, answer: Answer) -> None:
        if answer.status < 400:
            return
        error = answer.body.get("error")
        fields = error if isinstance(error, dict) else {}
        code, reason = str(fields.get("code", ""))[:_TEXT_CAP], str(fields.get("message", ""))[:_TEXT_CAP]
        reason = reason or f"HTTP status {answer.status}"
        if answer.status == _CHANGED:
            raise Changed(self.where)
        if answer.status == _GONE:
            raise NotThere(self.where, reason)
        if answer.status in _BUSY or answer.status >= 500:
            raise Unreachable(self.where, reason)
        hint = "Sign in again." if answer.status == _SIGN_IN else ""
        raise Declined(self.where, answer.status, code, reason, hint)


def with_query(path: str, query: Mapping[str, str]) -> str:
    """Return a path with a query."""
    return f"{path}?{urlencode(query, quote_via=quote, safe='$')}"


def trust(ca_file: str) -> ssl.SSLContext:
    """Return what a client trusts: the certificates of a file, or the system's.

    Raises:
        Refused: it is no file of certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"{ca_file} is no file of certificates: {error}", "Give a PEM file with --ca-file.") from None


def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > ANSWER_CAP:
            raise TooLarge(f"an answer of {response.url.host}", len(body), ANSWER_CAP)
    return bytes(body)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
