"""Opening recovery points for reading: which one is meant, and with which key."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from wain.base.errors import Refused
from wain.cli import options
from wain.cli.choosing import LATEST, find, newest
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.agent.browse import PointView
    from wain.agent.unlock import OpenKeys
    from wain.base.ids import PointId, RegistrationId
    from wain.vault.service import Vault
    from wain.wire.vault import RecoveryPoint

ALL: Final = "all"

Point = Annotated[str, typer.Argument(metavar="POINT", help="A point's id or its first digits, or 'latest'.")]
PointOrAll = Annotated[
    str, typer.Argument(metavar="POINT", help="A point's id or its first digits, 'latest', or 'all'.")
]


@dataclass(frozen=True, slots=True)
class Opener:
    """Chosen points of a vault, and the keys that open them."""

    vault: "Vault"
    rid: "RegistrationId"
    chosen: "list[RecoveryPoint]"
    """In the order of the request; all of them: oldest first."""
    keys: "OpenKeys"

    @classmethod
    def of(cls, context: typer.Context, places: tuple[str, str], texts: Sequence[str], files: tuple[str, str]) -> Self:
        """Find points (`all` stands for all) and ask for the passphrase, or take the recovery key from its file.

        `places` are vault and Data Box service, `files` passphrase and recovery key, as the options name them.

        Raises:
            Refused: no such point, said before anybody is asked for a passphrase.
        """
        parts = Parts.of(context)
        rid = parts.home().require_enrolment().registration.id
        vault = parts.vault(*places)
        points = vault.points(rid)
        chosen = points if list(texts) == [ALL] and points else [find(vault, rid, text) for text in texts]
        return cls(vault, rid, chosen, open_keys(vault, rid, files))

    def open(self, point: "PointId") -> "PointView":
        """Open a point for reading."""
        from wain.agent.browse import PointView

        return PointView(self.vault, self.rid, point, self.keys.key, self.keys.namer)


@contextmanager
def opened(
    context: typer.Context, places: tuple[str, str], point: str, files: tuple[str, str], paths: tuple[bytes, ...] = ()
) -> "Iterator[PointView]":
    """Open one point with the passphrase, or with the recovery key when its file is given.

    `paths` are of interest: `latest` with the path of a stream means the newest point of that stream.
    """
    opener = Opener.of(context, places, (point,), files)
    with opener.open(opener.chosen[0].id) as view:
        stream = _stream(opener.vault, view, paths[0]) if point == LATEST and len(paths) == 1 else None
        if stream is None:
            yield view
            return
    with opener.open(stream.id) as view:
        yield view


def _stream(vault: "Vault", view: "PointView", path: bytes) -> "RecoveryPoint | None":
    """Return the newest point of the stream that is kept as a path, when the files have no such path."""
    from wain.agent.stream_run import series_of
    from wain.base.errors import DataError

    try:
        view.entry(path)
    except Refused:
        return newest(vault, view.manifest.registration, series_of(path, view.namer))
    except DataError:
        return None  # Whoever reads it next meets the damage, and names it.
    return None


def open_keys(vault: "Vault", rid: "RegistrationId", files: tuple[str, str]) -> "OpenKeys":
    """Open the registration with the passphrase, or with the recovery key when only its file is named."""
    from wain.agent.unlock import OpenKeys, unlock
    from wain.keys.phrases import recovery_from_text
    from wain.keys.secret import Secret

    passphrase_file, recovery_file = files
    answer: str | Secret
    if recovery_file and not passphrase_file:
        line = options.first_line(recovery_file, "the recovery key", "--recovery-key-file")
        answer = recovery_from_text(line)
    else:
        answer = options.passphrase(passphrase_file)
    return OpenKeys.of(unlock(vault, rid, answer))
