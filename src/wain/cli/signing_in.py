"""Where people and servers sign in: from what the options say, or what the agent remembers, to Graph and ARM."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli.config import Settings
from wain.cli.parts import now

if TYPE_CHECKING:
    from wain.agent.certificates import OwnCertificate
    from wain.agent.offline_identity import OfflineIdentity, Standing
    from wain.agent.offline_record import Services
    from wain.wire.authorization import Authorization
    from wain.wire.graph import Graph
    from wain.wire.sign_in import SignIn

Authority = Annotated[
    str, typer.Option("--authority", metavar="URL", help="The token service. Default: Microsoft's, or as remembered.")
]
Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="The tenant. Default: the account's own.")]
GraphUrl = Annotated[
    str, typer.Option("--graph", metavar="URL", help="Microsoft Graph. Default: beside the token service.")
]
ArmUrl = Annotated[
    str, typer.Option("--arm", metavar="URL", help="Azure Resource Manager. Default: beside the token service.")
]
CaFile = Annotated[
    str, typer.Option("--ca-file", metavar="FILE", help="The certificate authority to trust, for `wain serve`.")
]
_MICROSOFT_GRAPH: Final = "https://graph.microsoft.com"
_MICROSOFT_ARM: Final = "https://management.azure.com"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options said about the services; empty where they said nothing."""

    authority: str = ""
    tenant: str = ""
    graph: str = ""
    arm: str = ""
    ca_file: str = ""


class SigningIn:
    """Signs in at the services of one agent's home. A person signs in at most once in each command."""

    def __init__(self, settings: Settings, asked: Asked | None = None) -> None:
        self._settings = settings
        self._asked = asked or Asked()
        self._person: SignIn | None = None
        self._tenant = ""

    def offline(self) -> "OfflineIdentity":
        """Return the agent's part."""
        from pathlib import Path

        from wain.agent.offline_identity import OfflineIdentity

        return OfflineIdentity(Path(self._settings.home) / "agent", now)

    def services(self) -> "Services":
        """Return the addresses: as asked, else as remembered, else Microsoft's."""
        import os
        from dataclasses import replace

        from wain.agent.offline_record import Services
        from wain.wire.sign_in import ANY_TENANT, MICROSOFT

        asked, known = self._asked, self.offline().record().services
        if known is None or asked.authority:
            authority = (asked.authority or MICROSOFT).rstrip("/")
            ours = authority != MICROSOFT
            known = Services(
                authority,
                asked.tenant or ANY_TENANT,
                authority if ours else _MICROSOFT_GRAPH,
                authority if ours else _MICROSOFT_ARM,
            )
        ca_file = os.path.abspath(asked.ca_file) if asked.ca_file else known.ca_file
        return replace(
            known,
            tenant=self._tenant or asked.tenant or known.tenant,
            graph=asked.graph or known.graph,
            arm=asked.arm or known.arm,
            ca_file=ca_file,
        )

    def person(self) -> "SignIn":
        """Have a person sign in: the page and the code are shown on standard error."""
        from wain.wire import sign_in
        from wain.wire.graph import SCOPE

        if self._person is None:
            services = self.services()
            authority = sign_in.Authority(services.authority, services.tenant, services.ca_file)
            self._person = sign_in.person(authority, _show_code)
            self._tenant = self._person.tenant(SCOPE)
        return self._person

    def graph(self) -> "Graph":
        """Return Graph, as the person who signs in."""
        from wain.wire.calls import Calls
        from wain.wire.graph import SCOPE, Graph

        person, services = self.person(), self.services()
        return Graph(Calls(services.graph, person.token(SCOPE), services.ca_file))

    def ensure(self, subscription: str) -> "Standing":
        """Have a person sign in, and set up the application and this server's certificate (seed, S63, S64, S86).

        With a subscription, the person must be its Owner, and the application may read its Data Box orders.

        Raises:
            Refused: the sign-in, the directory or the subscription refuse.
        """
        from dataclasses import replace

        offline, graph = self.offline(), self.graph()
        authorization = self.check_owner(subscription) if subscription else None
        standing = offline.ensure(graph)
        if authorization is not None:
            from wain.wire.authorization import DATA_BOX_READER

            authorization.grant(standing.principal, DATA_BOX_READER)
        offline.remember(replace(offline.record(), services=self.services()))
        return standing

    def check_owner(self, subscription: str) -> "Authorization":
        """Have a person sign in, and check that they are Owner of a subscription; return its role assignments.

        Raises:
            Refused: they are not, or the sign-in is refused.
        """
        from wain.wire.authorization import SCOPE, Authorization
        from wain.wire.calls import Calls

        person, services = self.graph().me(), self.services()
        found = Authorization(Calls(services.arm, self.person().token(SCOPE), services.ca_file), subscription)
        found.check_owner(person.object_id, person.name)
        return found

    def unattended(self, arm: str) -> "SignIn":
        """Return how this server signs in at an ARM endpoint when nobody is there.

        With its own certificate, where it has one for that endpoint; else as azure-identity finds on this machine.

        Raises:
            Refused: the certificate's key is gone.
        """
        from wain.wire import sign_in

        record = self.offline().record()
        binding, services = record.bindings.get(record.current_user), record.services
        if binding is None or not binding.app_id or services is None or services.arm.rstrip("/") != arm:
            here = self.services()
            return sign_in.found(sign_in.Authority(here.authority, here.tenant, here.ca_file))
        certificate = self.offline().certificates.find(binding.thumbprint)
        if certificate is None:
            hint = "Run `wain identity setup`: this server gets another."
            raise Refused(f"the private key of certificate {binding.thumbprint} is gone", hint)
        if not certificate.is_valid(now()):
            hint = "Run `wain identity setup`: an Owner signs in, and this server gets another."
            raise Refused(f"certificate {certificate.name}, with which this server signs in, has expired", hint)
        authority = sign_in.Authority(services.authority, services.tenant, services.ca_file)
        return sign_in.server(authority, binding.app_id, certificate.pem)

    def user(self) -> str:
        """Return the id of the user who signed in last on this server (seed, S108).

        Raises:
            Refused: nobody has.
        """
        found = self.offline().record().current_user
        if not found:
            raise Refused("nobody has signed in on this server", "Run `wain identity setup`.")
        return found

    def server(self, user: str) -> "Callable[[OwnCertificate], Graph]":
        """Return what signs this server in with a certificate, as the application of a user."""
        from wain.agent.offline_record import Binding
        from wain.wire import sign_in
        from wain.wire.calls import Calls
        from wain.wire.graph import SCOPE, Graph

        services = self.services()
        app_id = self.offline().record().bindings.get(user, Binding("")).app_id
        authority = sign_in.Authority(services.authority, services.tenant, services.ca_file)

        def with_certificate(certificate: "OwnCertificate") -> "Graph":
            token = sign_in.server(authority, app_id, certificate.pem).token(SCOPE)
            token()
            return Graph(Calls(services.graph, token, services.ca_file))

        return with_certificate


def _show_code(page: str, code: str) -> None:
    print(f"To sign in, open {page} in a browser and enter the code {code}.", file=sys.stderr, flush=True)
