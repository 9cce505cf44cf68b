"""All routes of the identity services, for `wain serve` to compose with the others."""

from starlette.routing import Route

from wain.identity.http_device import device_routes
from wain.identity.http_graph import Graph
from wain.identity.http_roles import RoleRoutes
from wain.identity.http_token import token_routes
from wain.identity.service import Identity


def routes(identity: Identity) -> list[Route]:
    """Return the routes: the sign-in page, Graph (`/v1.0`), roles at every scope, and tokens below the tenant."""
    return [
        *device_routes(identity),
        *Graph(identity).routes(),
        *RoleRoutes(identity).routes(),
        *token_routes(identity),
    ]
