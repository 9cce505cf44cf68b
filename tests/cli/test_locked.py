"""A seed that travels on a locked device, on the command line: format, write, lock, unlock, data copy, import."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.locks import OTHER, PASSKEY, image, needs_luks

from .conftest import ORDER, Wain


@pytest.fixture
def locked(wain: Wain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What cleans up behind a test: an image, and a home whose unlocked devices are locked again."""
    monkeypatch.setattr("wain.device.lock_luks.KEY_MS", 20)
    disk = image(tmp_path, size=96 << 20)
    yield disk
    wain("device", "lock", disk, code=None)


@needs_luks
def test_s43_the_story_on_a_luks_device(wain: Wain, locked: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(30):
        (source / f"{number}.txt").write_text(f"secret of the branch {number}\n" * 500)
    ordered(wain, tmp_path)
    passkey_file = tmp_path / "passkey"
    passkey_file.write_text(PASSKEY + "\n")
    weak = tmp_path / "weak"
    weak.write_text("tooshort\n")
    how = ("--lock", "luks", "--passkey-file")
    assert "12 to 32 characters" in wain("device", "prepare", ORDER, locked, *how, weak, code=1).err
    said = wain("device", "prepare", ORDER, locked, *how, passkey_file, "--json").json()
    root = Path(said["path"])
    assert (root / "PageBlob").is_dir()
    another = tmp_path / "another"
    another.write_text(OTHER + "\n")
    # What is refused must not replace the passkey that is kept: nobody could open the device any more.
    assert "is not blank" in wain("device", "prepare", ORDER, locked, *how, another, code=1).err
    for stage in ("Dispatched", "Delivered"):
        wain("order", "advance", ORDER, stage)
    wain("policy", "set", "--include", source, "--initial", "offline", "--order", ORDER, "--device", root)
    assert "safe to ship" in wain("backup").out
    assert "can be unplugged" in wain("device", "lock", locked).out
    assert not root.exists()
    for stage in ("PickedUp", "AtAzureDC"):
        wain("order", "advance", ORDER, stage)
    assert "is not a device" in wain("order", "copy", ORDER, root, code=1).err
    wrong = tmp_path / "wrong"
    wrong.write_text(OTHER + "\n")
    refused = wain("device", "unlock", locked, "--passkey-file", wrong, code=1)
    assert "does not open" in refused.err
    assert OTHER not in refused.err + refused.out
    # The order's credentials: Azure shows the passkey of an order in the same way.
    (opened,) = wain("device", "unlock", locked, "--order", ORDER, "--json").json()
    assert (opened["lock"], opened["path"]) == ("LUKS", str(root))
    assert wain("order", "copy", ORDER, root, "--json").json()["stage"] == "Completed"
    wain("device", "lock", root)
    assert wain("backup").out.splitlines()[0] == "Job Completed"
    assert wain("verify", "--read-data", "--json").json()["findings"] == []
    kept = [
        path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file() and path.suffix != ".passkey"
    ]
    assert all(PASSKEY.encode() not in body for body in kept)


def ordered(wain: Wain, tmp_path: Path) -> None:
    phrase = tmp_path / "passphrase"
    phrase.write_text("correct horse battery staple\n")
    keys = ("--passphrase-file", phrase, "--recovery-key-file", tmp_path / "recovery")
    wain("register", "--vault", f"file://{tmp_path}/vault", *keys)
    wain("account", "create", "seedaccount")
    wain("order", "create", ORDER, "--account", "seedaccount")
