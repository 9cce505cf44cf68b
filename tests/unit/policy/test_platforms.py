import pytest

from wain.base.errors import Refused
from wain.policy.platforms import PLATFORMS, Role, find_platform

# The seed's matrix, once more and typed apart from the code (azure.md S5-S16).
MATRIX = """
Windows 10: Enterprise, Pro, Home
Windows 8.1: Enterprise, Pro
Windows 8: Enterprise, Pro
Windows 7: Ultimate, Enterprise, Professional, Home Premium, Home Basic, Starter
Windows Server 2022: Standard, Datacenter, Essentials
Windows Server 2019: Standard, Datacenter, Essentials
Windows Server 2016: Standard, Datacenter, Essentials
Windows Server 2012 R2: Standard, Datacenter, Foundation
Windows Server 2012: Datacenter, Foundation, Standard
Windows Storage Server 2016: Standard, Workgroup
Windows Storage Server 2012 R2: Standard, Workgroup, Essential
Windows Storage Server 2012: Standard, Workgroup
Windows Server 2008 R2 SP1: Standard, Enterprise, Datacenter, Foundation
Windows Server 2008 SP2: Standard, Enterprise, Datacenter
"""
ROWS = [line.split(": ") for line in MATRIX.strip().splitlines()]
PAIRS = [(name, edition) for name, editions in ROWS for edition in editions.split(", ")]


@pytest.mark.parametrize(("name", "edition"), PAIRS)
def test_the_seeds_matrix(name, edition):
    row = find_platform(name, edition, "AMD64")
    assert row.name == name
    assert row.role is (Role.SERVER if "Server" in name else Role.WORKSTATION)


def test_nothing_but_the_matrix_and_linux():
    assert {row.name for row in PLATFORMS} == {name for name, _ in ROWS} | {"Linux"}
    assert sum(len(row.editions) for row in PLATFORMS) == len(PAIRS)


def test_linux_has_no_editions():
    assert find_platform("linux", "anything", "aarch64").name == "Linux"


@pytest.mark.parametrize(
    ("name", "edition", "machine", "reason"),
    [
        ("Windows XP", "Pro", "x86_64", "not a supported system"),
        ("Windows 8", "Home", "x86_64", "not a supported edition"),
        ("Windows Storage Server 2012", "Essential", "x86_64", "not a supported edition"),
        ("Windows 10", "Pro", "i686", "not a 64-bit system"),
        ("Linux", "", "armv7l", "not a 64-bit system"),
    ],
)
def test_what_is_not_supported(name, edition, machine, reason):
    with pytest.raises(Refused, match=reason):
        find_platform(name, edition, machine)
