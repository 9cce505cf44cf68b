"""UNC names against mount tables, and the reasons why an account cannot reach a share."""

import os
from pathlib import Path

import pytest

from wain.base.errors import Refused
from wain.device.share import caution, is_unc, parse, resolve, unreachable

CIFS = "40 1 0:50 / /mnt/box rw - cifs //192.168.1.9/seedacct_PageBlob rw,vers=3.1.1"
NFS = "41 1 0:51 / /mnt/n\\040fs rw - nfs4 nas:/exports/seeds rw,nolock"
DEEP = "42 1 0:52 /disk1 /mnt/disk rw - cifs //files/seeds rw"
FUSE = "43 1 0:53 / /home/ann/share rw,nosuid - fuse.rclone //10.0.0.1/seeds rw,user_id=1000,group_id=1000"
OTHERS = "44 1 0:54 / /mnt/all rw - fuse.sshfs ann@host:/seeds rw,user_id=1000,group_id=1000,allow_other"
DISK = "45 1 8:1 / / rw - ext4 /dev/sda1 rw"
MOUNTS = [parse(line) for line in (DISK, CIFS, NFS, DEEP, FUSE, OTHERS)]


@pytest.mark.parametrize(
    ("name", "here"),
    [
        (r"\\192.168.1.9\seedacct_PageBlob", "/mnt/box"),
        (r"\\192.168.1.9\SeedAcct_pageblob" + "\\", "/mnt/box"),
        ("//192.168.1.9/seedacct_PageBlob/container", "/mnt/box/container"),
        (r"\\nas\exports\seeds\disk1", "/mnt/n fs/disk1"),
        (r"\\files\seeds\disk1" + "\\", "/mnt/disk"),
        (r"\\10.0.0.1\seeds\disk2", "/home/ann/share/disk2"),
    ],
)
def test_a_unc_name_leads_to_where_the_share_is_mounted(name, here):
    assert is_unc(name)
    assert resolve(name, MOUNTS) == Path(here)


@pytest.mark.parametrize("name", [r"\\files\seeds", r"\\nas\exports", r"\\files\seedsX", r"\\other\seeds\disk1"])
def test_s47_s52_a_share_that_is_not_mounted_is_refused_with_both_commands(name):
    with pytest.raises(Refused, match="is not mounted here") as error:
        resolve(name, MOUNTS)
    assert "mount -t cifs -o credentials=FILE //" in error.value.hint
    assert "mount -t nfs -o nolock" in error.value.hint
    assert "address must be allowed" in error.value.hint


def test_what_a_name_holds_cannot_leave_the_share_or_the_command():
    with pytest.raises(Refused, match="not the name of a share"):
        resolve(r"\\192.168.1.9\seedacct_PageBlob\..\etc", MOUNTS)
    with pytest.raises(Refused) as error:
        resolve(r"\\host\a;reboot", MOUNTS)
    assert "'//host/a;reboot'" in error.value.hint
    assert "'/mnt/a;reboot'" in error.value.hint


def test_other_paths_stay_as_they_are():
    assert resolve("/mnt/disk", MOUNTS) == Path("/mnt/disk")
    assert resolve("disk", MOUNTS) == Path(os.getcwd(), "disk")
    assert not is_unc("/mnt//x")


def test_a_mount_of_another_user_is_named_as_the_reason(monkeypatch):
    denied = PermissionError(13, "Permission denied")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said = unreachable(Path("/home/ann/share/disk1"), denied, MOUNTS)
    assert "/home/ann/share is a FUSE mount of user 1000 without allow_other" in str(said)
    assert "Wain runs as user 0" in str(said)
    assert "allow_other" in said.hint
    assert "FUSE" not in str(unreachable(Path("/mnt/all/x"), denied, MOUNTS))
    assert "NFS server refuses" in str(unreachable(Path("/mnt/n fs/disk1"), denied, MOUNTS))
    assert "address" in unreachable(Path("/mnt/n fs/disk1"), denied, MOUNTS).hint


def test_a_mount_that_keeps_a_cache_is_warned_of():
    assert "wain device verify" in caution(Path("/home/ann/share/disk1"), MOUNTS)
    assert caution(Path("/mnt/box"), MOUNTS) == ""
