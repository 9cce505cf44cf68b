"""Which systems can be protected offline: the seed's support matrix as a table, and Linux beside it.

The Windows rows are the seed's, 64-bit all (azure.md S5-S16). Linux is Wain's own addition.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from wain.base.errors import Refused

MACHINES_64_BIT: Final = frozenset({"x86_64", "amd64", "aarch64", "arm64"})
"""What a 64-bit machine calls itself, lower-case."""


class Role(Enum):
    """The matrix's first column."""

    WORKSTATION = "Workstation"
    SERVER = "Server"
    ANY = "Workstation or server"


@dataclass(frozen=True, slots=True)
class Platform:
    """One row of the matrix."""

    name: str
    role: Role
    editions: tuple[str, ...]
    """Empty: every edition."""


PLATFORMS: Final = (
    Platform("Windows 10", Role.WORKSTATION, ("Enterprise", "Pro", "Home")),
    Platform("Windows 8.1", Role.WORKSTATION, ("Enterprise", "Pro")),
    Platform("Windows 8", Role.WORKSTATION, ("Enterprise", "Pro")),
    Platform(
        "Windows 7",
        Role.WORKSTATION,
        ("Ultimate", "Enterprise", "Professional", "Home Premium", "Home Basic", "Starter"),
    ),
    Platform("Windows Server 2022", Role.SERVER, ("Standard", "Datacenter", "Essentials")),
    Platform("Windows Server 2019", Role.SERVER, ("Standard", "Datacenter", "Essentials")),
    Platform("Windows Server 2016", Role.SERVER, ("Standard", "Datacenter", "Essentials")),
    Platform("Windows Server 2012 R2", Role.SERVER, ("Standard", "Datacenter", "Foundation")),
    Platform("Windows Server 2012", Role.SERVER, ("Datacenter", "Foundation", "Standard")),
    Platform("Windows Storage Server 2016", Role.SERVER, ("Standard", "Workgroup")),
    Platform("Windows Storage Server 2012 R2", Role.SERVER, ("Standard", "Workgroup", "Essential")),
    Platform("Windows Storage Server 2012", Role.SERVER, ("Standard", "Workgroup")),
    Platform("Windows Server 2008 R2 SP1", Role.SERVER, ("Standard", "Enterprise", "Datacenter", "Foundation")),
    Platform("Windows Server 2008 SP2", Role.SERVER, ("Standard", "Enterprise", "Datacenter")),
    Platform("Linux", Role.ANY, ()),
)


def find_platform(name: str, edition: str, machine: str) -> Platform:
    """Return the row of a system, an edition (ignored where the row lists none) and a machine type (`uname -m`).

    Raises:
        Refused: the system, the edition or a 32-bit machine is not supported; the reason says which.
    """
    row = next((row for row in PLATFORMS if row.name.casefold() == name.casefold()), None)
    if row is None:
        known = ", ".join(row.name for row in PLATFORMS)
        raise Refused(f"{name} is not a supported system", f"Supported are {known}.")
    if row.editions and edition.casefold() not in {each.casefold() for each in row.editions}:
        raise Refused(f"{row.name} {edition} is not a supported edition", f"Supported are {', '.join(row.editions)}.")
    if machine.lower() not in MACHINES_64_BIT:
        raise Refused(f"{row.name} on {machine} is not a 64-bit system", "The seed supports 64-bit systems only.")
    return row
