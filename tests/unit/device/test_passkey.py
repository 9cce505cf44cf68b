"""The rules of the passkey (azure.md 1.3), and LUKS through device-mapper as commands."""

import string

import pytest

from wain.base.errors import Refused
from wain.device.lock_luks import KernelLuks, WrongPasskey
from wain.device.passkey import check_passkey, generate_passkey
from wain.device.programs import ProgramFailed

GOOD = "Abcdefgh1234@"


@pytest.mark.parametrize("text", [GOOD, "a1?" + "b" * 9, "a1_" + "b" * 29, "0000000000+0"])
def test_a_passkey_that_keeps_the_rules(text):
    check_passkey(text)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("a1@" + "b" * 8, "12 to 32"),
        ("a1@" + "b" * 30, "12 to 32"),
        ("abcdefghijk@", "one digit"),
        ("abcdefghijk1", "one of @"),
        ("abcdefghi1@-", "only"),
        ("abcdefghi1@é", "only"),
        ("abcdefghi1@٣", "only"),
        ("abcdefgh 1@c", "only"),
    ],
)
def test_each_broken_rule_is_named_and_the_passkey_is_not(text, broken):
    with pytest.raises(Refused, match=broken) as error:
        check_passkey(text)
    assert text not in str(error.value)


def test_made_passkeys_keep_the_rules_and_differ():
    made = {generate_passkey() for _ in range(200)}
    assert len(made) == 200
    for text in made:
        check_passkey(text)
    assert set("".join(made)) == set(string.ascii_letters + string.digits + "@?_+")


def test_through_device_mapper_the_passkey_goes_in_by_standard_input(tmp_path):
    ran = []

    def run(command, stdin):
        ran.append((list(command), stdin))
        return ""

    slot = tmp_path / "disk-1"
    backend = KernelLuks(run)
    assert str(backend.open(tmp_path / "sdb", GOOD, slot)) == "/dev/mapper/wain-disk-1"
    backend.close(slot)
    assert [command[:2] for command, _ in ran] == [["cryptsetup", "open"]] * 2 + [["cryptsetup", "close"]]
    assert "--test-passphrase" in ran[0][0]
    assert [stdin for _, stdin in ran] == [GOOD.encode(), GOOD.encode(), b""]
    assert GOOD not in " ".join(word for command, _ in ran for word in command)


def test_a_wrong_passkey_is_told_from_a_failure(tmp_path):
    def ends(status):
        def run(command, stdin):
            raise ProgramFailed(command[0], status, "words")

        return run

    with pytest.raises(WrongPasskey):
        KernelLuks(ends(2)).open(tmp_path, GOOD, tmp_path)
    with pytest.raises(ProgramFailed):
        KernelLuks(ends(4)).open(tmp_path, GOOD, tmp_path)
