from dataclasses import replace
from datetime import UTC, datetime

import pytest

from wain.base.errors import DataError
from wain.base.ids import DeviceId
from wain.device.label import MAX_LABEL_BYTES, Label, decode_label, encode_label

LABEL = Label(
    DeviceId(b"D" * 16), "WD-WX42", "branch-7", "DataBoxDisk", 8 * 10**12, datetime(2026, 3, 1, 12, tzinfo=UTC)
)


def test_a_label_comes_back():
    stored = encode_label(LABEL)
    assert decode_label(stored) == LABEL
    assert len(stored) % 512 == 0
    longest = replace(LABEL, serial="s" * 64, order="o" * 64, sku="k" * 64)
    assert decode_label(encode_label(longest)) == longest
    assert len(encode_label(longest)) <= MAX_LABEL_BYTES


@pytest.mark.parametrize("field", ["serial", "order", "sku"])
@pytest.mark.parametrize("text", ["", "x" * 65, "tab\t", "ä", "nul\0"])
def test_texts_that_no_label_has(field, text):
    with pytest.raises(DataError):
        encode_label(replace(LABEL, **{field: text}))
