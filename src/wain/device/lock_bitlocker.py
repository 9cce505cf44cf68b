"""BitLocker, as on Microsoft's Data Box Disks: opened by dislocker, which shows the plain volume as a file.

dislocker asks for the passkey on a terminal, so it is given one of its own: nothing is typed on a command line.
"""

import os
import pty
import subprocess
import termios
from pathlib import Path
from typing import Final

from wain.device.lock_luks import WrongPasskey
from wain.device.programs import COMMAND_SECONDS, ProgramFailed, find_program, need, run_program, words_of

_WRONG: Final = b"None of the provided decryption mean"
_ECHO: Final = 3
"""Where termios keeps the local modes."""


class Dislocker:
    """Opens a BitLocker volume with its passkey."""

    programs = ("dislocker-fuse", "mount.ntfs-3g", "fusermount3", "mount", "umount")

    def open(self, locked: Path, passkey: str, slot: Path) -> Path:
        """Open a volume; return the file that stands for the plain one.

        Raises:
            WrongPasskey: it is not the passkey of this volume.
        """
        need(self.programs, "unlock BitLocker")
        program = find_program("dislocker-fuse")
        assert program is not None
        plain = slot / "plain"
        plain.mkdir(mode=0o700, exist_ok=True)
        ours, theirs = pty.openpty()
        try:
            modes = termios.tcgetattr(theirs)
            modes[_ECHO] &= ~termios.ECHO
            termios.tcsetattr(theirs, termios.TCSANOW, modes)
            child = subprocess.Popen(
                [program, "-V", str(locked), "-u", "--", str(plain)], stdin=theirs, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            said = _answer(child, ours, passkey.encode() + b"\n")
        finally:
            os.close(ours)
            os.close(theirs)
        if child.returncode:
            if _WRONG in said:
                raise WrongPasskey(locked)
            raise ProgramFailed("dislocker", child.returncode, words_of(said))
        return plain / "dislocker-file"

    def close(self, slot: Path) -> None:
        """Take the plain file away."""
        if os.path.ismount(slot / "plain"):
            run_program(["fusermount3", "-u", str(slot / "plain")])


def _answer(child: "subprocess.Popen[bytes]", terminal: int, line: bytes) -> bytes:
    """Give a program the line it asks for, and return what it said.

    It throws away what was typed before it asked, and does not show when that is: so the line is typed until it ends.
    """
    for _ in range(COMMAND_SECONDS * 2):
        os.write(terminal, line)
        try:
            return child.communicate(timeout=0.5)[0]
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    child.wait()
    raise ProgramFailed("dislocker", -1, "it did not answer")
