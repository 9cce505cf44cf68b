"""When this agent last read each pack in full, and whether it was whole (agent/FORMAT.md, "Pack checks").

Losing it costs nothing: every pack is then one that was never read.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

from blake3 import blake3

from wain.agent.home import AgentHome
from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt, Malformed, WainError
from wain.base.ids import HASH_BYTES, UUID_BYTES, PackId, RegistrationId
from wain.base.moment import from_ns, to_ns
from wain.tree.manifest import MAX_PACKS, PackRef

MAGIC: Final = b"WAINCHKS"
VERSION: Final = 1
FIXED_BYTES: Final = 62
ROW_BYTES: Final = 49
SAVE_EVERY: Final = timedelta(minutes=1)
AGE_DAYS: Final = (1, 7, 30, 90, 365)
"""Ages are counted up to each of these, and beyond the last."""

_WHAT: Final = "pack checks"
_ROW: Final = struct.Struct("<32sBqq")
_WHOLE: Final = 1
_DAMAGED: Final = 2


class PackCheck(NamedTuple):
    """The last full read of a pack. Moments are ns since 1970; `whole_ns` is 0 when it was never found whole."""

    whole: bool
    read_ns: int
    whole_ns: int


def encode_checks(rid: RegistrationId, checks: Mapping[PackId, PackCheck]) -> bytes:
    """Return the file's bytes.

    Raises:
        Malformed: more packs than there can be, or moments that do not go together.
    """
    if len(checks) > MAX_PACKS:
        raise Malformed(_WHAT, f"{len(checks)} packs")
    for check in checks.values():
        _check(check)
    rows = [
        _ROW.pack(pack, _WHOLE if one.whole else _DAMAGED, one.read_ns, one.whole_ns) for pack, one in checks.items()
    ]
    body = Encoder(MAGIC, VERSION).fixed(rid, UUID_BYTES).uint(len(rows), 4).raw(b"".join(sorted(rows))).finish()
    return body + blake3(body).digest()


def decode_checks(body: bytes) -> tuple[RegistrationId, dict[PackId, PackCheck]]:
    """Return what `encode_checks` wrote: the registration, and the packs by id.

    Raises:
        Truncated, WrongMagic, UnknownVersion, TooLarge, Malformed: not such a file of ours. Corrupt: changed since.
    """
    read = Decoder(_WHAT, body, MAGIC, VERSION)
    rid = RegistrationId(read.take(UUID_BYTES))
    rows = read.take(read.count(ROW_BYTES, MAX_PACKS, "pack count") * ROW_BYTES)
    end = read.at
    digest = read.take(HASH_BYTES)
    read.finish()
    if blake3(body[:end]).digest() != digest:
        raise Corrupt(_WHAT, "the hash does not match the bytes")
    checks: dict[PackId, PackCheck] = {}
    last = b""
    for pack, result, read_ns, whole_ns in _ROW.iter_unpack(rows):
        if result not in (_WHOLE, _DAMAGED):
            raise read.refuse(f"{result} is no result")
        if checks and pack <= last:
            raise read.refuse("packs are not strictly in order of their ids")
        checks[PackId(pack)] = check = PackCheck(result == _WHOLE, read_ns, whole_ns)
        _check(check)
        last = pack
    return rid, checks


def _check(check: PackCheck) -> None:
    for moment in (check.read_ns, check.whole_ns):
        if moment % 1000:
            raise Malformed(_WHAT, "a moment has digits below a microsecond")
    if check.whole and check.read_ns != check.whole_ns:
        raise Malformed(_WHAT, "a pack that was found whole has another moment for that")
    if check.read_ns <= 0 or check.whole_ns < 0:
        raise Malformed(_WHAT, "a moment is before 1970")


def load_checks(home: AgentHome, rid: RegistrationId) -> dict[PackId, PackCheck]:
    """Return what is remembered of a registration's packs: nothing when the file cannot be read or is another's."""
    try:
        body = home.pack_checks()
        owner, checks = decode_checks(body) if body is not None else (rid, {})
    except WainError:
        return {}
    return checks if owner == rid else {}


class CheckLog:
    """Remembers full reads as they end. A context manager: what was read is kept, however the check ends.

    A home that cannot be written is no reason to stop a check: `problem` says why, when nothing could be kept.
    """

    def __init__(self, home: AgentHome, rid: RegistrationId, clock: Callable[[], datetime]) -> None:
        self.problem: WainError | None = None
        self._home = home
        self._rid = rid
        self._clock = clock
        self._fresh: dict[PackId, tuple[bool, int]] = {}
        self._saved_at = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def note(self, pack: PackId, *, whole: bool) -> None:
        """Take down that a pack was read to its end. Saved once a minute."""
        now = self._clock()
        self._fresh[pack] = (whole, to_ns(now))
        if now - self._saved_at >= SAVE_EVERY:
            self._save()

    def forget_others(self, packs: Iterable[PackId]) -> None:
        """Keep what is remembered of these packs alone: no recovery point needs the others any more."""
        checks = load_checks(self._home, self._rid)
        kept = {pack: checks[pack] for pack in packs if pack in checks}
        if len(kept) < len(checks):
            self._write(kept)

    def _save(self) -> None:
        """Write what was read since the last time beside what is there: another check may have written meanwhile."""
        self._saved_at = self._clock()
        if not self._fresh:
            return
        checks = load_checks(self._home, self._rid)
        for pack, (whole, at) in self._fresh.items():
            before = checks.get(pack)
            checks[pack] = PackCheck(whole, at, at if whole else before.whole_ns if before else 0)
        self._write(checks)

    def _write(self, checks: dict[PackId, PackCheck]) -> None:
        try:
            self._home.save_pack_checks(encode_checks(self._rid, checks))
        except WainError as error:
            self.problem = error
        else:
            self.problem = None
            self._fresh.clear()


class Group(NamedTuple):
    """Packs of like age. `up_to_days` is None for the oldest."""

    up_to_days: int | None
    packs: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Ages:
    """How long ago packs were found whole. `oldest` and `newest` are the moments, None when there is none."""

    packs: int
    stored_bytes: int
    never: int
    never_bytes: int
    damaged: int
    """Found damaged when they were last read."""
    oldest: datetime | None
    newest: datetime | None
    groups: tuple[Group, ...]


def ages(refs: Iterable[PackRef], checks: Mapping[PackId, PackCheck], now: datetime) -> Ages:
    """Count packs by when they were last found whole. A moment in the future counts as now."""
    packs = size = never = never_bytes = damaged = 0
    counts = [[0, 0] for _ in (*AGE_DAYS, None)]
    oldest = newest = 0
    for ref in refs:
        packs += 1
        size += ref.stored_bytes
        check = checks.get(ref.id)
        damaged += check is not None and not check.whole
        if check is None or not check.whole_ns:
            never += 1
            never_bytes += ref.stored_bytes
            continue
        oldest = min(oldest or check.whole_ns, check.whole_ns)
        newest = max(newest, check.whole_ns)
        group = _group(now - from_ns(check.whole_ns))
        counts[group][0] += 1
        counts[group][1] += ref.stored_bytes
    return Ages(
        packs, size, never, never_bytes, damaged,
        from_ns(oldest) if oldest else None,
        from_ns(newest) if newest else None,
        tuple(Group(days, *count) for days, count in zip((*AGE_DAYS, None), counts, strict=True)),
    )  # fmt: skip


def _group(age: timedelta) -> int:
    return next((at for at, days in enumerate(AGE_DAYS) if age <= timedelta(days=days)), len(AGE_DAYS))
