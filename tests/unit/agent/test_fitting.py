"""What one server may put on a device counts its parity."""

import pytest

from device.making import make_pack
from wain.agent.fitting import Room, remark_on_size
from wain.agent.sinks import DeviceSink
from wain.base.errors import Refused
from wain.base.progress import Silent
from wain.order.sku import Sku
from wain.pack.writer import SealedPack
from wain.pageblob.parity import STRENGTHS

MIB = 1 << 20
SMALL = Sku("Small", 100 * MIB, 100 * MIB, 1000)


class Device:
    def __init__(self) -> None:
        self.packs: list[SealedPack] = []

    def put(self, pack: SealedPack) -> None:
        self.packs.append(pack)

    def commit(self) -> None:
        pass


@pytest.mark.parametrize(("percent", "fits"), [(0, 6), (3, 5), (6, 5), (12, 5)])
def test_parity_takes_its_part_of_what_a_sku_allows(percent: int, fits: int) -> None:
    device = Device()
    sink = DeviceSink(device, Room(SMALL, 10**12, STRENGTHS[percent]), 4 * MIB)
    packs = [make_pack(number, 15 * MIB + 3 * MIB // 4) for number in range(7)]
    with pytest.raises(Refused, match="a Small takes from one server"):
        put_all(sink, packs)
    assert len(device.packs) == fits


def put_all(sink: DeviceSink, packs: list[SealedPack]) -> None:
    for pack in packs:
        draft = sink.draft()
        draft.write(pack.stored)
        draft.finish(pack)


class Remarks(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


@pytest.mark.parametrize(("percent", "remarks"), [(0, 0), (6, 1)])
def test_the_remark_beforehand_counts_it_too(percent: int, remarks: int) -> None:
    said = Remarks()
    remark_on_size(125 * MIB, Room(SMALL, 10**12, STRENGTHS[percent]), said)
    assert len(said.said) == remarks
