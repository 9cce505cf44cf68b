import os

import pytest

from device.making import DEVICE, make_device
from wain.base.errors import DataError, Refused
from wain.device import find
from wain.device.find import check_root, detect, mount_points
from wain.device.label import LABEL_FILE


def test_s71_the_root_of_a_disk(tmp_path):
    root = check_root(make_device(tmp_path / "d"))
    assert (root.path, root.pageblob, root.is_share) == (tmp_path / "d", tmp_path / "d" / "PageBlob", False)
    assert root.label is not None
    assert root.label.device == DEVICE


def test_the_page_blob_directory_itself(tmp_path):
    make_device(tmp_path / "d")
    assert check_root(tmp_path / "d" / "PageBlob") == check_root(tmp_path / "d")
    assert check_root(f"{tmp_path}/d/x/../PageBlob/") == check_root(tmp_path / "d")


def test_s45_s74_a_share_is_the_page_blob_directory(tmp_path):
    share = tmp_path / "myaccount_PageBlob"
    share.mkdir()
    root = check_root(share)
    assert (root.path, root.pageblob, root.is_share, root.label) == (share, share, True, None)


def test_a_device_that_wain_did_not_prepare(tmp_path):
    (tmp_path / "d" / "PageBlob").mkdir(parents=True)
    assert check_root(tmp_path / "d").label is None


@pytest.mark.parametrize("name", ["empty", "file", "absent", "BlockBlob"])
def test_s71_s72_d3_everything_else_is_refused_with_a_hint_and_nothing_is_made(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "BlockBlob").mkdir()
    with pytest.raises(Refused) as error:
        check_root(tmp_path / name)
    assert error.value.hint
    assert str(tmp_path / name) in str(error.value)
    assert os.listdir(tmp_path / "empty") == []


def test_a_page_blob_that_is_a_link_or_a_file_is_refused(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "PageBlob").symlink_to(tmp_path / "target")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "PageBlob").write_bytes(b"")
    for name in ("a", "b"):
        with pytest.raises(Refused):
            check_root(tmp_path / name)


def test_a_damaged_label_is_said_and_never_a_fifo_waited_for(tmp_path):
    make_device(tmp_path / "d")
    label = tmp_path / "d" / LABEL_FILE
    label.write_bytes(label.read_bytes()[:-1])
    with pytest.raises(DataError):
        check_root(tmp_path / "d")
    label.unlink()
    os.mkfifo(label)
    with pytest.raises(DataError):
        check_root(tmp_path / "d")


def test_s67_s68_s69_detect_returns_devices_only(tmp_path):
    make_device(tmp_path / "good")
    make_device(tmp_path / "bad")
    (tmp_path / "bad" / LABEL_FILE).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    found = detect([tmp_path / name for name in ("empty", "bad", "good", "none")])
    assert [root.path for root in found] == [tmp_path / "good"]


def test_mount_points_are_read_and_unescaped(tmp_path, monkeypatch):
    listing = tmp_path / "mountinfo"
    listing.write_text(
        "36 35 98:0 / /mnt/with\\040space\\134x rw,noatime master:1 - ext3 /dev/root rw\n"
        "37 35 0:5 / /proc rw - proc proc rw\n"
        "38 35 0:5 / /mnt/ärger rw shared:1 master:2 - ext4 /dev/sdb1 rw\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(find, "_MOUNTS", str(listing))
    assert [str(path) for path in mount_points()] == ["/mnt/with space\\x", "/mnt/ärger"]
