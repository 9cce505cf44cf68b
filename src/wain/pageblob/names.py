"""Container and blob names.

Azure's rules for containers and blobs (naming and referencing containers, blobs; Data Box limits): a name that breaks
them is not refused by a Data Box but renamed on the way, so Wain's names are valid from the start, unique for each
server and seed, and tell nobody which server it is.
"""

import re
from typing import Final

from wain.base.errors import Refused
from wain.base.ids import RegistrationId, SeedId

PAGE_BLOB_DIR: Final = "PageBlob"
"""The directory of a device whose children are containers of page blobs."""
SEAL_BLOB: Final = "seal"
MANIFEST_BLOB: Final = "manifest"
JOURNAL_BLOB: Final = "journal"
MAX_BLOB_NUMBER: Final = 99_999

_ID_BYTES: Final = 8
_PACKS: Final = re.compile(r"packs-([0-9]{5})")
_PARITY: Final = re.compile(r"parity-([0-9]{5})")
_CONTAINER_CHARACTERS: Final = re.compile(r"[a-z0-9-]+")
_BLOB_NAME_CHARACTERS: Final = 1024
_BLOB_SEGMENTS: Final = 254


def container_name(registration: RegistrationId, seed: SeedId) -> str:
    """Return the container of one server's seed: `wain-<16 hex of registration>-<16 hex of seed>`, 38 characters."""
    return f"wain-{registration[:_ID_BYTES].hex()}-{seed[:_ID_BYTES].hex()}"


def is_wain_container(name: str) -> bool:
    """Whether `name` is one that `container_name` returns."""
    return re.fullmatch(r"wain-[0-9a-f]{16}-[0-9a-f]{16}", name) is not None


def packs_blob(number: int) -> str:
    """Return the name of the page blob that holds packs, `packs-00000` for the first.

    Raises:
        Refused: over 99,999, as many files as a Data Box Disk takes.
    """
    return f"packs-{_checked(number):05d}"


def _checked(number: int) -> int:
    if not 0 <= number <= MAX_BLOB_NUMBER:
        raise Refused(f"page blob number {number} is outside 0 to {MAX_BLOB_NUMBER}", "Use larger page blobs.")
    return number


def packs_number(name: str) -> int | None:
    """Return the number in a name that `packs_blob` returns, or None for another name."""
    match = _PACKS.fullmatch(name)
    return int(match[1]) if match else None


def parity_blob(number: int) -> str:
    """Return the name of the page blob that holds parity of packs, `parity-00000` for the first.

    Raises:
        Refused: as `packs_blob`.
    """
    return f"parity-{_checked(number):05d}"


def parity_number(name: str) -> int | None:
    """Return the number in a name that `parity_blob` returns, or None for another name."""
    match = _PARITY.fullmatch(name)
    return int(match[1]) if match else None


def check_container(name: str) -> None:
    """Check Azure's rules for container names.

    Raises:
        Refused: names the broken rule.
    """
    broken = ""
    if not 3 <= len(name) <= 63:
        broken = f"it has {len(name)} characters, not 3 to 63"
    elif not _CONTAINER_CHARACTERS.fullmatch(name):
        broken = "it has something other than lower-case letters, digits and hyphens"
    elif name.startswith("-") or name.endswith("-"):
        broken = "it starts or ends with a hyphen"
    elif "--" in name:
        broken = "it has two hyphens in a row"
    if broken:
        raise Refused(f"container name {name!r} is not allowed: {broken}")


def check_blob(name: str) -> None:
    """Check Azure's rules for blob names, as far as a name on a device can break them.

    Raises:
        Refused: names the broken rule.
    """
    segments = name.split("/")
    broken = ""
    if not 1 <= len(name) <= _BLOB_NAME_CHARACTERS:
        broken = f"it has {len(name)} characters, not 1 to {_BLOB_NAME_CHARACTERS}"
    elif len(segments) > _BLOB_SEGMENTS:
        broken = f"it has {len(segments)} path segments, over {_BLOB_SEGMENTS}"
    elif not all(segments):
        broken = "it has an empty path segment"
    elif any(segment in (".", "..") for segment in segments):
        broken = "a path segment is . or .."
    elif any(segment.endswith(".") for segment in segments):
        broken = "a path segment ends with a dot"
    elif "\\" in name:
        broken = "it has a backslash"
    elif not all(character.isprintable() for character in name):
        broken = "it has a control or unprintable character"
    if broken:
        raise Refused(f"blob name {name!r} is not allowed: {broken}")
