"""Copy logs as Azure and Wain write them, and as somebody else might."""

import pytest

from wain.base.errors import DataError
from wain.databox.copylog import Category, EntityType, Finding, Totals, copy_log, renamed_words
from wain.wire.copy_log import LOG_CAP, container_renames

AZURES = b"""<ErroredEntity Path="Share1">
  <Category>ContainerRenamed</Category>
  <ErrorCode>1</ErrorCode>
  <ErrorMessage>The original container/share/blob has been renamed to: DataBox-3fcd02de-bee6-471e-ac62-33d60317c576
 :from: Share1 :because either the name has invalid character(s) or length is not supported</ErrorMessage>
  <Type>Container</Type>
</ErroredEntity>
<ErroredEntity Path="good\\file">
  <Category>UploadErrorCloudHttp</Category><ErrorCode>400</ErrorCode>
  <ErrorMessage>renamed to: nothing :from: here</ErrorMessage><Type>File</Type>
</ErroredEntity>
<CopyLog Summary="Summary"><Status>Failed</Status></CopyLog>
"""
RENAMED = {"Share1": "DataBox-3fcd02de-bee6-471e-ac62-33d60317c576"}


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000])
def test_c17_azures_log_in_pieces_of_any_size(size: int) -> None:
    for log in (AZURES, b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>\n' + AZURES):
        assert container_renames(log[at : at + size] for at in range(0, len(log), size)) == RENAMED


def test_c17_our_own_log_with_names_that_xml_cannot_hold() -> None:
    names = {b"My_Photos": "databox-1", b'a<&>"b': "databox-2", b"control\x01": "databox-3"}
    found = [
        Finding(name, Category.CONTAINER_RENAMED, renamed_words(name, to, "of <this> & that"), EntityType.CONTAINER)
        for name, to in names.items()
    ]
    blob = Finding(b"x/y", Category.BLOB_RENAMED, renamed_words(b"y", "z", "why"))
    log = "".join(copy_log([*found, blob], Totals("drive", 3, 0, {Category.CONTAINER_RENAMED: 3}))).encode()
    assert container_renames([log]) == {name.decode(): to for name, to in names.items()}


@pytest.mark.parametrize(
    "log",
    [
        b"<ErroredEntity>",
        b"\xff\xfe",
        b'<!DOCTYPE l [<!ENTITY a "aaaa">]><ErroredEntity/>',
        b"<ErroredEntity Path='x'><Category>ContainerRenamed</Category></ErroredEntity>",
        b"<ErroredEntity Path='%' name_encoding='Base64'/>",
        b"<ErroredEntity Path='x'><ErrorMessage>" + b"a" * 20_000 + b"</ErrorMessage></ErroredEntity>",
        b"</log><log>",
        b"&undefined;",
    ],
)
def test_what_is_no_copy_log_is_refused(log: bytes) -> None:
    with pytest.raises(DataError):
        container_renames([log])


def test_a_log_without_an_end_is_refused() -> None:
    def endless():
        for _ in range(LOG_CAP // (1 << 20) + 1):
            yield b" " * (1 << 20)

    with pytest.raises(DataError, match="over the cap"):
        container_renames(endless())
