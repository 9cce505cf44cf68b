"""What the directory knows: users, applications with their certificates, service principals, role assignments.

Ids are GUIDs in lower case, as Azure writes them; moments are aware and in UTC.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeyCredential:
    """The public part of a certificate on an application (Microsoft Graph, keyCredential)."""

    key_id: str
    certificate: bytes
    """X.509, DER."""
    starts_at: datetime
    ends_at: datetime
    custom_identifier: str = ""
    """As the client sent it; the certificate's SHA-1 in hex when it sent none."""
    display_name: str = ""
    added_by: str = ""
    """The key whose holder added this one (addKey); empty when a person did."""


@dataclass(frozen=True, slots=True)
class Application:
    """A registered application. `version` grows with every change; it is the ETag of the wire."""

    object_id: str
    app_id: str
    display_name: str
    owner: str
    """The object id of the user who made it."""
    created_at: datetime
    version: int
    keys: tuple[KeyCredential, ...] = ()


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """An application's account in the tenant: what roles are granted to."""

    object_id: str
    app_id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class User:
    """A person. `name` is the user principal name, such as `ada@example.org`, in lower case."""

    object_id: str
    name: str
    display_name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """Who may do what where. `principal` is the object id of a user or service principal."""

    id: str
    principal: str
    role: str
    """A role's name (`identity.roles`)."""
    scope: str
