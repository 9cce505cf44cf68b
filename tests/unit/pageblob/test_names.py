import pytest

from wain.base.errors import Refused
from wain.base.ids import RegistrationId, SeedId
from wain.pageblob.names import (
    check_blob,
    check_container,
    container_name,
    is_wain_container,
    packs_blob,
    packs_number,
)


def test_container_names_are_valid_unique_and_say_nothing_but_ids():
    one = container_name(RegistrationId(b"\xab" * 16), SeedId(b"\x01" * 16))
    assert one == "wain-abababababababab-0101010101010101"
    assert is_wain_container(one)
    check_container(one)
    assert container_name(RegistrationId(b"\xab" * 16), SeedId(b"\x02" * 16)) != one


@pytest.mark.parametrize(
    "name", ["wain-ab-01", "wain-ABABABABABABABAB-0101010101010101", "x", "wain-" + "0" * 33 + "\n"]
)
def test_other_containers_are_not_ours(name):
    assert not is_wain_container(name)


def test_pack_blobs_are_numbered():
    assert packs_blob(0) == "packs-00000"
    assert packs_number("packs-99999") == 99_999
    assert [packs_number(name) for name in ("packs-1", "packs-000001", "packs-00000\n", "seal")] == [None] * 4
    for number in (-1, 100_000):
        with pytest.raises(Refused):
            packs_blob(number)


@pytest.mark.parametrize("name", ["abc", "a-b", "0-0", "a" * 63])
def test_good_containers(name):
    check_container(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [("ab", "2 characters"), ("a" * 64, "64 characters"), ("Abc", "lower-case"), ("a_b", "lower-case"),
     ("-ab", "hyphen"), ("ab-", "hyphen"), ("a--b", "two hyphens"), ("abc\n", "lower-case"), ("äbc", "lower-case")],
)  # fmt: skip
def test_bad_containers_name_the_rule(name, why):
    with pytest.raises(Refused, match=why):
        check_container(name)


@pytest.mark.parametrize("name", ["a", "A/b.vhd", "ä b", "x" * 1024, "/".join("a" * 254)])
def test_good_blobs(name):
    check_blob(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "0 characters"), ("x" * 1025, "1025 characters"), ("/".join("a" * 255), "255 path segments"),
     ("/a", "empty"), ("a/", "empty"), ("a//b", "empty"), ("a/../b", r"\. or \.\."), (".", r"\. or \.\."),
     ("a.", "ends with a dot"), ("a./b", "ends with a dot"), ("a\\b", "backslash"), ("a\0b", "control"),
     ("a\x81b", "control"), ("a\udc80", "control")],
)  # fmt: skip
def test_bad_blobs_name_the_rule(name, why):
    with pytest.raises(Refused, match=why):
        check_blob(name)
