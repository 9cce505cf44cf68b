"""The seed story over a real SMB share, and what goes wrong with shares."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.shares import Server, needs_samba
from wain.base.errors import Refused
from wain.device.find import check_root
from wain.device.medium import Medium

from .conftest import ORDER, Wain

NOBODY = 65534
UNC = r"\\127.0.0.1\seeds\disk1" + "\\"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "samba")
    made.start()
    yield made
    made.close()


@pytest.fixture
def shared(registered: Wain, server: Server, tmp_path: Path) -> Wain:
    """A registered server whose Delivered device is exposed by another server, mounted at `mnt`."""
    disk = server.seeds / "disk1"
    disk.mkdir()
    registered("account", "create", "seedaccount")
    registered("order", "create", ORDER, "--account", "seedaccount")
    registered("device", "prepare", ORDER, disk)
    for stage in ("Dispatched", "Delivered"):
        registered("order", "advance", ORDER, stage)
    done = server.mount("seeds", tmp_path / "mnt")
    assert (tmp_path / "mnt" / "disk1" / "PageBlob").is_dir(), done.stderr
    return registered


def road(source: Path, path: str | Path) -> tuple[str | Path, ...]:
    return ("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", path)


@needs_samba
def test_s44_s70_s73_the_story_over_a_share_by_its_unc_name(
    shared: Wain, server: Server, tmp_path: Path, source: Path
) -> None:
    said = shared(*road(source, UNC))
    assert "says that bytes are durable before the server has them" in said.err
    assert UNC in shared("policy", "show").out
    assert "safe to ship" in shared("backup").out
    server.unmount(tmp_path / "mnt")
    # What the server holds, past every cache of the mount.
    assert shared("device", "verify", server.seeds / "disk1", "--json").json()["findings"] == []
    for stage in ("PickedUp", "AtAzureDC"):
        shared("order", "advance", ORDER, stage)
    assert shared("order", "copy", ORDER, server.seeds / "disk1", "--json").json()["stage"] == "Completed"
    assert shared("backup").out.splitlines()[0] == "Job Completed"
    assert shared("verify", "--read-data", "--json").json()["findings"] == []


@needs_samba
def test_s51_s53_a_share_that_cannot_be_used_is_refused_with_the_reason(
    shared: Wain, server: Server, tmp_path: Path, source: Path
) -> None:
    elsewhere = shared(*road(source, r"\\10.1.2.3\acct_PageBlob"), code=1).err
    assert r"the share \\10.1.2.3\acct_PageBlob is not mounted here" in elsewhere
    assert "mount -t nfs -o nolock 10.1.2.3:/acct_PageBlob /mnt/acct_PageBlob" in elsewhere
    assert "mount -t cifs -o credentials=FILE //10.1.2.3/acct_PageBlob /mnt/acct_PageBlob" in elsewhere
    assert "holds no PageBlob directory" in shared(*road(source, r"\\127.0.0.1\seeds"), code=1).err
    before = sorted(server.seeds.rglob("*"))
    server.mount("shelf", tmp_path / "shelf")
    refused = shared(*road(source, r"\\127.0.0.1\shelf\disk1"), code=1)
    assert "cannot write the device" in refused.err
    assert sorted(server.seeds.rglob("*")) == before
    server.mount("seeds", tmp_path / "wrong", password="not the password")
    silent = shared(*road(source, tmp_path / "wrong" / "disk1"), code=1).err
    assert f"the share //127.0.0.1/seeds mounted at {tmp_path}/wrong does not answer" in silent
    assert "credentials" in silent
    assert shared("policy", "show", code=1).err.startswith("wain: there is no policy yet")


@needs_samba
def test_a_share_that_vanishes_fails_the_job_and_the_same_command_resumes(
    shared: Wain, server: Server, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared(*road(source, UNC))
    real = Medium.sync

    def cut(medium: Medium) -> None:
        server.kill()
        real(medium)

    with monkeypatch.context() as patch:
        patch.setattr(Medium, "sync", cut)
        failed = shared("backup", code=None)
    assert failed.code == 1, failed.out
    (sentence,) = [line for line in failed.err.splitlines() if line.startswith("wain: ")]
    assert sentence == f"wain: the device at {tmp_path}/mnt/disk1 is gone"
    assert "safe to ship" not in failed.out
    server.start()
    assert "safe to ship" in shared("backup").out
    server.unmount(tmp_path / "mnt")
    assert shared("device", "verify", server.seeds / "disk1", "--json").json()["findings"] == []


@needs_samba
def test_s46_s48_s49_s50_d4_a_mount_that_another_account_made_is_named_as_the_reason(server: Server) -> None:
    """The seed's Local System trap: the agent runs as another account than the one that mounted the share."""
    point = Path(tempfile.mkdtemp(prefix="wain-share-"))  # Outside of pytest's own directories, which are private.
    point.chmod(0o755)
    (server.seeds / "PageBlob").mkdir()
    try:
        server.mount("seeds", point)
        assert check_root(point).path == point
        os.seteuid(NOBODY)
        try:
            with pytest.raises(Refused, match=f"{point} is a FUSE mount of user 0 without allow_other") as error:
                check_root(point)
        finally:
            os.seteuid(0)
        assert f"Wain runs as user {NOBODY}" in str(error.value)
    finally:
        server.unmount(point)
        point.rmdir()
