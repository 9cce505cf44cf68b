"""`wain doctor`: looks at everything a backup needs, and says what to do about what is not as it should be."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import WainError
from wain.base.sizes import GIB, format_bytes
from wain.cli import render
from wain.cli.config import path_of
from wain.cli.measure import measure
from wain.cli.options import DataBox, Json
from wain.cli.parts import Parts, now
from wain.cli.progress import open_progress

if TYPE_CHECKING:
    from wain.policy.policy import Policy

_LOW_BYTES: Final = GIB
_SECRET_FILES: Final = ("agent.keys", "enrolment.json", "slots.pending")
_OLD_DAYS: Final = 3
_NOT_ALLOWED_CURE: Final = (
    "Run `wain identity setup`, which leaves other keys as they are. With other tools, one of these, then retry:"
    " (1) sign in with another account that has admin access on the subscription;"
    " (2) if `wain identity application show` lists no key of another server: `wain identity application delete`;"
    " (3) `wain identity certificate export --to FILE.cer`, `wain identity certificate upload FILE.cer`,"
    " `wain identity thumbprint set THUMBPRINT`."
)


class Level(Enum):
    """How much a finding matters. The value is what is printed."""

    GOOD = "ok"
    ADVICE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, what was seen, and the cure (empty when all is well)."""

    level: Level
    what: str
    seen: str
    cure: str = ""


def doctor(
    context: typer.Context,
    databox: DataBox = "",
    log: Annotated[
        str, typer.Option("--log", metavar="FILE", help="A CBUICurr log to read. Default: the agent's own.")
    ] = "",
    json: Json = False,
) -> int:
    """Check home, keys, vault, policy, order, device, sign-in and the newest point; each finding with its cure.

    Exit code 1 when something would stop a backup.
    """
    findings = list(_look(Parts.of(context), databox, log))
    if json:
        rows = [{"level": f.level.value, "what": f.what, "seen": f.seen, "cure": f.cure} for f in findings]
        render.emit_json(rows)
    else:
        for finding in findings:
            render.say(f"{finding.level.value:4}  {finding.what}: {finding.seen}")
            if finding.cure:
                render.say(f"      cure: {finding.cure}")
    return render.EXIT_USER if any(finding.level is Level.BAD for finding in findings) else render.EXIT_OK


def _look(parts: Parts, databox: str, log: str) -> Iterator[Finding]:
    yield from _guarded("home", lambda: _home(parts))
    yield from _guarded("registration", lambda: _registration(parts))
    yield from _guarded("vault", lambda: _vault(parts, databox))
    yield from _guarded("policy", lambda: _policy(parts, databox))
    yield from _guarded("sign-in", lambda: _sign_in(parts))
    yield from _guarded("log", lambda: _log(parts, log))


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Turn an error on the way into a finding, so that one broken part does not hide the others."""
    try:
        yield from look()
    except WainError as error:
        yield Finding(Level.BAD, what, str(error), getattr(error, "hint", "") or "Mend it and run this again.")
    except OSError as error:
        yield Finding(Level.BAD, what, f"{error.filename}: {error.strerror}", "Check the path and this user's rights.")


def _home(parts: Parts) -> Iterator[Finding]:
    home = Path(parts.settings.home)
    if not home.is_dir():
        yield Finding(Level.ADVICE, "home", f"{home} does not exist yet", "`wain register` makes it.")
        return
    yield Finding(Level.GOOD, "home", str(home))
    free = _free_bytes(home)
    if free < _LOW_BYTES:
        cure = "Make room: the agent keeps its index and the listing of the last backup there."
        yield Finding(Level.ADVICE, "home", f"{format_bytes(free)} free", cure)
    for name in _SECRET_FILES:
        path = home / "agent" / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            mode = stat.S_IMODE(path.stat().st_mode)
            yield Finding(Level.BAD, "keys", f"{path} has mode {mode:04o}: others may read it", f"chmod 600 {path}")


def _sign_in(parts: Parts) -> Iterator[Finding]:
    """Look at the certificate with which this server signs in for offline backup, if it has one."""
    from wain.agent.certificates import Certificates
    from wain.agent.offline_identity import CERTIFICATES
    from wain.agent.offline_record import load

    agent = parts.home().agent
    record = load(agent)
    binding = record.bindings.get(record.current_user)
    if binding is None:
        return
    directory = agent / CERTIFICATES
    for path in sorted(directory.glob("*.pem")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Finding(Level.BAD, "sign-in", f"{path} has mode {mode:04o}: others may read it", f"chmod 600 {path}")
    found = Certificates(directory).find(binding.thumbprint)
    if found is None:
        seen = f"the private key of certificate {binding.thumbprint} is not on this server"
        yield Finding(Level.BAD, "sign-in", seen, "Sign in with `wain identity setup`; another certificate is made.")
    elif not found.is_valid(now()):
        seen = f"{found.name} expired on {render.moment(found.ends_at)}"
        yield Finding(Level.BAD, "sign-in", seen, "Sign in with `wain identity setup`; other servers are not affected.")
    elif found.is_due(now()):
        seen = f"{found.name} expires on {render.moment(found.ends_at)}"
        yield Finding(Level.ADVICE, "sign-in", seen, "Run `wain identity certificate rotate`.")
    else:
        yield Finding(Level.GOOD, "sign-in", f"{found.name}, until {render.moment(found.ends_at)}")


def _log(parts: Parts, named: str) -> Iterator[Finding]:
    """Recognise the seed's failure in the last line of the CBUICurr log (S93 to S95), and name its workarounds."""
    from wain.agent.ui_log import UiLog, last_line, recognise

    found = (Path(named), last_line(Path(named))) if named else UiLog(parts.home().agent).last_line()
    if found is None:
        return
    path, line = found
    key_id = recognise(line)
    if key_id is None:
        yield Finding(Level.GOOD, "log", f"{path}: nothing known to be wrong in its last line")
        return
    seen = f"{path}: the key {key_id} of another certificate was not sent back as it was, so this one was refused"
    yield Finding(Level.BAD, "log", seen, _NOT_ALLOWED_CURE)


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _registration(parts: Parts) -> Iterator[Finding]:
    enrolment = parts.home().enrolment()
    if enrolment is None:
        yield Finding(Level.BAD, "registration", "this server is not registered", "Run `wain register --vault URL`.")
        return
    registration = enrolment.registration
    yield Finding(Level.GOOD, "registration", f"{registration.name} ({registration.id.hex()}) in {enrolment.vault_url}")
    if parts.home().keys() is None:
        cure = "Restore it from a copy of the home, or register again with another WAIN_HOME."
        yield Finding(Level.BAD, "keys", "agent.keys is missing: nothing can be written", cure)


