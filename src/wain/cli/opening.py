"""Opening recovery points for reading: which one is meant, and with which key."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from wain.base.errors import Refused
from wain.cli import options
from wain.cli.parts import Parts

if TYPE_CHECKING:
    from wain.agent.browse import PointView
    from wain.agent.check import OpenKeys
    from wain.base.ids import PointId, RegistrationId
    from wain.vault.service import Vault
    from wain.wire.vault import RecoveryPoint

LATEST: Final = "latest"
ALL: Final = "all"

Point = Annotated[str, typer.Argument(metavar="POINT", help="A point's id or its first digits, or 'latest'.")]
PointOrAll = Annotated[
    str, typer.Argument(metavar="POINT", help="A point's id or its first digits, 'latest', or 'all'.")
]


def find(points: "list[RecoveryPoint]", text: str) -> "RecoveryPoint":
    """Return the point that `latest`, an id or its first digits name.

    Raises:
        Refused: none, or several.
    """
    if not points:
        raise Refused("there is no recovery point yet", "Run `wain backup`.")
    if text == LATEST:
        return points[-1]
    matches = [point for point in points if point.id.hex().startswith(text.lower())]
    if len(matches) != 1:
        reason = f"several points begin with {text!r}" if matches else f"there is no point {text!r}"
        raise Refused(reason, "See `wain points`; 'latest' is one too.")
    return matches[0]


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
        chosen = points if list(texts) == [ALL] and points else [find(points, text) for text in texts]
        return cls(vault, rid, chosen, open_keys(vault, rid, files))

    def open(self, point: "PointId") -> "PointView":
        """Open a point for reading."""
        from wain.agent.browse import PointView

        return PointView(self.vault, self.rid, point, self.keys.key, self.keys.namer)


@contextmanager
def opened(
    context: typer.Context, places: tuple[str, str], point: str, files: tuple[str, str]
) -> "Iterator[PointView]":
    """Open one point with the passphrase, or with the recovery key when its file is given."""
    opener = Opener.of(context, places, (point,), files)
    with opener.open(opener.chosen[0].id) as view:
        yield view


def open_keys(vault: "Vault", rid: "RegistrationId", files: tuple[str, str]) -> "OpenKeys":
    """Open the registration with the passphrase, or with the recovery key when only its file is named."""
    from wain.agent.check import OpenKeys
    from wain.agent.unlock import unlock
    from wain.chunk.names import Namer
    from wain.keys.phrases import recovery_from_text
    from wain.keys.secret import Secret, restore_key, write_keys

    passphrase_file, recovery_file = files
    answer: str | Secret
    if recovery_file and not passphrase_file:
        line = options.first_line(recovery_file, "the recovery key", "--recovery-key-file")
        answer = recovery_from_text(line)
    else:
        answer = options.passphrase(passphrase_file)
    secret = unlock(vault, rid, answer)
    return OpenKeys(restore_key(secret), Namer(write_keys(secret).chunk_keys))
