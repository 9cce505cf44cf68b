"""Errors, split by who must act.

`UserError`: fix the request or the surroundings. `DataError`: bytes are wrong. `RemoteError`: try again.
`IllegalMove`: a bug or a race. Facts are attributes; the sentence is made in `__str__`; `hint` says what to do.
Only `cli` maps them to exit codes.
"""

from dataclasses import dataclass


class WainError(Exception):
    """Anything Wain reports on purpose. `hint` is one sentence that names the cure, or empty."""

    hint: str = ""


class UserError(WainError):
    """The request or the surroundings must change before a retry can work."""


class DataError(WainError):
    """Stored bytes are not what they must be."""


class RemoteError(WainError):
    """A service, a disk or a network failed; the same call may work later."""


@dataclass(eq=False)
class Refused(UserError):
    """A request that breaks a rule. `reason` is the whole sentence, `hint` the next step."""

    reason: str
    hint: str = ""

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class IllegalMove(WainError):
    """A state machine was asked for a move its table does not list."""

    what: str
    now: str
    then: str

    def __str__(self) -> str:
        return f"{self.what} cannot go from {self.now} to {self.then}"


@dataclass(eq=False)
class Truncated(DataError):
    """Fewer bytes than the format needs."""

    what: str
    want: int
    have: int

    def __str__(self) -> str:
        return f"{self.what} is cut short: {self.have} bytes where {self.want} are needed"


@dataclass(eq=False)
class WrongMagic(DataError):
    """The first bytes belong to something else."""

    what: str
    want: bytes
    have: bytes

    def __str__(self) -> str:
        return f"{self.what} starts with {self.have!r}, not {self.want!r}"


@dataclass(eq=False)
class UnknownVersion(DataError):
    """Written by a newer Wain, or not by Wain at all."""

    what: str
    have: int
    known: int
    hint = "Install a newer Wain to read it."

    def __str__(self) -> str:
        return f"{self.what} has format version {self.have}; this Wain reads up to {self.known}"


@dataclass(eq=False)
class Malformed(DataError):
    """Bytes that no encoder of ours would produce. `why` names the field and what is wrong with it."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} is malformed: {self.why}"


@dataclass(eq=False)
class TooLarge(DataError):
    """A length from outside is over its cap; nothing was allocated."""

    what: str
    have: int
    cap: int

    def __str__(self) -> str:
        return f"{self.what} claims {self.have}, over the cap of {self.cap}"


@dataclass(eq=False)
class Corrupt(DataError):
    """A hash, tag or signature does not match. `where` is as exact as the reader can say."""

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what} is damaged: {self.where}"


@dataclass(eq=False)
class Missing(DataError):
    """Something that is referred to is not there."""

    what: str

    def __str__(self) -> str:
        return f"{self.what} is missing"


@dataclass(eq=False)
class CommitmentMismatch(DataError):
    """The key does not belong to this ciphertext (or the passphrase is wrong)."""

    what: str

    def __str__(self) -> str:
        return f"{self.what} does not open with this key"


@dataclass(eq=False)
class OutOfSpace(UserError):
    """The target is full. Sizes in bytes."""

    where: str
    need_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        short = self.need_bytes - self.free_bytes
        return (
            f"{self.where} is full: {self.need_bytes} bytes are needed, {self.free_bytes} are free, {short} are missing"
        )


@dataclass(eq=False)
class OutOfFiles(OutOfSpace):
    """The target has room for bytes, and for no more files: every inode of its file system is in use."""

    hint = "Remove files there that nobody needs, or make its file system with more inodes."

    def __str__(self) -> str:
        return f"{self.where} takes no more files: it has no free inodes, though {self.free_bytes} bytes are free"


@dataclass(eq=False)
class WriteFailed(RemoteError):
    """A target could not be written or made durable. Never a warning about the source."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"cannot write {self.where}: {self.why}"


@dataclass(eq=False)
class DeviceLost(RemoteError):
    """The device went away while in use."""

    where: str
    hint = "Connect the same device again and repeat the command; it resumes."

    def __str__(self) -> str:
        return f"the device at {self.where} is gone"
