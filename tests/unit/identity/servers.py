"""Protected servers: an agent directory each, and Graph as the person or the server who signs in."""

from pathlib import Path

from unit.identity.people import GRAPH, token_of
from unit.identity.serving import Served, now
from wain.agent.certificates import OwnCertificate
from wain.agent.offline_identity import OfflineIdentity
from wain.wire import sign_in
from wain.wire.calls import Calls
from wain.wire.graph import SCOPE, Graph


def agent(directory: Path) -> OfflineIdentity:
    return OfflineIdentity(directory / "agent", now)


def graph_as(served: Served, name: str) -> Graph:
    """The agent's own client, as somebody who has signed in."""
    return Graph(Calls(served.url, lambda: token_of(served, name, "https://graph.microsoft.com"), str(served.ca)))


def graph_of_server(served: Served, app_id: str, certificate: OwnCertificate) -> Graph:
    """The agent's own client, signed in with a certificate through azure-identity."""
    authority = sign_in.Authority(served.url, served.identity.site.tenant, str(served.ca))
    token = sign_in.server(authority, app_id, certificate.pem).token(SCOPE)
    token()
    return Graph(Calls(served.url, token, str(served.ca)))


def can_sign_in(served: Served, one: OfflineIdentity, user: str) -> bool:
    """Say whether a server can sign in with the certificate that it is bound to."""
    binding = one.record().bindings[user]
    certificate = one.certificates.find(binding.thumbprint)
    assert certificate is not None
    authority = sign_in.Authority(served.url, served.identity.site.tenant, str(served.ca))
    return bool(sign_in.server(authority, binding.app_id, certificate.pem).token(GRAPH)())
