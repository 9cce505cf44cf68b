"""The page on which people sign in: the code that the program shows, their name and their password.

There is no session and no cookie: the password comes with the form that it decides, so no other page can decide for
its reader. The page runs no script.
"""

import html
from collections.abc import Mapping
from typing import Final

from anyio import CapacityLimiter
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from wain.base.errors import WainError
from wain.identity.attempts import ADDRESS, USER, TooManyAttempts, address_key
from wain.identity.device_codes import DeviceRequest, shown, typed
from wain.identity.http import NO_STORE, BodyTooLarge, BodyUnreadable, Call, endpoint, failure_status, form
from wain.identity.refusals import TokenRefused
from wain.identity.service import Identity
from wain.identity.site import PUBLIC_CLIENTS

PATH: Final = "/devicelogin"
AT_ONCE: Final = 2
"""Sign-ins looked at together: each takes 64 MiB for a moment, and strangers must not fill the memory."""
_CAP: Final = 16 * 1024
_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem}"
    "label{display:block;margin-top:1rem}input{display:block;width:100%;font:inherit;padding:.4rem;box-sizing:border-box}"
    "button{font:inherit;margin:1.5rem .5rem 0 0;padding:.4rem 1.2rem}.bad{color:#a00}.note{color:#555}"
)
_HEADERS: Final = {
    **NO_STORE,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_UNKNOWN_CODE: Final = "This code is not known, was used, or has expired. Start the sign-in again."
_WRONG: Final = "Name or password is wrong."


def device_routes(identity: Identity) -> list[Route]:
    """Return the routes of the sign-in page."""

    def ask(call: Call) -> Response:
        return _page(_form(call.query.get("code", "")[:16]))

    def decide(call: Call) -> Response:
        return _decide(identity, form(call), call.address)

    return [
        Route(PATH, endpoint(ask, _refusal, _CAP), methods=["GET"]),
        Route(PATH, endpoint(decide, _refusal, _CAP, CapacityLimiter(AT_ONCE)), methods=["POST"]),
    ]


def _decide(identity: Identity, fields: Mapping[str, str], address: str) -> Response:
    """First the code alone, then name and password; guesses at either count. Who has the code may always decline."""
    code, name = fields.get("code", ""), fields.get("name", "")
    keys = [(ADDRESS, address_key(address)), *([(USER, name)] if name else [])]
    identity.attempts.begin(keys, identity.clock())
    request = identity.device_codes.find(code)
    if request is None:
        return _page(_form(code, _UNKNOWN_CODE), 400)
    if "decline" in fields:
        identity.device_codes.decide(code, "", approved=False)
        return _page("<h1>Sign in</h1><p>The sign-in was declined.</p>")
    if not name:
        identity.attempts.succeeded(keys)
        return _page(_sign_in_form(code, request, "", ""))
    user = identity.users.signed_in(name, fields.get("password", ""))
    if user is None:
        return _page(_sign_in_form(code, request, name, _WRONG), 401)
    identity.attempts.succeeded(keys)
    if not identity.device_codes.decide(code, user.object_id, approved=True):
        return _page(_form(code, _UNKNOWN_CODE), 400)
    return _page("<h1>Sign in</h1><p>You are signed in. Go back to your program; you may close this page.</p>")


def _form(code: str, wrong: str = "") -> str:
    return (
        f"<h1>Sign in</h1>{_said(wrong)}<form method=post action={PATH}>"
        f"<label>Code that your program shows<input name=code autocomplete=off autofocus value='{_safe(code)}'></label>"
        "<button>Next</button></form>"
    )


def _sign_in_form(code: str, request: DeviceRequest, name: str, wrong: str) -> str:
    client = PUBLIC_CLIENTS.get(request.client, request.client)
    return (
        f"<h1>Sign in</h1>{_said(wrong)}<p>A program that calls itself <b>{_safe(client)}</b>, at address"
        f" <b>{_safe(request.address)}</b>, asks to act in your name on <b>{_safe(request.scope)}</b>.</p>"
        "<p class=note>Go on only if you have just started it yourself. Nobody has a reason to send you a code.</p>"
        f"<form method=post action={PATH}><input type=hidden name=code value='{_safe(shown(typed(code)))}'>"
        f"<label>User name<input name=name autocomplete=username autofocus value='{_safe(name)}'></label>"
        "<label>Password<input name=password type=password autocomplete=current-password></label>"
        "<button>Sign in</button><button name=decline value=1>Decline</button></form>"
    )


def _said(wrong: str) -> str:
    return f"<p class=bad role=alert>{_safe(wrong)}</p>" if wrong else ""


def _safe(text: str) -> str:
    return html.escape(text, quote=True)


def _page(body: str, status: int = 200) -> Response:
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Sign in</title><style>{_STYLE}</style>{body}</html>"
    )
    return HTMLResponse(page, status, headers=_HEADERS)


def _refusal(error: Exception, _: Call) -> Response:
    match error:
        case TooManyAttempts():
            answer = _page(_form("", f"{error}."), 429)
            answer.headers["Retry-After"] = str(error.seconds)
            return answer
        case BodyTooLarge():
            return _page(_form("", "The form is too large."), 413)
        case BodyUnreadable() | TokenRefused():
            return _page(_form("", f"The form cannot be read: {error}."), 400)
        case WainError():
            return _page(_form("", "The sign-in cannot be looked at now. Try again later."), failure_status(error))
    raise error
