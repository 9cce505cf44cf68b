"""Names of the objects a vault keeps. Every name holds its registration: one server's verbs cannot reach another's.

The table is in FORMAT.md, "Objects". Small objects (everything but packs) are *facts*: the catalog is what they add up
to, in the order of `Kind`.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wain.base.ids import PackId, RegistrationId, SeedId


class Kind(IntEnum):
    """Kinds of facts, in the order in which the catalog takes them in. The number is not stored."""

    REGISTRATION = 1
    KEYS = 2
    RETENTION = 3
    LOSS = 4
    SEAL = 5
    DEFICITS = 6
    RELEASE = 7
    RECEIPT = 8
    COUNTERSIGNED = 9
    EXPIRED = 10
    POINT = 11


PREFIXES: Final = ("deficits", "expired", "losses", "points", "receipts", "registrations", "releases", "seals")
"""The folders facts lie in: `<prefix>/<registration>/...`."""

_NUMBER: Final = "([0-9]{8})"
_UUID: Final = "([0-9a-f]{32})"
_SHAPES: Final = {
    Kind.REGISTRATION: re.compile(f"registrations/{_UUID}/registration"),
    Kind.KEYS: re.compile(f"registrations/{_UUID}/keys-{_NUMBER}"),
    Kind.RETENTION: re.compile(f"registrations/{_UUID}/retention-{_NUMBER}"),
    Kind.LOSS: re.compile(f"losses/{_UUID}/{_NUMBER}"),
    Kind.SEAL: re.compile(f"seals/{_UUID}/{_UUID}"),
    Kind.DEFICITS: re.compile(f"deficits/{_UUID}/{_UUID}-{_NUMBER}"),
    Kind.RELEASE: re.compile(f"releases/{_UUID}/{_UUID}"),
    Kind.RECEIPT: re.compile(f"receipts/{_UUID}/{_UUID}"),
    Kind.COUNTERSIGNED: re.compile(f"receipts/{_UUID}/{_UUID}\\.countersigned"),
    Kind.EXPIRED: re.compile(f"expired/{_UUID}/{_NUMBER}"),
    Kind.POINT: re.compile(f"points/{_UUID}/{_NUMBER}"),
}
_PACK: Final = re.compile(f"packs/{_UUID}/([0-9a-f]{{2}})/([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True, order=True)
class Fact:
    """A fact's name, taken apart. `number` is its epoch, sequence or running number; 0 where there is none."""

    kind: Kind
    name: str
    registration: RegistrationId
    number: int


def registration_name(rid: RegistrationId) -> str:
    """Return the name of a registration's record."""
    return f"registrations/{rid.hex()}/registration"


def keys_name(rid: RegistrationId, epoch: int) -> str:
    """Return the name of the key slots of one epoch."""
    return f"registrations/{rid.hex()}/keys-{epoch:08}"


def retention_name(rid: RegistrationId, number: int) -> str:
    """Return the name of the `number`-th retention rule."""
    return f"registrations/{rid.hex()}/retention-{number:08}"


def packs_prefix(rid: RegistrationId) -> str:
    """Return the prefix of a registration's packs."""
    return f"packs/{rid.hex()}/"


def pack_name(rid: RegistrationId, pack: PackId) -> str:
    """Return the name of a pack; 256 folders keep listings short."""
    text = pack.hex()
    return f"packs/{rid.hex()}/{text[:2]}/{text}"


def point_name(rid: RegistrationId, seq: int) -> str:
    """Return the name of a recovery point: one object for each place in the chain."""
    return f"points/{rid.hex()}/{seq:08}"


def expired_name(rid: RegistrationId, seq: int) -> str:
    """Return the name of a recovery point's tombstone."""
    return f"expired/{rid.hex()}/{seq:08}"


def seal_name(rid: RegistrationId, seed: SeedId) -> str:
    """Return the name of a seed's seal."""
    return f"seals/{rid.hex()}/{seed.hex()}"


def deficits_name(rid: RegistrationId, seed: SeedId, number: int) -> str:
    """Return the name of the `number`-th list of what a seed did not bring."""
    return f"deficits/{rid.hex()}/{seed.hex()}-{number:08}"


def release_name(rid: RegistrationId, seed: SeedId) -> str:
    """Return the name of the word that a seed will not arrive."""
    return f"releases/{rid.hex()}/{seed.hex()}"


def receipt_name(rid: RegistrationId, seed: SeedId) -> str:
    """Return the name of a seed's receipt."""
    return f"receipts/{rid.hex()}/{seed.hex()}"


def countersigned_name(rid: RegistrationId, seed: SeedId) -> str:
    """Return the name of the agent's signature under a receipt."""
    return f"receipts/{rid.hex()}/{seed.hex()}.countersigned"


def loss_name(rid: RegistrationId, number: int) -> str:
    """Return the name of the `number`-th list of packs the vault gave up."""
    return f"losses/{rid.hex()}/{number:08}"


def parse_fact(name: str) -> Fact | None:
    """Return what a name of a small object says, or None when it is not a name of ours."""
    for kind, shape in _SHAPES.items():
        if match := shape.fullmatch(name):
            last = match.groups()[-1]
            number = int(last) if len(last) == 8 else 0
            return Fact(kind, name, RegistrationId(bytes.fromhex(match[1])), number)
    return None


def parse_pack(name: str) -> PackId | None:
    """Return the pack that an object's name stands for, or None when it is not a name of ours."""
    match = _PACK.fullmatch(name)
    if match is None or not match[3].startswith(match[2]):
        return None
    return PackId(bytes.fromhex(match[3]))
