"""The logs of a data copy, in Azure's formats (azure.md 1.8, 1.5): the copy log and verbose log of 2021, and the BOM.

All are sequences of XML fragments without a root, written line by line: a log of a million findings is never whole
in memory. A name that is not text, or holds what XML cannot hold, is written in Base64 and says so, as the appliance
does in its `error.xml`.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from xml.sax.saxutils import escape, quoteattr

VERSION: Final = "2021-08-01"

_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Category(Enum):
    """What kind of finding (the 2021 log's categories, as far as page blobs can cause them)."""

    FILE_SYSTEM = "UploadErrorWin32"
    CLOUD_HTTP = "UploadErrorCloudHttp"
    DAMAGED = "UploadErrorDataValidationError"
    UNKNOWN_TYPE = "UploadErrorUnknownType"
    CONTAINER_RENAMED = "ContainerRenamed"
    BLOB_RENAMED = "BlobRenamed"
    REPAIRED = "RepairedFromParity"
    PARITY_LOST = "ParityDamaged"


WARNINGS: Final = frozenset(
    {Category.CONTAINER_RENAMED, Category.BLOB_RENAMED, Category.REPAIRED, Category.PARITY_LOST}
)
"""Findings that are no errors: all the data arrived, under another name or repaired, or only its parity is damaged."""

CODES: Final[Mapping[Category, int]] = {
    Category.FILE_SYSTEM: 2,
    Category.CLOUD_HTTP: 400,
    Category.DAMAGED: 23,
    Category.UNKNOWN_TYPE: 50,
    Category.CONTAINER_RENAMED: 1,
    Category.BLOB_RENAMED: 1,
    Category.REPAIRED: 1,
    Category.PARITY_LOST: 1,
}
"""Win32 codes where Azure uses Win32 codes (23: data error, cyclic redundancy check), HTTP's, and 1 for warnings."""

DESCRIPTIONS: Final[Mapping[Category, str]] = {
    Category.FILE_SYSTEM: "The device's file system did not give the data.",
    Category.CLOUD_HTTP: "The storage account cannot hold the object as it is.",
    Category.DAMAGED: "The data differs from what was sealed.",
    Category.UNKNOWN_TYPE: "Not something that a device may hold.",
    Category.CONTAINER_RENAMED: "Renamed the container as its name was not legal or was taken.",
    Category.BLOB_RENAMED: "Renamed the blob as its name was not legal.",
    Category.REPAIRED: "The data differed from what was sealed and was repaired from parity.",
    Category.PARITY_LOST: "Parity differs from what was written; the data it stands by is judged on its own.",
}


class EntityType(Enum):
    """What a finding is about."""

    FILE = "File"
    CONTAINER = "Container"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that did not go as it should. `path` is the device's spelling: container, then `/` and the blob."""

    path: bytes
    category: Category
    message: str
    type: EntityType = EntityType.FILE
    left_behind: bool = False
    """A file that is not in the account at all."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the end of a copy log says."""

    drive_id: str
    files: int
    errored_files: int
    categories: Mapping[Category, int]


@dataclass(frozen=True, slots=True)
class Copied:
    """One line of the BOM. `path` as the account has it; size in bytes."""

    path: str
    size: int
    crc64: int


def copy_log(findings: Iterable[Finding], totals: Totals) -> Iterator[str]:
    """Yield the copy log: one fragment per finding, then the summary. Any finding, a rename too, makes it Failed."""
    for finding in findings:
        yield (
            f"<ErroredEntity {_path(finding.path)}>\n"
            f"  <Category>{finding.category.value}</Category>\n"
            f"  <ErrorCode>{CODES[finding.category]}</ErrorCode>\n"
            f"  <ErrorMessage>{escape(_NOT_XML.sub('?', finding.message))}</ErrorMessage>\n"
            f"  <Type>{finding.type.value}</Type>\n"
            f"</ErroredEntity>\n"
        )
    status = "Failed" if totals.categories else "Succeeded"
    yield (
        f'<CopyLog Summary="Summary">\n'
        f"  <DriveLogVersion>{VERSION}</DriveLogVersion>\n"
        f"  <DriveId>{escape(_NOT_XML.sub('?', totals.drive_id))}</DriveId>\n"
        f"  <Status>{status}</Status>\n"
        f"  <TotalFiles_Blobs>{totals.files}</TotalFiles_Blobs>\n"
        f"  <FilesErrored>{totals.errored_files}</FilesErrored>\n"
        f"  <Summary>\n"
        f"    <ValidationErrors>\n"
        f'      <None Count="{totals.files - totals.errored_files}" />\n'
        f"    </ValidationErrors>\n"
        f"    <CopyErrors>\n"
    )
    for category in Category:
        if count := totals.categories.get(category, 0):
            words = quoteattr(DESCRIPTIONS[category])
            yield f'      <{category.value} Count="{count}" Description={words} />\n'
    yield "    </CopyErrors>\n  </Summary>\n</CopyLog>\n"


def bom(copied: Iterable[Copied]) -> Iterator[str]:
    """Yield the bill of materials: size and CRC-64 of every blob as it lies in the account."""
    for one in copied:
        path = escape(_backslashes(one.path))
        yield f'<file size="{one.size}" crc64="0x{one.crc64:016x}">\\{path}</file>\n'


def verbose_log(copied: Iterable[Copied]) -> Iterator[str]:
    """Yield the verbose log of 2021: a line for every blob, with the BOM's CRC-64 as an unsigned decimal (C25)."""
    for one in copied:
        path = quoteattr(_backslashes(one.path))
        yield f'<File CloudFormat="PageBlob" Path={path} Size="{one.size}" crc64="{one.crc64}"></File>\n'


def renamed_words(original: bytes, to: str, why: str) -> str:
    """Return Azure's sentence for a rename."""
    was = original.decode(errors="replace")
    return f"The original container/share/blob has been renamed to: {to} :from: {was} :because {why}"


def _backslashes(path: str) -> str:
    return path.replace("/", "\\")


def _path(path: bytes) -> str:
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _NOT_XML.search(text) or any(character in text for character in "\t\r\n"):
        return f'Path="{base64.b64encode(path).decode()}" name_encoding="Base64"'
    return f"Path={quoteattr(_backslashes(text))}"
