"""The logs' formats, with names that a hostile device may hold."""

import base64
import xml.etree.ElementTree as ET

from wain.databox.copylog import Category, Copied, EntityType, Finding, Totals, bom, copy_log, verbose_log

TOTALS = Totals("72a2914a-7fb2-4e34-a135-5c7176c3ee41", 3, 1, {Category.DAMAGED: 2, Category.CONTAINER_RENAMED: 1})


def parsed(*findings: Finding, totals: Totals = TOTALS) -> ET.Element:
    return ET.fromstring("<log>" + "".join(copy_log(findings, totals)) + "</log>")


def test_azures_format() -> None:
    text = "".join(copy_log([Finding(b"c/a.vhd", Category.DAMAGED, "pack 1 is damaged")], TOTALS))
    assert text == (
        '<ErroredEntity Path="c\\a.vhd">\n'
        "  <Category>UploadErrorDataValidationError</Category>\n"
        "  <ErrorCode>23</ErrorCode>\n"
        "  <ErrorMessage>pack 1 is damaged</ErrorMessage>\n"
        "  <Type>File</Type>\n"
        "</ErroredEntity>\n"
        '<CopyLog Summary="Summary">\n'
        "  <DriveLogVersion>2021-08-01</DriveLogVersion>\n"
        "  <DriveId>72a2914a-7fb2-4e34-a135-5c7176c3ee41</DriveId>\n"
        "  <Status>Failed</Status>\n"
        "  <TotalFiles_Blobs>3</TotalFiles_Blobs>\n"
        "  <FilesErrored>1</FilesErrored>\n"
        "  <Summary>\n"
        "    <ValidationErrors>\n"
        '      <None Count="2" />\n'
        "    </ValidationErrors>\n"
        "    <CopyErrors>\n"
        '      <UploadErrorDataValidationError Count="2" '
        'Description="The data differs from what was sealed." />\n'
        '      <ContainerRenamed Count="1" '
        'Description="Renamed the container as its name was not legal or was taken." />\n'
        "    </CopyErrors>\n"
        "  </Summary>\n"
        "</CopyLog>\n"
    )


def test_a_clean_copy_succeeds_and_a_mere_rename_does_not() -> None:
    assert parsed(totals=Totals("d", 1, 0, {})).findtext("CopyLog/Status") == "Succeeded"
    renamed = Finding(b"C", Category.CONTAINER_RENAMED, "", EntityType.CONTAINER)
    entry = parsed(renamed, totals=Totals("d", 1, 0, {Category.CONTAINER_RENAMED: 1})).find("ErroredEntity")
    assert entry is not None
    assert (entry.findtext("ErrorCode"), entry.findtext("Type")) == ("1", "Container")


def test_hostile_names_and_messages_stay_inside_their_place() -> None:
    evil = b'"/><CopyLog Summary="Summary"><Status>Succeeded</Status></CopyLog><x y="'
    entries = parsed(Finding(evil, Category.DAMAGED, "]]></ErrorMessage>\x00\x1b<a>&")).findall("ErroredEntity")
    assert len(entries) == 1
    assert entries[0].get("Path") == evil.decode().replace("/", "\\")
    assert entries[0].findtext("ErrorMessage") == "]]></ErrorMessage>??<a>&"


def test_names_that_xml_cannot_hold_are_in_base64() -> None:
    for name in (b"\xff\xfe", b"a\x00b", b"a\nb", b"a\x1b"):
        (entry,) = parsed(Finding(name, Category.DAMAGED, "")).findall("ErroredEntity")
        assert entry.get("name_encoding") == "Base64"
        assert base64.b64decode(entry.get("Path") or "") == name


def test_bom_lines() -> None:
    lines = list(bom([Copied("c/a&b.vhd", 512, 0xAE8B14860A799888), Copied("c/empty", 0, 0)]))
    assert lines[0] == '<file size="512" crc64="0xae8b14860a799888">\\c\\a&amp;b.vhd</file>\n'
    assert lines[1] == '<file size="0" crc64="0x0000000000000000">\\c\\empty</file>\n'


def test_verbose_lines_have_the_same_checksum_in_decimal() -> None:
    lines = list(verbose_log([Copied("c/a&b.vhd", 512, 0xAE8B14860A799888), Copied("c/empty", 0, 0)]))
    want = '<File CloudFormat="PageBlob" Path="c\\a&amp;b.vhd" Size="512" crc64="12577168950296156296"></File>\n'
    assert lines[0] == want
    assert lines[1] == '<File CloudFormat="PageBlob" Path="c\\empty" Size="0" crc64="0"></File>\n'
