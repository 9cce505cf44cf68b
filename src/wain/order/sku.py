"""Kinds of device, as a table. What Microsoft stops or starts selling is a row, never a constant (azure.md C1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wain.base.errors import Refused
from wain.base.sizes import TB, format_bytes


@dataclass(frozen=True, slots=True)
class Sku:
    """One kind of device. Sizes in decimal bytes, as Azure counts.

    Raises:
        Refused: a size or count is not positive, or the name is empty.
    """

    name: str
    limit_bytes: int
    """How much one server may put on it by policy (the seed's table)."""
    usable_bytes: int
    """What it holds in all. May be below `limit_bytes`: a Data Box Disk takes 7 TB, not 7.2 (azure.md C2)."""
    max_files: int
    may_span: bool = False
    """Whether a seed that fills a device of this kind may go on on another. The seed (S22) says never."""

    def __post_init__(self) -> None:
        if not self.name or min(self.limit_bytes, self.usable_bytes, self.max_files) < 1:
            raise Refused(f"the SKU {self.name!r} needs a name, a limit, a usable size and a number of files")


DATA_BOX_DISK: Final = Sku("DataBoxDisk", 72 * TB // 10, 7 * TB, 100_000)
DATA_BOX: Final = Sku("DataBox", 80 * TB, 80 * TB, 500_000_000)

SKUS: Final[Mapping[str, Sku]] = MappingProxyType({sku.name: sku for sku in (DATA_BOX_DISK, DATA_BOX)})
"""The SKUs the seed names (its support matrix; azure.md 1.1)."""


def find_sku(name: str, custom: Mapping[str, Sku] = SKUS) -> Sku:
    """Return the SKU called `name`, from `SKUS` or from `custom`.

    Raises:
        Refused: there is none.
    """
    sku = custom.get(name) or SKUS.get(name)
    if sku is None:
        known = ", ".join(sorted({*SKUS, *custom}))
        raise Refused(f"there is no SKU called {name!r}", f"Known are {known}.")
    return sku


def check_fits(sku: Sku, stored_bytes: int, files: int) -> None:
    """Return when one server's seed may go on one device of this kind.

    Of a kind that may be spanned it goes on another device, whatever it takes.

    Raises:
        Refused: over the per-server limit, over what the device holds, or too many files for it.
    """
    if sku.may_span:
        return
    hint = "Choose a larger SKU, or protect fewer items offline."
    for limit, what in ((sku.limit_bytes, "takes from one server"), (sku.usable_bytes, "holds")):
        if stored_bytes > limit:
            raise Refused(
                f"{format_bytes(stored_bytes)} are more than the {format_bytes(limit)} a {sku.name} {what}", hint
            )
    if files > sku.max_files:
        raise Refused(f"{files:,} page blobs are more than the {sku.max_files:,} files a {sku.name} holds", hint)
