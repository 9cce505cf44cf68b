"""The agent's own directory: what it is enrolled in, its keys, its policy, its jobs, its seed (agent/FORMAT.md).

Small records are JSON files that are replaced atomically and durably. Only this module knows their names.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from wain.agent import records
from wain.agent.write_keys import AgentKeys, decode_keys, encode_keys
from wain.base.errors import Refused
from wain.base.ids import PointId
from wain.job.job import Job
from wain.job.seeding import SeedState
from wain.policy.policy import Policy
from wain.storage.durable import make_dirs, reading, write_atomic, writing
from wain.wire.vault import Registration

_Record = TypeVar("_Record")

KEEP_JOBS: Final = 200
"""How many job records are kept."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A finished registration, as the server remembers it."""

    registration: Registration
    vault_url: str


@dataclass(frozen=True, slots=True)
class SeedRecord:
    """One seed, as the agent remembers it. `device` is the id of the only device it may lie on, in hex.

    A first backup that fills devices of a kind that may be spanned is a seed for each: `earlier` are those before.
    """

    id: str
    order: str
    state: SeedState
    device: str = ""
    root: str = ""
    """Where the device was when it was written."""
    container: str = ""
    seal_hash: str = ""
    point: str = ""
    earlier: tuple["SeedRecord", ...] = ()

    def with_earlier(self, seed: "SeedRecord") -> "SeedRecord":
        """Return the record with one of the earlier seeds as it is now."""
        return replace(self, earlier=tuple(seed if one.id == seed.id else one for one in self.earlier))


@dataclass(frozen=True, slots=True)
class Head:
    """The newest manifest this agent signed: what a vault must never fall behind."""

    seq: int
    point: PointId


