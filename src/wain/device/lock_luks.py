"""LUKS: through cryptsetup where the kernel has device-mapper, and in userspace (nbdkit, nbdfuse) where it has not."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from wain.base.errors import Refused
from wain.device.programs import COMMAND_SECONDS, ProgramFailed, Run, find_program, need, run_program, words_of

NO_KEY: Final = 2
"""How cryptsetup ends when no key slot opens (cryptsetup(8), RETURN CODES)."""
KEY_MS = 2000
"""How long deriving the key from the passkey shall take, in milliseconds: cryptsetup's own default."""
_MAPPED: Final = "/dev/mapper"
_DEVICE_MAPPER: Final = "/proc/misc"
_WAIT: Final = 0.05


class WrongPasskey(Refused):
    """The passkey does not open the device. Nothing was changed."""

    def __init__(self, path: Path) -> None:
        hint = "Take the passkey of this device's order; one passkey opens all its disks."
        super().__init__(f"the passkey does not open {path}", hint)


def has_device_mapper() -> bool:
    """Say whether the kernel can map a LUKS device itself."""
    try:
        return "device-mapper" in Path(_DEVICE_MAPPER).read_text(encoding="ascii")
    except OSError:
        return False


def format_luks(path: Path, passkey: str, run: Run = run_program) -> None:
    """Put LUKS on a device or image. Everything on it is lost.

    Version 2 (memory-hard key derivation) where the kernel can open it, version 1 where only nbdkit can.
    """
    kind = "luks2" if has_device_mapper() else "luks1"
    how = ["--batch-mode", "--type", kind, "--iter-time", str(KEY_MS), "--key-file", "-"]
    run(["cryptsetup", "luksFormat", *how, str(path)], passkey.encode())


def check_luks(path: Path, passkey: str, run: Run = run_program) -> None:
    """Try a passkey and change nothing.

    Raises:
        WrongPasskey: it opens no key slot.
    """
    try:
        run(
            ["cryptsetup", "open", "--test-passphrase", "--type", "luks", "--key-file", "-", str(path)],
            passkey.encode(),
        )
    except ProgramFailed as error:
        if error.status == NO_KEY:
            raise WrongPasskey(path) from None
        raise


class KernelLuks:
    """Opens through device-mapper; the plain device appears in /dev/mapper."""

    programs = ("cryptsetup", "mount", "umount")

    def __init__(self, run: Run = run_program) -> None:
        self._run = run

    def open(self, locked: Path, passkey: str, slot: Path) -> Path:
        """Open a device; return the plain one."""
        check_luks(locked, passkey, self._run)
        name = f"wain-{slot.name}"
        self._run(["cryptsetup", "open", "--type", "luks", "--key-file", "-", str(locked), name], passkey.encode())
        return Path(_MAPPED, name)

    def close(self, slot: Path) -> None:
        """Forget the key; the plain device is gone."""
        self._run(["cryptsetup", "close", f"wain-{slot.name}"], b"")


class UserspaceLuks:
    """Opens without the kernel's help: nbdkit decrypts, nbdfuse shows the plain bytes as a file. LUKS 1 only."""

    programs = ("cryptsetup", "nbdkit", "nbdfuse", "fusermount3", "mount", "umount")

    def open(self, locked: Path, passkey: str, slot: Path) -> Path:
        """Open a device or image; return the file that stands for the plain one."""
        check_luks(locked, passkey)
        self._check_version(locked)
        plain = slot / "plain"
        plain.mkdir(mode=0o700, exist_ok=True)
        pidfile, said = slot / "pid", slot / "said"
        need(self.programs, "unlock LUKS without device-mapper")
        program, server = find_program("nbdfuse"), find_program("nbdkit")
        assert program is not None
        assert server is not None
        reader, writer = os.pipe()
        try:
            os.write(writer, passkey.encode())
            os.close(writer)
            command = [program, "-P", str(pidfile), str(plain), "--command", server, "-s", "--filter=luks", "file"]
            with open(said, "wb") as log:
                child = subprocess.Popen(
                    [*command, f"file={locked}", f"passphrase=-{reader}"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[reader],
                    start_new_session=True, cwd="/",
                )  # fmt: skip
        finally:
            os.close(reader)
        end = time.monotonic() + COMMAND_SECONDS
        while not pidfile.exists():
            if child.poll() is not None:
                raise ProgramFailed("nbdfuse", child.returncode, words_of(said.read_bytes()))
            if time.monotonic() > end:
                child.terminate()
                raise ProgramFailed("nbdfuse", -1, "it was not ready in time")
            time.sleep(_WAIT)
        return plain / "nbd"

    def close(self, slot: Path) -> None:
        """Take the plain file away, and wait until what was written has reached the device."""
        if os.path.ismount(slot / "plain"):
            run_program(["fusermount3", "-u", str(slot / "plain")])
        with suppress(OSError, ValueError):
            pid = int((slot / "pid").read_text(encoding="ascii"))
            while _is_running(pid):
                time.sleep(_WAIT)

    @staticmethod
    def _check_version(locked: Path) -> None:
        with open(locked, "rb") as file:
            version = int.from_bytes(file.read(8)[6:8], "big")  # LUKS header, both versions: magic, version.
        if version != 1:
            hint = "Unlock it on a host whose kernel has device-mapper (dm-crypt)."
            raise Refused(f"{locked} has LUKS version {version}, which only the kernel can open", hint)


def _is_running(pid: int) -> bool:
    """Say whether a process still works; one that is only waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