def _vault(parts: Parts, databox: str) -> Iterator[Finding]:
    enrolment = parts.home().enrolment()
    if enrolment is None:
        return
    vault = parts.vault(enrolment.vault_url, databox)
    registration = vault.registration(enrolment.registration.id)
    free = _free_bytes(Path(path_of(enrolment.vault_url, "--vault")))
    yield Finding(Level.GOOD, "vault", f"reachable; {registration.state.value}; {format_bytes(free)} free")
    pinned = parts.home().pinned_vault_key()
    if pinned is not None and pinned != vault.public_key:
        cure = "Somebody put another vault in its place: mount the right one. Do not back up before you know why."
        yield Finding(Level.BAD, "vault", "its signing key is not the one this server has seen before", cure)
    points = vault.points(registration.id)
    if not points:
        yield Finding(Level.ADVICE, "points", "there is no recovery point yet", "Run `wain backup`.")
        return
    newest = points[-1]
    age = now() - newest.received_at
    words = f"{len(points)}; the newest is {newest.state.value}, received {render.moment(newest.received_at)}"
    old = age.days >= _OLD_DAYS
    cure = f"It is {age.days} days old. Run `wain backup`, and see that it runs at its times." if old else ""
    yield Finding(Level.ADVICE if old else Level.GOOD, "points", words, cure)


def _policy(parts: Parts, databox: str) -> Iterator[Finding]:
    policy = parts.home().policy()
    if policy is None:
        yield Finding(Level.BAD, "policy", "there is none", "Run `wain policy set --include DIR`.")
        return
    yield Finding(
        Level.GOOD, "policy", f"{len(policy.includes)} items, {policy.initial.value} first backup, {policy.schedule}"
    )
    for path in policy.includes:
        if not os.path.lexists(path):
            cure = "Mount it, or take it out with `wain policy set --include ...`."
            yield Finding(Level.BAD, "policy", f"{render.printable(path)} does not exist", cure)
        elif not os.access(path, os.R_OK):
            cure = "Run Wain as a user who may, such as root."
            yield Finding(Level.BAD, "policy", f"{render.printable(path)} cannot be read by this user", cure)
    if os.geteuid() != 0:
        cure = "As root, every file can be read, and owners can be restored."
        yield Finding(Level.ADVICE, "user", "not root: other users' files may be skipped", cure)
    if policy.order:
        yield from _guarded("order", lambda: _order(parts, databox, policy))


def _order(parts: Parts, databox: str, policy: "Policy") -> Iterator[Finding]:
    from wain.agent.seed import find_device
    from wain.device.find import check_root
    from wain.job.seeding import SeedState, WriteDevice, next_step

    assert policy.order is not None
    seed = parts.home().seed()
    state = seed.state if seed else SeedState.PLANNED
    order = parts.databox_knowing(policy.order, databox).order(policy.order)
    stage = order.stage
    yield Finding(Level.GOOD, "order", f"{policy.order} is {stage.value}; the seed is {state.value}")
    if isinstance(next_step(state, stage), WriteDevice):
        root = check_root(find_device(policy))
        free = _free_bytes(root.pageblob)
        yield Finding(Level.GOOD, "device", f"{root.path} can be written; {format_bytes(free)} free")
        if state is SeedState.PLANNED:
            yield from _guarded("size", lambda: _size(policy, order.sku, free))


def _size(policy: "Policy", sku: str, free: int) -> Iterator[Finding]:
    """Compare what the items typically take, compressed, with the seed's table of SKUs and with the device."""
    from wain.order.sku import check_fits, find_sku
    from wain.pageblob.parity import STRENGTHS
    from wain.policy.capacity import expected_bytes, sku_for

    with open_progress() as progress:
        progress.phase("measuring the items")
        source = sum(measure(os.fsdecode(path), progress.advance).content_bytes for path in policy.includes)
    least, most = expected_bytes(source, STRENGTHS[policy.parity_percent])
    words = f"the items hold {format_bytes(source)}, typically {format_bytes(least)} to {format_bytes(most)} compressed"
    words += f" and with {policy.parity_percent} % parity" if policy.parity_percent else ""
    best = sku_for(least)  # Over every limit: the refusal says whom to ask.
    check_fits(find_sku(sku), least, 0)
    if free < least:
        cure = f"Make room, take a larger device ({best.title}), or protect fewer items offline."
        yield Finding(Level.BAD, "size", f"{words}; the device has {format_bytes(free)} free", cure)
    else:
        yield Finding(Level.GOOD, "size", words)