class AgentHome:
    """The agent's directory below a Wain home. Nothing is created before the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.agent = root / "agent"

    def enrolment(self) -> Enrolment | None:
        """Return what this server is registered with, or None."""
        body = self._read("enrolment.json")
        if body is None:
            return None
        with self._decoding("enrolment.json"):
            return Enrolment(records.registration_from_json(body["registration"]), str(body["vaultUrl"]))

    def save_enrolment(self, enrolment: Enrolment) -> None:
        """Remember a finished registration; this is what makes it count."""
        body = {
            "registration": records.registration_to_json(enrolment.registration),
            "vaultUrl": enrolment.vault_url,
        }
        self._write("enrolment.json", body)

    def require_enrolment(self) -> Enrolment:
        """Return the registration.

        Raises:
            Refused: this server is not registered.
        """
        enrolment = self.enrolment()
        if enrolment is None:
            raise Refused("this server is not registered with a vault", "Run 'wain register' first.")
        return enrolment

    def keys(self) -> AgentKeys | None:
        """Return what writing needs, or None before registration began."""
        body = self._bytes("agent.keys")
        return None if body is None else decode_keys(body)

    def require_keys(self) -> AgentKeys:
        """Return what writing needs.

        Raises:
            Refused: the key file is gone.
        """
        keys = self.keys()
        if keys is None:
            raise Refused(f"{self.agent / 'agent.keys'} is missing", "Register this server again.")
        return keys

    def save_keys(self, keys: AgentKeys) -> None:
        """Store the write keys, readable by their owner alone."""
        self._ready()
        write_atomic(self.agent / "agent.keys", encode_keys(keys), 0o600)

    def pending_slots(self) -> bytes | None:
        """Return the key slots of a registration that was begun and not finished."""
        return self._bytes("slots.pending")

    def save_pending_slots(self, slots: bytes) -> None:
        """Remember the key slots until the vault has them."""
        self._ready()
        write_atomic(self.agent / "slots.pending", slots, 0o600)

    def forget_pending(self) -> None:
        """Remove what an unfinished registration left."""
        with writing(str(self.agent)):
            for name in ("slots.pending", "recovery.pending"):
                (self.agent / name).unlink(missing_ok=True)

    def pending_recovery(self) -> bytes | None:
        """Return the BLAKE3 of the recovery key that an unfinished registration was writing out, or None."""
        body = self._read("recovery.pending")
        if body is None:
            return None
        with self._decoding("recovery.pending"):
            return bytes.fromhex(body["digest"])

    def save_pending_recovery(self, digest: bytes) -> None:
        """Remember the BLAKE3 of a recovery key before the key itself is written anywhere."""
        self._write("recovery.pending", {"digest": digest.hex()})

    def policy(self) -> Policy | None:
        """Return the backup policy, or None when none was set."""
        body = self._read("policy.json")
        if body is None:
            return None
        with self._decoding("policy.json"):
            return records.policy_from_json(body)

    def save_policy(self, policy: Policy) -> None:
        """Set the backup policy."""
        self._write("policy.json", records.policy_to_json(policy))

    def require_policy(self) -> Policy:
        """Return the policy.

        Raises:
            Refused: none was set.
        """
        policy = self.policy()
        if policy is None:
            raise Refused("no backup policy is set", "Run 'wain policy set --include DIR' first.")
        return policy

    def jobs(self) -> list[Job]:
        """Return the job records, oldest first. One that makes no sense is left out: it must not stop backups."""
        directory = self.agent / "jobs"
        if not directory.is_dir():
            return []
        found = []
        for name in sorted(name for name in os.listdir(directory) if name.endswith(".json")):
            with suppress(Refused):
                body = self._read(f"jobs/{name}")
                if body is not None:
                    with self._decoding(f"jobs/{name}"):
                        found.append(records.job_from_json(body))
        return found

    def save_job(self, job: Job) -> None:
        """Write a job's record; the oldest records give way."""
        name = f"{job.started_at:%Y%m%dT%H%M%S%f}-{job.id}.json"
        self._write(f"jobs/{name}", records.job_to_json(job))
        with writing(str(self.agent / "jobs")):
            for old in sorted(os.listdir(self.agent / "jobs"))[:-KEEP_JOBS]:
                (self.agent / "jobs" / old).unlink(missing_ok=True)

    def seed(self) -> SeedRecord | None:
        """Return the seed, or None when there never was one."""
        body = self._read("seed.json")
        if body is None:
            return None
        with self._decoding("seed.json"):
            return _seed_from_json(body)

    def save_seed(self, seed: SeedRecord) -> None:
        """Remember where the seed stands; one that is among the earlier ones of the present seed stays there."""
        now = self.seed()
        if now is not None and any(one.id == seed.id for one in now.earlier):
            seed = now.with_earlier(seed)
        self._write("seed.json", _seed_to_json(seed))

    def head(self) -> Head | None:
        """Return the newest manifest this agent signed, or None."""
        body = self._read("head.json")
        if body is None:
            return None
        with self._decoding("head.json"):
            return Head(int(body["seq"]), PointId(bytes.fromhex(body["point"])))

    def save_head(self, head: Head) -> None:
        """Remember the newest manifest."""
        self._write("head.json", {"seq": head.seq, "point": head.point.hex()})

    def forget_head(self) -> None:
        """Forget the newest manifest: it was never heard of, and never will be."""
        with writing(str(self.agent)):
            (self.agent / "head.json").unlink(missing_ok=True)

    def pinned_vault_key(self) -> bytes | None:
        """Return the vault's signing key as first seen, or None."""
        body = self._read("vault-key.json")
        if body is None:
            return None
        with self._decoding("vault-key.json"):
            return bytes.fromhex(body["key"])

    def pin_vault_key(self, key: bytes) -> None:
        """Remember the vault's signing key."""
        self._write("vault-key.json", {"key": key.hex()})

    def decoded(self, name: str, decode: Callable[[dict[str, Any]], _Record]) -> _Record | None:
        """Return a JSON record as `decode` understands it, or None when there is none.

        Raises:
            Refused: it is not one of ours.
        """
        body = self._read(name)
        if body is None:
            return None
        with self._decoding(name):
            return decode(body)

    def save_record(self, name: str, body: dict[str, Any]) -> None:
        """Replace a JSON record, durably."""
        self._write(name, body)

    def pack_checks(self) -> bytes | None:
        """Return what is remembered of when packs were last read (`pack_checks`), or None."""
        return self._bytes("pack.checks")

    def save_pack_checks(self, body: bytes) -> None:
        """Remember when packs were last read."""
        self._ready()
        write_atomic(self.agent / "pack.checks", body, 0o600)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the agent's lock: one job at a time.

        Raises:
            Refused: another job is running.
        """
        self._ready()
        with writing(str(self.agent / "lock")):
            fd = os.open(self.agent / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused("another job of this agent is running", "Wait until it ends.") from None
            yield
        finally:
            os.close(fd)

    def _ready(self) -> None:
        make_dirs(self.agent, 0o700)
        make_dirs(self.agent / "jobs", 0o700)

    def _bytes(self, name: str) -> bytes | None:
        path = self.agent / name
        with reading(str(path)):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def _read(self, name: str) -> dict[str, Any] | None:
        body = self._bytes(name)
        if body is None:
            return None
        with self._decoding(name):
            return dict(json.loads(body))

    @contextmanager
    def _decoding(self, name: str) -> Iterator[None]:
        """Refuse a record that is not what we wrote, by its name."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Refused(
                f"{self.agent / name} is not a record of Wain's: {error}", "Restore it or remove it."
            ) from None

    def _write(self, name: str, body: dict[str, Any]) -> None:
        self._ready()
        write_atomic(self.agent / name, (json.dumps(body, indent=1) + "\n").encode(), 0o600)


def _seed_to_json(seed: SeedRecord) -> dict[str, Any]:
    body = {name: getattr(seed, name) for name in SeedRecord.__slots__}
    return body | {"state": seed.state.value, "earlier": [_seed_to_json(one) for one in seed.earlier]}


def _seed_from_json(body: dict[str, Any]) -> SeedRecord:
    earlier = tuple(_seed_from_json(one) for one in body.get("earlier", ()))
    return SeedRecord(**{**body, "state": SeedState(body["state"]), "earlier": earlier})
