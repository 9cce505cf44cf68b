"""Where the services answer, and what their tokens may be for. Pure."""

from dataclasses import dataclass
from typing import Final

from wain.identity.refusals import TokenRefused

ARM: Final = ("https://management.azure.com", "https://management.core.windows.net")
GRAPH: Final = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
STORAGE: Final = ("https://storage.azure.com",)
PROOF_AUDIENCE: Final = "00000002-0000-0000-c000-000000000000"
"""Who a proof of addKey and removeKey is for (Microsoft Graph, application: addKey)."""
ALIASES: Final = frozenset({"common", "organizations"})
"""What clients write in place of the tenant when they do not know it."""
OIDC: Final = frozenset({"openid", "profile", "email", "offline_access"})
SCOPE_CAP: Final = 2048
PUBLIC_CLIENTS: Final = {
    "04b07795-8ddb-461a-bbee-02f9e1bf7b46": "Microsoft Azure CLI",
    "1950a258-227b-4e31-a9cf-717495945fc2": "Microsoft Azure PowerShell",
}
"""Programs that people sign in to and that keep no secret; azure-identity calls itself the first."""


@dataclass(frozen=True, slots=True)
class Site:
    """The address of the services (`https://host:port`, no slash at its end) and the tenant they serve."""

    base_url: str
    tenant: str

    @property
    def authority(self) -> str:
        """The token service of the tenant."""
        return f"{self.base_url}/{self.tenant}"

    @property
    def issuer(self) -> str:
        """Who its tokens say they are from."""
        return f"{self.authority}/v2.0"

    @property
    def token_endpoint(self) -> str:
        """Where tokens are asked for."""
        return f"{self.authority}/oauth2/v2.0/token"

    @property
    def device_endpoint(self) -> str:
        """Where a sign-in on another device begins (RFC 8628)."""
        return f"{self.authority}/oauth2/v2.0/devicecode"

    @property
    def device_page(self) -> str:
        """The page where people type the code."""
        return f"{self.base_url}/devicelogin"

    @property
    def arm_audiences(self) -> tuple[str, ...]:
        """What tokens for the management services may be for."""
        return (*ARM, self.base_url)

    def check_tenant(self, name: str) -> None:
        """Check the tenant of a request.

        Raises:
            TokenRefused: it is another.
        """
        if name.lower() not in ALIASES | {self.tenant}:
            raise TokenRefused("invalid_request", 90002, f"Tenant {name[:64]!r} not found.")

    def audience_of(self, scope: str) -> str:
        """Return the resource that a space-separated scope is for, as the token will name it.

        Scopes of OpenID alone, and bare permissions such as `User.Read`, are Graph's.

        Raises:
            TokenRefused: several resources, or one that is not known here.
        """
        if len(scope) > SCOPE_CAP:
            raise TokenRefused("invalid_scope", 70011, f"The scope is longer than {SCOPE_CAP} characters.")
        found = {_resource(each) for each in scope.split() if each not in OIDC} or {GRAPH[0]}
        if len(found) > 1:
            raise TokenRefused("invalid_scope", 28000, "The scope names more than one resource.")
        resource = found.pop()
        if resource.rstrip("/").lower() not in {*self.arm_audiences, *GRAPH, *STORAGE}:
            raise TokenRefused(
                "invalid_resource", 500011, f"The resource {resource[:128]!r} was not found in the tenant."
            )
        return resource


def is_for(audience: str, accepted: tuple[str, ...]) -> bool:
    """Say whether a token's audience is one of those accepted; a slash at its end makes no difference."""
    return audience.rstrip("/").lower() in accepted


def _resource(scope: str) -> str:
    """`https://management.azure.com//.default` is for `https://management.azure.com/`; `User.Read` is Graph's."""
    resource, slash, _ = scope.removeprefix("api://").rpartition("/")
    return resource if slash else GRAPH[0]
