"""How long work reports itself. Rooms call it; only `cli` draws."""

from typing import Protocol


class Progress(Protocol):
    """Receives phases and counts. Called from one thread, a few times a second at most matters."""

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """A new phase begins; `total_bytes` is its expected work, if known."""

    def advance(self, done_bytes: int, items: int = 0) -> None:
        """More of the phase is done: bytes and items (files, packs) since the last call."""

    def note(self, message: str) -> None:
        """A calm one-line remark that stays on the screen."""


class Silent:
    """Progress that nobody watches."""

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """Say nothing."""

    def advance(self, done_bytes: int, items: int = 0) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""
