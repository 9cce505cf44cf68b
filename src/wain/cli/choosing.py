"""Which recovery point a word means: an id, its first digits, or `latest`."""

from typing import TYPE_CHECKING, Final

from wain.base.errors import Refused
from wain.base.ids import NO_SERIES, RegistrationId, SeriesId

if TYPE_CHECKING:
    from wain.wire.vault import RecoveryPoint, VaultApi

LATEST: Final = "latest"


def find(vault: "VaultApi", rid: RegistrationId, text: str) -> "RecoveryPoint":
    """Return the point that `latest`, an id or its first digits name.

    The latest is the newest point of the policy's files, or the newest of all where there is none of files.

    Raises:
        Refused: none, or several.
    """
    points = vault.points(rid)
    if not points:
        raise Refused("there is no recovery point yet", "Run `wain backup`.")
    if text == LATEST:
        return newest(vault, rid, NO_SERIES) or points[-1]
    matches = [point for point in points if point.id.hex().startswith(text.lower())]
    if len(matches) != 1:
        reason = f"several points begin with {text!r}" if matches else f"there is no point {text!r}"
        raise Refused(reason, "See `wain points`; 'latest' is one too.")
    return matches[0]


def newest(vault: "VaultApi", rid: RegistrationId, series: SeriesId) -> "RecoveryPoint | None":
    """Return the newest point of a series, or None. It reads the manifests of all newer points."""
    from wain.agent.browse import trusted_manifest
    from wain.base.errors import DataError

    for point in reversed(vault.points(rid)):
        try:
            found = trusted_manifest(vault, rid, point.id).series
        except DataError:
            found = NO_SERIES  # Of a point that is damaged nobody knows; opening it will say what is wrong.
        if found == series:
            return point
    return None
