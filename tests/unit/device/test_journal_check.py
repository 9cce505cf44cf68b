"""The journal of a sealed container, checked while it streams past."""

import random

import pytest

from device.making import make_pack
from unit.databox.making import container, delivered, seal
from wain.base.errors import Corrupt, DataError, Malformed, Truncated
from wain.device.journal_check import JournalVerifier, journal_bytes
from wain.device.seal import Seal

PACKS = [make_pack(number, 1 << 20) for number in range(4)]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seal, bytes]:
    base = tmp_path_factory.mktemp("journal")
    delivered(base / "home", base / "disk").close()
    made = seal(base / "disk", PACKS)
    return made, (container(base / "disk") / "journal").read_bytes()


def judge(sealed: Seal, body: bytes, step: int = 512) -> None:
    eye = JournalVerifier(sealed)
    for at in range(0, len(body), step):
        eye.feed(body[at : at + step])
    eye.finish()


@pytest.mark.parametrize("step", [1, 511, 512, 513, 1 << 20])
def test_what_the_writer_leaves_passes_in_any_pieces(sealed: tuple[Seal, bytes], step: int) -> None:
    made, body = sealed
    assert len(body) == journal_bytes(made)
    judge(made, body, step)


def test_any_bit_is_found_and_its_record_named(sealed: tuple[Seal, bytes]) -> None:
    made, body = sealed
    dice = random.Random(4)
    for at in [0, len(body) - 1, *(dice.randrange(len(body)) for _ in range(300))]:
        wrong = body[:at] + bytes([body[at] ^ 1 << dice.randrange(8)]) + body[at + 1 :]
        with pytest.raises(Corrupt, match=rf"record {at // 512} \("):
            judge(made, wrong)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda body: body[:-512], Truncated),
        (lambda body: body[:-1], Truncated),
        (lambda body: b"", Truncated),
        (lambda body: body + bytes(512), Malformed),
        (lambda body: body + b"\1", Malformed),
        (lambda body: body + body, Malformed),
    ],
)
def test_other_lengths(sealed: tuple[Seal, bytes], change: object, error: type[DataError]) -> None:
    made, body = sealed
    with pytest.raises(error):
        judge(made, change(body))  # type: ignore[operator]


def test_many_bad_records_are_counted_not_listed(sealed: tuple[Seal, bytes]) -> None:
    made, body = sealed
    with pytest.raises(Corrupt, match=r"record 0 .*record 3 .* and 2 more"):
        judge(made, bytes(len(body)))
