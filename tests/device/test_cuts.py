"""A writer that is killed before any of its system calls, or that meets an error in any: what was promised is there.

After each, a second run without faults must finish the device (forward progress), whatever the first one left.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.making import assert_whole, make_device, open_writer
from device.write_seed import BLOB_LIMIT, PACKS

ROOT = Path(__file__).parents[2]
CALLS = (
    "fsync,fdatasync,syncfs,pwrite64,rename,renameat,renameat2,link,linkat,"
    "unlink,unlinkat,ftruncate,fallocate,mkdir,mkdirat"
)
ERRORS = "fsync,fdatasync,syncfs,pwrite64,ftruncate,fallocate"


def _reason():
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return "strace may not trace here" if done.returncode else ""


pytestmark = pytest.mark.skipif(bool(_reason()), reason=_reason() or "-")


def run(root, *words):
    """Write the seed in a process, under strace when there are words for it."""
    python = os.path.realpath(sys.executable)
    site = os.pathsep.join(
        [str(ROOT / "src"), str(ROOT / "tests"), *(path for path in sys.path if "site-packages" in path)]
    )
    command = [*words, python, str(ROOT / "tests" / "device" / "write_seed.py"), str(root)]
    environment = {"PYTHONPATH": site, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def spots(tmp_path, calls):
    """Return (call, how often) as an undisturbed run makes them."""
    log = tmp_path / "calls"
    device = make_device(tmp_path / "undisturbed")
    done = run(device, "strace", "-f", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "-o", str(log))
    assert done.returncode == 0, done.stderr
    counts = {}
    for call in re.findall(r"^\d+\s+(\w+)\(", log.read_text(), re.MULTILINE):
        counts[call] = counts.get(call, 0) + 1
    return counts


def promised(output):
    return {bytes.fromhex(line.split()[1]) for line in output.splitlines() if line.startswith("durable")}


def check(device, output, what):
    """What the first run promised is there, and a second run finishes."""
    if not (device / "PageBlob").exists():
        return
    with open_writer(device, blob_limit=BLOB_LIMIT) as writer:
        assert promised(output) <= {pack.id for pack in writer.written}, what
        assert "sealed" not in output or writer.sealed, what
    again = run_here(device)
    assert again is not None, what
    assert_whole(device, PACKS)


def run_here(device):
    from device.making import MANIFEST, PARITY, sign_seal  # noqa: PLC0415
    from wain.base.progress import Silent  # noqa: PLC0415

    with open_writer(device, blob_limit=BLOB_LIMIT, parity=PARITY) as writer:
        for pack in [] if writer.sealed else PACKS:
            writer.put(pack)
        return writer.finish(MANIFEST, sign_seal, Silent())


def test_killed_before_any_call(tmp_path):
    tried = 0
    for call, count in spots(tmp_path, CALLS).items():
        for number in range(1, count + 1):
            device = make_device(tmp_path / f"{call}-{number}")
            inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
            done = run(device, "strace", "-f", "-qq", "-e", "signal=none", "-o", "/dev/null", *inject)
            assert done.returncode != 0, f"{call} {number} was not reached"
            check(device, done.stdout, f"killed before {call} {number}")
            shutil.rmtree(device)
            tried += 1
    assert tried > 40


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
@pytest.mark.parametrize("repeat", ["", "+"], ids=["once", "for ever"])
def test_an_error_in_any_call(tmp_path, error, repeat):
    whole = failed = 0
    log = tmp_path / "hits"
    for call, count in spots(tmp_path, ERRORS).items():
        for number in range(1, count + 1, 1 if error == "EIO" and not repeat else 3):
            device = make_device(tmp_path / f"{call}-{number}")
            inject = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}{repeat}")
            done = run(device, "strace", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-o", str(log), *inject)
            assert done.returncode in (0, 1), done.stderr
            assert "(INJECTED)" in log.read_text(), f"{call} {number} was not reached"
            if done.returncode == 0:
                assert_whole(device, PACKS)
                whole += 1
            else:
                failed += 1
            check(device, done.stdout, f"{error} in {call} {number}{repeat}")
            shutil.rmtree(device)
    assert failed
    assert repeat or error != "EIO" or whole, "one failure of the medium must be survivable somewhere"
