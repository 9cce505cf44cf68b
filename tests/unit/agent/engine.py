"""A small protected server: real files, a real home, a real vault in a directory; and reading back what it stored."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wain.agent.browse import PointView
from wain.agent.enrol import EnrolRequest, enrol
from wain.agent.home import AgentHome
from wain.agent.job import Services, run_backup
from wain.agent.sinks import WholeDraft
from wain.base.errors import WriteFailed
from wain.base.ids import PackId, PointId, RegistrationId
from wain.base.progress import Silent
from wain.chunk.names import ChunkType, Namer
from wain.job.job import Job, Problem
from wain.keys.secret import RestoreKey, Secret, restore_key, write_keys
from wain.keys.slots import CHEAPEST, decode_slots, open_with_recovery
from wain.pack.writer import SealedPack
from wain.policy.policy import Policy
from wain.tree.entry import Entry, Kind
from wain.vault.service import Vault

PASSPHRASE = "correct horse battery staple"
RECOVERY = Secret(b"r" * 32)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class MemorySink:
    """Where packs rest in a test; `fail_at` counts calls of `put` from 1."""

    def __init__(self, fail_at: int = 0, error: BaseException | None = None) -> None:
        self.packs: dict[PackId, SealedPack] = {}
        self.durable: set[PackId] = set()
        self.fail_at = fail_at
        self.error = error or WriteFailed("the test's sink", "no more")
        self.calls = 0

    def put(self, pack: SealedPack) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error
        self.packs[pack.id] = pack

    def draft(self) -> WholeDraft:
        return WholeDraft(self.put)

    def commit(self) -> None:
        self.durable |= self.packs.keys()


class Faulty:
    """A vault whose verb `verb` fails at its n-th call, before or after it took effect. `put_pack` ends an upload."""

    def __init__(self, vault: Vault, verb: str, at: int = 1, *, after: bool = False) -> None:
        self._vault, self._verb, self._left, self._after = vault, verb, at, after

    def __getattr__(self, name: str) -> object:
        real = getattr(self._vault, name)
        return self._strike(real) if name == self._verb else real

    def upload(self, rid: RegistrationId) -> object:
        upload = self._vault.upload(rid)
        if self._verb == "put_pack":
            upload.finish = self._strike(upload.finish)
        return upload

    def _strike(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise WriteFailed("the test's vault", "cut before")
            answer = real(*args)
            if self._left == 0:
                raise WriteFailed("the test's vault", "cut after")
            return answer

        return call


@dataclass
class Server:
    """A registered server with a policy for `source`."""

    root: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.source = self.root / "source"
        self.source.mkdir()
        self.vault = Vault.open(self.root / "vault", clock=self.clock)
        self.home = AgentHome(self.root / "home")
        request = EnrolRequest("server", "file:///vault", PASSPHRASE, RECOVERY, CHEAPEST)
        self.registration = enrol(self.home, self.vault, request, self.clock())
        self.policy()

    @property
    def rid(self) -> RegistrationId:
        return self.registration.id

    def policy(self, *includes: Path, **over: object) -> None:
        paths = includes or (self.source,)
        self.home.save_policy(Policy(tuple(os.fsencode(path) for path in paths), **over))

    def backup(self, vault: object = None) -> Job:
        skip = (self.root / "vault",)
        return run_backup(self.home, Services(vault or self.vault, skip=skip), self.clock, Silent())

    def stores_nothing_more(self) -> bool:
        """Back up again, a few times: other tests may touch the directory above the source, whose entry is kept too."""
        return any(self.backup().new_bytes == 0 for _ in range(5))

    def key(self) -> tuple[RestoreKey, Namer]:
        secret = open_with_recovery(decode_slots(self.vault.key_slots(self.rid)), RECOVERY)
        return restore_key(secret), Namer(write_keys(secret).chunk_keys)

    def view(self, point: PointId | None = None) -> PointView:
        key, namer = self.key()
        return PointView(self.vault, self.rid, point or self.vault.points(self.rid)[-1].id, key, namer)

    def entries(self, point: PointId | None = None) -> dict[str, Entry]:
        """Return the entries of a point by their path below the source's parent."""
        with self.view(point) as view:
            start = os.fsencode(self.root)
            found = dict(view.walk(b"/"))
            return {
                os.fsdecode(path[len(start) + 1 :]): entry for path, entry in found.items() if len(path) > len(start)
            }

    def content(self, name: str, point: PointId | None = None) -> bytes:
        """Return a file's bytes as a restore would write them."""
        with self.view(point) as view:
            entry = view.entry(os.fsencode(self.root / name))
            assert entry.kind is Kind.FILE
            body = b"".join(view.read_chunk(ChunkType.DATA, chunk) for chunk in view.file_chunks(entry))
        if not entry.content.extents:
            return body
        whole, at = bytearray(entry.stat.size), 0
        for offset, length in entry.content.extents:
            whole[offset : offset + length] = body[at : at + length]
            at += length
        assert at == len(body)
        return bytes(whole)


def reasons(job: Job) -> dict[str, str]:
    return {os.path.basename(os.fsdecode(one.path)): one.reason for one in job.problems}


class Problems(list[Problem]):
    """What a walk reported."""

    @property
    def paths(self) -> list[bytes]:
        return [one.path for one in self]
