"""Damage to a device on the road: every action on every place, and what the data copy must say about it.

Whatever was done to the device, the copy comes to an end, names what is wrong, takes nothing through a link or a pipe,
and carries over the packs that are whole.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from device.making import make_pack
from unit.databox.making import ACCOUNT, ORDER, arrive, container, copied, delivered, seal
from wain.base.errors import DataError
from wain.base.ids import DeviceId, SeedId
from wain.base.progress import Silent
from wain.databox.service import DataBox
from wain.device.journal import Chain, replay
from wain.device.label import decode_label, encode_label
from wain.order.order import Stage
from wain.pack.verify import finding as pack_finding

PACKS = [make_pack(number, 2 << 20) for number in range(3)]
SECRET = b"a secret of the host " * 100


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2 if len(body) > 8192 else 60] ^= 4
    path.write_bytes(body)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 1024 * 512)


def cut_odd(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"\1" * 512)


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def action(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)

    return action


def outside(path: Path) -> Path:
    """A file of the host, on the same file system as the device."""
    secret = path.parents[len(path.parts) - 1 - path.parts.index("disk")] / "host-secret"
    secret.write_bytes((SECRET + bytes(4096))[:4096])
    return secret


ACTIONS: dict[str, Callable[[Path], None]] = {
    "flip": flip,
    "halve": halve,
    "cut odd": cut_odd,
    "zero": zero,
    "grow": grow,
    "remove": replaced(lambda path: None),
    "link": replaced(lambda path: os.symlink(outside(path), path)),
    "hard link": replaced(lambda path: os.link(outside(path), path)),
    "pipe": replaced(os.mkfifo),
    "directory": replaced(os.mkdir),
}

PLACES = {
    "label": lambda device: device / "wain-device.label",
    "seal": lambda device: container(device) / "seal",
    "manifest": lambda device: container(device) / "manifest",
    "journal": lambda device: container(device) / "journal",
    "packs": lambda device: container(device) / "packs-00000",
}

TAKEN, LEFT = True, False


@dataclass(frozen=True)
class Word:
    """What the copy must say (a pattern), and whether the container gets into the account."""

    says: str
    taken: bool = TAKEN


EVERYWHERE = {
    "link": "is a symbolic link, not a file",
    "hard link": "has 2 hard links",
    "pipe": "is a named pipe, not a file",
    "directory": "is a directory, not a file",
}
WORDS: dict[tuple[str, str], Word] = {
    **{("label", action): Word(f"{says}.*a seal vouches") for action, says in EVERYWHERE.items()},
    **{("label", action): Word("label .*a seal vouches") for action in ("flip", "halve", "cut odd", "zero", "grow")},
    ("label", "remove"): Word("is missing; a seal vouches"),
    **{("seal", action): Word(f"{says}.*nothing of it was copied", LEFT) for action, says in EVERYWHERE.items()},
    **{
        ("seal", action): Word("the seal of .*nothing of it was copied", LEFT)
        for action in ("halve", "cut odd", "zero")
    },
    ("seal", "flip"): Word("the seal of .* is damaged: its hash does not match", LEFT),
    ("seal", "grow"): Word("the seal of .* is malformed", LEFT),
    ("seal", "remove"): Word("it is not sealed", LEFT),
    **{("manifest", action): Word(f"manifest {says}") for action, says in EVERYWHERE.items()},
    ("manifest", "flip"): Word("the manifest is damaged"),
    ("manifest", "halve"): Word("the manifest is cut short"),
    ("manifest", "cut odd"): Word("manifest has 505 bytes, not whole pages"),
    ("manifest", "zero"): Word("the manifest starts with"),
    ("manifest", "grow"): Word("the manifest is malformed"),
    ("manifest", "remove"): Word("manifest is missing"),
    # The journal of a sealed container follows from its seal, byte for byte. Its damage is named and costs no pack.
    ("journal", "flip"): Word(r"the journal is damaged: record 0 \(START, bytes 0 to 511\)"),
    ("journal", "halve"): Word("the journal is cut short: 1024 bytes where 2560 are needed"),
    ("journal", "zero"): Word(rf"the journal is damaged: record 0 .*record 1 \(pack {PACKS[0].id.hex()}, bytes 512 to"),
    ("journal", "grow"): Word("it has 3072 bytes, 512 more than the seal explains"),
    **{("journal", action): Word(f"journal {says}") for action, says in EVERYWHERE.items()},
    ("journal", "cut odd"): Word("journal has .* bytes, not whole pages"),
    ("journal", "remove"): Word("journal is missing"),
    **{("packs", action): Word(f"packs-00000 {says}") for action, says in EVERYWHERE.items()},
    ("packs", "flip"): Word(rf"pack {PACKS[1].id.hex()} is damaged: leaf 1 \(bytes"),
    ("packs", "halve"): Word(rf"pack {PACKS[1].id.hex()} is damaged: its footer page.*cannot be read"),
    ("packs", "cut odd"): Word("packs-00000 has .* bytes, not whole pages"),
    ("packs", "zero"): Word(rf"pack {PACKS[0].id.hex()} is damaged"),
    ("packs", "grow"): Word("512 more than the seal explains"),
    ("packs", "remove"): Word("packs-00000 is missing"),
}


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def databox(tmp_path: Path, device: Path) -> DataBox:
    databox = delivered(tmp_path / "home", device)
    seal(device, PACKS)
    arrive(databox)
    return databox


def whole_packs(databox: DataBox, device: Path) -> int:
    """How many packs can be imported from the account."""
    (one,) = databox.copied(ORDER)
    account = databox.account_blobs(ACCOUNT)
    if not any(blob.name == "packs-00000" for blob in account.blobs(one.copied_to)):
        return 0
    bodies = [account.read(one.copied_to, "packs-00000", number * (2 << 20), 2 << 20) for number in range(3)]
    return sum(pack_finding(pack.id, body) is None for pack, body in zip(PACKS, bodies, strict=True))


WHOLE = {"flip": 2, "halve": 1, "zero": 0, "grow": 3}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("action", ACTIONS)
def test_damage(databox: DataBox, device: Path, place: str, action: str) -> None:
    ACTIONS[action](PLACES[place](device))
    word = WORDS[place, action]
    report = copied(databox, device)
    said = "\n".join(finding.message for finding in report.findings)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert re.search(word.says, said), said
    assert "ErroredEntity" in report.log.read_text()
    assert bool(databox.copied(ORDER)) == word.taken
    if word.taken:
        expected = WHOLE.get(action, 0) if place == "packs" else 3
        assert whole_packs(databox, device) == expected
    accounts = Path(databox._parts.home.root / "accounts")
    assert not any(SECRET[:512] in path.read_bytes() for path in accounts.rglob("*") if path.is_file())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("action", ACTIONS)
def test_verify_finds_the_same(databox: DataBox, device: Path, place: str, action: str) -> None:
    ACTIONS[action](PLACES[place](device))
    word = WORDS[place, action]
    found = "\n".join(finding.message for finding in databox.verify_device(device, Silent()).findings)
    assert re.search(word.says.replace(".*a seal vouches", "").replace("; a seal vouches", ""), found), found


def test_every_bit_of_every_file_is_watched(databox: DataBox, device: Path) -> None:
    """A flip in each 512-byte page of the small files, and at places of the large one: verify is never silent."""
    places = [PLACES[place](device) for place in PLACES]
    for path in places:
        size = path.stat().st_size
        for at in {*range(0, size, 512), size - 1} if size < 65536 else (0, 4096, 1 << 20, size - 1):
            body = path.read_bytes()
            path.write_bytes(body[:at] + bytes([body[at] ^ 16]) + body[at + 1 :])
            assert databox.verify_device(device, Silent()).findings, (path.name, at)
            path.write_bytes(body)
    assert not databox.verify_device(device, Silent()).findings


def test_a_journal_that_tells_another_story_is_named(databox: DataBox, device: Path) -> None:
    """Every record is well made and chained, and the seal lists something else."""
    journal = container(device) / "journal"
    found = replay(journal.read_bytes())
    assert found.start is not None
    assert found.end is not None
    chain = Chain()
    start = chain.start(replace(found.start, seed=SeedId(b"T" * 16)))
    journal.write_bytes(start + b"".join(map(chain.pack, found.packs)) + chain.end(found.end))
    said = "\n".join(each.message for each in databox.verify_device(device, Silent()).findings)
    assert "the journal is damaged: record 0 (START, bytes 0 to 511), which disagrees with the seal" in said
    assert copied(databox, device).stage is Stage.COMPLETED_WITH_ERRORS
    assert whole_packs(databox, device) == 3


def test_the_label_of_another_device_is_named(databox: DataBox, device: Path) -> None:
    label = PLACES["label"](device)
    other = replace(decode_label(label.read_bytes()), device=DeviceId(b"x" * 16))
    label.write_bytes(encode_label(other))
    (finding,) = databox.verify_device(device, Silent()).findings
    assert re.search(f"is for device [0-9a-f]{{32}}, not {other.device.hex()}", finding.message)


def test_a_file_beside_the_label_is_named(databox: DataBox, device: Path) -> None:
    (device / "autorun.inf").write_bytes(b"x")
    (finding,) = databox.verify_device(device, Silent()).findings
    assert finding.path == b"autorun.inf"
    assert "nothing vouches for it" in finding.message


def test_blobs_of_others_are_counted_as_unvouched(databox: DataBox, device: Path) -> None:
    (device / "PageBlob" / "photos").mkdir()
    (device / "PageBlob" / "photos" / "a.vhd").write_bytes(b"x" * 512)
    report = databox.verify_device(device, Silent())
    assert not report.findings
    assert (report.blobs, report.unvouched) == (5, 1)


def stray(device: Path) -> str:
    (container(device) / "autorun.inf").write_bytes(b"x" * 512)
    return "the seal does not list it"


def many_strays(device: Path) -> str:
    for number in range(40):
        (container(device) / f"stray-{number}").write_bytes(b"")
    return "holds more than 23 names; nothing of it was copied"


def at_the_root(device: Path) -> str:
    (device / "PageBlob" / "loose.vhd").write_bytes(b"x" * 512)
    return "is a file, not a directory; only directories may lie there"


def linked_container(device: Path) -> str:
    os.symlink("/etc", device / "PageBlob" / "etc")
    return "is a symbolic link, not a directory"


def renamed_container(device: Path) -> str:
    found = container(device)
    found.rename(found.with_name("wain-0123456789abcdef-0123456789abcdef"))
    return "is for container"


def enormous(device: Path) -> str:
    (device / "PageBlob" / "big").mkdir()
    for number in range(4):
        with open(device / "PageBlob" / "big" / f"{number}.vhd", "wb") as file:
            file.truncate(3 << 40)
    return "claims more than .* which it cannot hold"


def unaligned(device: Path) -> str:
    (device / "PageBlob" / "other").mkdir()
    (device / "PageBlob" / "other" / "a.vhd").write_bytes(b"x" * 513)
    return "has 513 bytes, not whole pages; it was not copied"


def too_many_containers(device: Path) -> str:
    for number in range(600):
        (device / "PageBlob" / f"c{number}").mkdir()
    return "holds more than .* names; nothing was copied"


EXTRAS = {each.__name__: each for each in (
    stray, many_strays, at_the_root, linked_container, renamed_container, enormous, unaligned, too_many_containers,
)}  # fmt: skip
KEEPS = frozenset({"stray", "at_the_root", "linked_container", "enormous", "unaligned"})


@pytest.mark.parametrize("extra", EXTRAS)
def test_things_that_do_not_belong(databox: DataBox, device: Path, extra: str) -> None:
    says = EXTRAS[extra](device)
    report = copied(databox, device)
    said = "\n".join(finding.message for finding in report.findings)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert re.search(says, said), said
    assert bool(databox.copied(ORDER)) == (extra in KEEPS)
    if extra in KEEPS:
        assert whole_packs(databox, device) == 3


def test_a_linked_pageblob_is_no_device(databox: DataBox, device: Path, tmp_path: Path) -> None:
    (device / "PageBlob").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", device / "PageBlob")
    with pytest.raises(DataError, match="symbolic link"):
        copied(databox, device)
    assert databox.order(ORDER).stage is Stage.AT_AZURE_DC


def test_a_seal_for_another_order_is_left(tmp_path: Path) -> None:
    """A clone: the right label, and on it a container sealed for somebody else's order."""
    theirs = tmp_path / "theirs"
    delivered(tmp_path / "home-1", theirs).close()
    sealed = seal(theirs, PACKS)
    device = tmp_path / "disk"
    databox = delivered(tmp_path / "home", device)
    shutil.copytree(theirs / "PageBlob" / sealed.container, device / "PageBlob" / sealed.container)
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert "is for device" in report.findings[0].message
    assert not databox.copied(ORDER)


def test_without_label_and_seal_it_is_nobodys_device(databox: DataBox, device: Path) -> None:
    (device / "wain-device.label").unlink()
    (container(device) / "seal").unlink()
    with pytest.raises(Exception, match="nothing on the device"):
        copied(databox, device)
    assert databox.order(ORDER).stage is Stage.AT_AZURE_DC
