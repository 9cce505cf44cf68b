"""The label of a prepared device: `wain-device.label` in its root, beside `PageBlob` (FORMAT.md, Label)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wain.base.codec import MAGIC_BYTES, Decoder, Encoder
from wain.base.errors import Malformed
from wain.base.ids import UUID_BYTES, DeviceId
from wain.base.moment import from_ns, to_ns
from wain.order.sku import DATA_BOX_DISK, SKUS, Sku, find_sku
from wain.pageblob.paged import decode_paged, encode_paged

LABEL_FILE: Final = "wain-device.label"
MAGIC: Final = b"WAINLABL"
VERSION: Final = 1
SPANNING_VERSION: Final = 2
"""Of a device from which a seed may go on to another; else the same as version 1."""
MAX_LABEL_BYTES: Final = 4096
"""The stored size of the largest label and more."""
_TEXT_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Label:
    """What a device says it is. `capacity_bytes` is what the service promised when it prepared the device."""

    device: DeviceId
    serial: str
    order: str
    sku: str
    capacity_bytes: int
    prepared_at: datetime
    may_span: bool = False
    """Whether a seed that fills the device may go on on another."""


def sku_of(name: str, label: Label | None) -> Sku:
    """Return what a kind of device takes. Of one that an operator has defined, the device's own label says how much.

    Raises:
        Refused: it is no kind of Azure's, and the device has no label.
    """
    if name in SKUS or label is None:
        return find_sku(name)
    return Sku(name, label.capacity_bytes, label.capacity_bytes, DATA_BOX_DISK.max_files, label.may_span)


def text_field(decoder: Decoder, cap: int, field: str) -> str:
    """Read printable ASCII of 1 to `cap` characters: what names and serial numbers are made of.

    Raises:
        Malformed, TooLarge, Truncated: it is not.
    """
    text = decoder.text(cap, 2, field)
    if not text or not text.isascii() or not text.isprintable():
        raise decoder.refuse(f"{field} is not 1 to {cap} printable ASCII characters")
    return text


def moment_field(decoder: Decoder, field: str) -> datetime:
    """Read a moment of whole microseconds.

    Raises:
        Malformed, Truncated: it is not one that `to_ns` writes.
    """
    count = decoder.int64()
    try:
        moment = from_ns(count)
    except OverflowError:
        raise decoder.refuse(f"{field} is outside the calendar") from None
    if to_ns(moment) != count:
        raise decoder.refuse(f"{field} is finer than a microsecond")
    return moment


def encode_label(label: Label) -> bytes:
    """Return the stored label, a paged record.

    Raises:
        Malformed: a text is empty, over 64 characters or not printable ASCII.
    """
    body = Encoder(MAGIC, SPANNING_VERSION if label.may_span else VERSION).fixed(label.device, UUID_BYTES)
    for text in (label.serial, label.order, label.sku):
        body.text(text)
    stored = encode_paged(body.uint(label.capacity_bytes, 8).int64(to_ns(label.prepared_at)).finish())
    if decode_label(stored) != label:
        raise Malformed("device label", "it does not read back as it was given")
    return stored


def decode_label(stored: bytes | memoryview) -> Label:
    """Decode a stored label.

    Raises:
        DataError: not what `encode_label` writes.
    """
    what = "device label"
    body = decode_paged(stored, what, MAX_LABEL_BYTES)
    version = VERSION if body[MAGIC_BYTES : MAGIC_BYTES + 2] == VERSION.to_bytes(2, "little") else SPANNING_VERSION
    decoder = Decoder(what, body, MAGIC, version)
    label = Label(
        device=DeviceId(decoder.take(UUID_BYTES)),
        serial=text_field(decoder, _TEXT_BYTES, "the serial number"),
        order=text_field(decoder, _TEXT_BYTES, "the order name"),
        sku=text_field(decoder, _TEXT_BYTES, "the SKU name"),
        capacity_bytes=decoder.uint(8),
        prepared_at=moment_field(decoder, "the preparation time"),
        may_span=version == SPANNING_VERSION,
    )
    decoder.finish()
    return label
