"""One writer at a time: `flock` on the vault's lock file. Readers take nothing."""

import fcntl
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wain.base.errors import RemoteError

LOCK_FILE: Final = "lock"
WAIT_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.02


@dataclass(eq=False)
class VaultBusy(RemoteError):
    """Another process writes to the vault and does not finish."""

    path: str
    seconds: float
    hint = "Wait for the other Wain process, or end it, and repeat the command."

    def __str__(self) -> str:
        return f"the vault is in use: {self.path} stayed locked for {self.seconds:.0f} s"


class WriteLock:
    """The exclusive right to write, for one thread of one process. Entering again from inside changes nothing.

    Raises (on entering):
        VaultBusy: another process holds it for longer than `wait_seconds`.
    """

    def __init__(self, path: Path, wait_seconds: float = WAIT_SECONDS) -> None:
        self._path = path
        self._wait = wait_seconds
        self._threads = threading.RLock()
        self._depth = 0
        self._fd = -1

    def __enter__(self) -> Self:
        self._threads.acquire()
        try:
            if not self._depth:
                self._fd = self._locked()
            self._depth += 1
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            os.close(self._fd)
        self._threads.release()

    def _locked(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        until = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(fd)
                    raise VaultBusy(str(self._path), self._wait) from None
                time.sleep(_POLL_SECONDS)
            except BaseException:
                os.close(fd)
                raise
            else:
                return fd
