"""What the identity services refuse, each with the code that Microsoft's own services give for it.

Clients read the code; people read the sentence. No sentence quotes a secret.
"""

from dataclasses import dataclass

from wain.base.errors import UserError


@dataclass(eq=False)
class TokenRefused(UserError):
    """The token service refuses (RFC 6749 5.2). `error` is OAuth's code, `number` Entra's AADSTS number."""

    error: str
    number: int
    reason: str
    status: int = 400
    hint: str = ""

    def __str__(self) -> str:
        return f"AADSTS{self.number}: {self.reason}"


@dataclass(eq=False)
class GraphRefused(UserError):
    """The directory refuses (Microsoft Graph, error resource). `detail` is Graph's inner code, or empty."""

    code: str
    reason: str
    status: int = 400
    detail: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return self.reason


def not_found(what: str) -> GraphRefused:
    """Return the refusal for something that does not exist, or that this caller may not see."""
    return GraphRefused("Request_ResourceNotFound", f"{what} does not exist", 404)


def denied(why: str = "Insufficient privileges to complete the operation") -> GraphRefused:
    """Return the refusal for a caller who may not."""
    return GraphRefused("Authorization_RequestDenied", why, 403)


def bad(why: str, detail: str = "") -> GraphRefused:
    """Return the refusal for a request that breaks a rule."""
    return GraphRefused("Request_BadRequest", why, 400, detail)
