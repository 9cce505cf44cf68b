"""Which subscription and region a vault is in: a small file beside its objects, for the rules about orders.

A vault without the file is in none: those rules do not concern it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wain.base.errors import Refused
from wain.storage.durable import reading
from wain.storage.new_file import write_new

PLACE_FILE: Final = "place.json"
VERSION: Final = 1
WORD_CAP: Final = 90
"""What ARM takes in a path."""
_FILE_CAP: Final = 4096


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Where a vault is. `region` is empty when nobody said.

    Raises:
        Refused: no subscription, or something that is no name.
    """

    subscription: str
    region: str = ""

    def __post_init__(self) -> None:
        for word in (self.subscription, self.region):
            if len(word) > WORD_CAP or not word.isprintable():
                raise Refused(f"{word[:WORD_CAP]!r} is no subscription or region", "Copy it from the portal.")
        if not self.subscription:
            raise Refused("a vault with a region needs a subscription", "Give it with --subscription.")


def read_place(root: Path) -> VaultPlace | None:
    """Return where the vault in `root` is, or None when it never was said.

    Raises:
        Refused: the file is not one of ours.
    """
    path = root / PLACE_FILE
    with reading(str(path)):
        if not path.exists():
            return None
        with open(path, "rb") as file:
            body = file.read(_FILE_CAP + 1)
    try:
        said = json.loads(body)
        if said["version"] != VERSION:
            raise ValueError(f"version {said['version']}")
        return VaultPlace(str(said["subscription"]), str(said["region"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        hint = "Remove it, and say it again with `wain vault create`."
        raise Refused(f"{path} is not a record of Wain's: {error}", hint) from None


def set_place(root: Path, place: VaultPlace) -> VaultPlace:
    """Say where the vault in `root` is. Said again, nothing changes; a vault does not move.

    Raises:
        Refused: it is somewhere else.
    """
    said = {"version": VERSION, "subscription": place.subscription, "region": place.region}
    write_new(root / PLACE_FILE, json.dumps(said).encode() + b"\n", 0o644)
    found = read_place(root)
    if found != place:
        where = f"subscription {found.subscription}, region {found.region or 'none'}" if found else "nowhere"
        hint = f"Remove {root / PLACE_FILE} first if that was a mistake."
        raise Refused(f"the vault is in {where} already", hint)
    return place
