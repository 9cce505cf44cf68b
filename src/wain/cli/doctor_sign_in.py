"""What `wain doctor` looks at of the sign-in for offline backup: the certificate, the tools, and the log."""

import stat
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from wain.cli import render
from wain.cli.finding import Finding, Level
from wain.cli.parts import Parts, now

_NOT_ALLOWED_CURE: Final = (
    "Run `wain identity setup`, which leaves other keys as they are. With other tools, one of these, then retry:"
    " (1) sign in with another account that has admin access on the subscription;"
    " (2) if `wain identity application show` lists no key of another server: `wain identity application delete`;"
    " (3) `wain identity certificate export --to FILE.cer`, `wain identity certificate upload FILE.cer`,"
    " `wain identity thumbprint set THUMBPRINT`."
)
_TOOLS: Final = (("azure-identity", (1, 25)), ("cryptography", (50,)), ("joserfc", (1, 8)))
"""What signs in, and the oldest version that is known to work (pyproject.toml says the same)."""


def certificate(parts: Parts) -> Iterator[Finding]:
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


def log(parts: Parts, named: str) -> Iterator[Finding]:
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


def tooling(parts: Parts) -> Iterator[Finding]:
    """Check the tools that sign in: what the check of Azure PowerShell 3.7.0 was for (seed, S28, S29, S31)."""
    from wain.agent.offline_record import load

    if not load(parts.home().agent).bindings:
        return
    for name, oldest in _TOOLS:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = ""
        if found and _numbers(found) >= oldest:
            continue
        seen = f"{name} {found or 'is missing'}; {'.'.join(map(str, oldest))} or newer signs in"
        yield Finding(
            Level.BAD, "tooling", seen, "Install Wain again from its lock file; nothing else has to go first."
        )
        return
    yield Finding(Level.GOOD, "tooling", ", ".join(f"{name} {metadata.version(name)}" for name, _ in _TOOLS))


def _numbers(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
