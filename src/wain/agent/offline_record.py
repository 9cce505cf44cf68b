"""What the agent remembers of its sign-in for offline backup: `identity.json` (agent/FORMAT.md).

On Windows the MARS agent keeps the same in the registry: `CurrentUserId`, and `AzureADAppCertThumbprint_<user id>` for
each account (seed, S106, S108). Here both are names in one file.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from wain.base.errors import Refused
from wain.storage.durable import make_dirs, reading, write_atomic, writing

FILE: Final = "identity.json"
LOCK: Final = "identity.lock"
THUMBPRINT: Final = "AzureADAppCertThumbprint_"
FILE_CAP: Final = 256 * 1024
_NAMES: Final = ("objectId", "appId", "keyId", "replacedKeyId")


@dataclass(frozen=True, slots=True)
class Services:
    """The addresses of the token service, Graph and ARM; `ca_file` names who to trust, or is empty."""

    authority: str
    tenant: str
    graph: str
    arm: str
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """Which certificate this server uses in the application of one user. Empty where it is not known yet."""

    thumbprint: str
    object_id: str = ""
    app_id: str = ""
    key_id: str = ""
    replaced_key_id: str = ""
    """The key before it, while its removal is not known to have worked."""


@dataclass(frozen=True, slots=True)
class OfflineRecord:
    """Everything remembered: the services, who signed in last, and a binding for each user id."""

    services: Services | None = None
    current_user: str = ""
    bindings: Mapping[str, Binding] = field(default_factory=dict)

    def bound(self, user: str, binding: Binding) -> "OfflineRecord":
        """Return the record with a user's binding set."""
        return replace(self, bindings={**self.bindings, user: binding})

    def unbound(self, user: str) -> "OfflineRecord":
        """Return the record without a user's binding."""
        return replace(self, bindings={each: one for each, one in self.bindings.items() if each != user})


@contextmanager
def exclusive(agent: Path) -> Iterator[None]:
    """Be the only command that changes what is remembered. The lock goes with the process that holds it.

    Raises:
        Refused: another command is at it.
    """
    make_dirs(agent, 0o700)
    with writing(str(agent / LOCK)):
        fd = os.open(agent / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another command is changing how this server signs in", "Wait until it ends.") from None
        yield
    finally:
        os.close(fd)


def load(agent: Path) -> OfflineRecord:
    """Return what the agent remembers; an empty record when nothing was written.

    Raises:
        Refused: the file is not a record of ours.
    """
    path = agent / FILE
    with reading(str(path)):
        if not path.exists():
            return OfflineRecord()
        with open(path, "rb") as file:
            body = file.read(FILE_CAP + 1)
    try:
        if len(body) > FILE_CAP:
            raise ValueError("it is too large")
        return _decode(json.loads(body))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{path} is not a record of Wain's: {error}", "Remove it and run `wain identity setup`."
        ) from None


def save(agent: Path, record: OfflineRecord) -> None:
    """Remember a record, durably."""
    make_dirs(agent, 0o700)
    write_atomic(agent / FILE, (json.dumps(_encode(record), indent=1) + "\n").encode(), 0o600)


def _encode(record: OfflineRecord) -> dict[str, Any]:
    body: dict[str, Any] = {"currentUserId": record.current_user}
    if record.services:
        services = record.services
        body["services"] = {
            "authority": services.authority,
            "tenant": services.tenant,
            "graph": services.graph,
            "arm": services.arm,
            "caFile": services.ca_file,
        }
    for user, one in sorted(record.bindings.items()):
        body[THUMBPRINT + user] = one.thumbprint
    body["applications"] = {
        user: dict(zip(_NAMES, (one.object_id, one.app_id, one.key_id, one.replaced_key_id), strict=True))
        for user, one in sorted(record.bindings.items())
    }
    return body


def _decode(body: Mapping[str, Any]) -> OfflineRecord:
    services = body.get("services")
    applications = body["applications"]
    bindings = {}
    for name, thumbprint in body.items():
        if name.startswith(THUMBPRINT):
            user = name.removeprefix(THUMBPRINT)
            known = applications.get(user, {})
            bindings[user] = Binding(str(thumbprint), *(str(known.get(each, "")) for each in _NAMES))
    return OfflineRecord(
        Services(*(str(services[name]) for name in ("authority", "tenant", "graph", "arm", "caFile")))
        if services
        else None,
        str(body["currentUserId"]),
        bindings,
    )
