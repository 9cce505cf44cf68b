"""Signing in, through azure-identity: people by device code, servers by certificate, at Entra or at `wain serve`.

Loading this module takes a while; only commands that sign in do.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import CertificateCredential, DefaultAzureCredential, DeviceCodeCredential

from wain.base.errors import Refused
from wain.wire.calls import Token, Unreachable

MICROSOFT: Final = "https://login.microsoftonline.com"
ANY_TENANT: Final = "organizations"
_TEXT_CAP: Final = 500
_RETRIES: Final = 2
"""azure-identity's own ten, each waiting longer, would take a minute to say that nobody answers."""
# What these libraries would print about a failure on standard error, our errors say in one sentence.
for _name in ("azure", "msal"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

Show = Callable[[str, str], None]
"""Tells a person which page to open and which code to type there."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A token service: its address, the tenant, and the certificate authority to trust (empty: the system's)."""

    url: str = MICROSOFT
    tenant: str = ANY_TENANT
    ca_file: str = ""

    def options(self) -> dict[str, Any]:
        """Return what azure-identity needs to know of it."""
        # Only Microsoft's own addresses are in the list that instance discovery asks.
        return {
            "authority": self.url,
            "disable_instance_discovery": self.url != MICROSOFT,
            "connection_verify": self.ca_file or True,
            "retry_total": _RETRIES,
        }


class SignIn:
    """Somebody who signs in when a token is first needed, and stays signed in as long as this object lives."""

    def __init__(self, credential: Any, where: str) -> None:
        self.credential = credential
        """What Azure's SDKs take as `credential`."""
        self._where = where

    def token(self, scope: str) -> Token:
        """Return a source of tokens for a scope.

        Its calls raise:
            Refused: the sign-in was refused, declined, or did not come in time.
            Unreachable: the token service did not answer.
        """

        def ask() -> str:
            with self._refusals():
                return str(self.credential.get_token(scope).token)

        return ask

    def tenant(self, scope: str) -> str:
        """Sign a person in, and return the tenant that they are of. Errors: as of `token`."""
        with self._refusals():
            return str(self.credential.authenticate(scopes=[scope]).tenant_id)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except ClientAuthenticationError as error:
            if isinstance(error.__cause__, ServiceRequestError | ServiceResponseError):
                raise Unreachable(self._where, str(error.__cause__).partition("\n")[0][:_TEXT_CAP]) from None
            reason = str(error.message).partition("\n")[0][:_TEXT_CAP]
            raise Refused(f"the sign-in failed: {reason}", "Sign in again, with the right account.") from None
        except AzureError as error:
            raise Unreachable(self._where, str(error).partition("\n")[0][:_TEXT_CAP]) from None


def person(authority: Authority, show: Show) -> SignIn:
    """Return a person who will sign in with a browser; `show` says where, and with which code.

    Raises:
        Refused: the authority's address or tenant is none.
    """
    with _usable():
        credential = DeviceCodeCredential(
            tenant_id=authority.tenant,
            prompt_callback=lambda page, code, _: show(page, code),
            **authority.options(),
        )
    return SignIn(credential, authority.url)


def server(authority: Authority, app_id: str, pem: bytes) -> SignIn:
    """Return a server that signs in as an application, with a private key and its certificate in PEM.

    Raises:
        Refused: the authority's address or tenant is none, or the certificate cannot be used.
    """
    with _usable():
        credential = CertificateCredential(authority.tenant, app_id, certificate_data=pem, **authority.options())
    return SignIn(credential, authority.url)


def found(authority: Authority) -> SignIn:
    """Return whoever azure-identity finds on this machine: the environment's account, a managed identity.

    Raises:
        Refused: the authority's address is none.
    """
    with _usable():
        credential = DefaultAzureCredential(**authority.options())
    return SignIn(credential, authority.url)


@contextmanager
def _usable() -> Iterator[None]:
    """Turn azure-identity's refusal of an argument into ours."""
    try:
        yield
    except ValueError as error:
        hint = "An address begins with https://; a tenant is a GUID or a domain."
        raise Refused(f"nobody can sign in there: {error}", hint) from None
