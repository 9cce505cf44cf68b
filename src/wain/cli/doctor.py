"""`wain doctor`: looks at everything a backup needs, and says what to do about what is not as it should be."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import WainError
from wain.base.sizes import GIB, format_bytes
from wain.cli import doctor_sign_in, render
from wain.cli.config import path_of
from wain.cli.finding import Finding, Level
from wain.cli.measure import measure
from wain.cli.options import DataBox, Json
from wain.cli.parts import Parts, now
from wain.cli.progress import open_progress
from wain.cli.remote import ServerOrders

if TYPE_CHECKING:
    from wain.order.sku import Sku
    from wain.policy.policy import Policy

_LOW_BYTES: Final = GIB
_SECRET_FILES: Final = ("agent.keys", "enrolment.json", "slots.pending")
_OLD_DAYS: Final = 3


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
    yield from _guarded("sign-in", lambda: doctor_sign_in.certificate(parts))
    yield from _guarded("tooling", lambda: doctor_sign_in.tooling(parts))
    yield from _guarded("log", lambda: doctor_sign_in.log(parts, log))


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
    from wain.device.label import sku_of
    from wain.job.seeding import SeedState, WriteDevice, next_step

    assert policy.order is not None
    seed = parts.home().seed()
    state = seed.state if seed else SeedState.PLANNED
    if policy.service is None:
        order = parts.databox_knowing(policy.order, databox).order(policy.order)
    else:
        order = ServerOrders(parts.settings, policy.service).order(policy.order)
    stage = order.stage
    yield Finding(Level.GOOD, "order", f"{policy.order} is {stage.value}; the seed is {state.value}")
    if isinstance(next_step(state, stage), WriteDevice):
        root = check_root(find_device(policy))
        free = _free_bytes(root.pageblob)
        yield Finding(Level.GOOD, "device", f"{root.path} can be written; {format_bytes(free)} free")
        sku = sku_of(order.sku, root.label)
        if state is SeedState.PLANNED and not sku.may_span:
            yield from _guarded("size", lambda: _size(policy, sku, free))


def _size(policy: "Policy", sku: "Sku", free: int) -> Iterator[Finding]:
    """Compare what the items typically take, compressed, with the seed's table of SKUs and with the device."""
    from wain.order.sku import check_fits
    from wain.pageblob.parity import STRENGTHS
    from wain.policy.capacity import expected_bytes, sku_for

    with open_progress() as progress:
        progress.phase("measuring the items")
        source = sum(measure(os.fsdecode(path), progress.advance).content_bytes for path in policy.includes)
    least, most = expected_bytes(source, STRENGTHS[policy.parity_percent])
    words = f"the items hold {format_bytes(source)}, typically {format_bytes(least)} to {format_bytes(most)} compressed"
    words += f" and with {policy.parity_percent} % parity" if policy.parity_percent else ""
    best = sku_for(least)  # Over every limit: the refusal says whom to ask.
    check_fits(sku, least, 0)
    if free < least:
        cure = f"Make room, take a larger device ({best.title}), or protect fewer items offline."
        yield Finding(Level.BAD, "size", f"{words}; the device has {format_bytes(free)} free", cure)
    else:
        yield Finding(Level.GOOD, "size", words)
