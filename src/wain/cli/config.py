"""Where state lives and what `wain.toml` says.

`$WAIN_HOME` holds everything of one machine. `$WAIN_HOME/wain.toml` may give every option a default: a key at the top
level serves every command that has an option of that name; a table named after a command (`[backup]`,
`[order.create]`) serves that command alone, and wins. Names are the options' names, with dashes or underscores.

    vault = "file:///srv/vault"
    [policy.set]
    include = ["/srv", "/home"]
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wain.base.errors import Refused

CONFIG_NAME: Final = "wain.toml"
_FILE_SCHEME: Final = "file://"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the surroundings say before any option is read. `config` is the parsed `wain.toml`."""

    home: str
    config: Mapping[str, Any]


def find_home(environ: Mapping[str, str], is_root: bool) -> str:
    """Return the directory of all state: `$WAIN_HOME`, else the platform's place for it."""
    if environ.get("WAIN_HOME"):
        return os.path.abspath(environ["WAIN_HOME"])
    if is_root:
        return "/var/lib/wain"
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "wain")


def load(environ: Mapping[str, str]) -> Settings:
    """Read the surroundings.

    Raises:
        Refused: `wain.toml` is there and cannot be read.
    """
    home = find_home(environ, os.geteuid() == 0)
    path = os.path.join(home, CONFIG_NAME)
    try:
        with open(path, "rb") as file:
            return Settings(home, tomllib.load(file))
    except FileNotFoundError:
        return Settings(home, {})
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", "Mend its permissions, or remove it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is not valid TOML: {error}", "Mend that line, or remove the file.") from error


def default_map(config: Mapping[str, Any], command: Any, path: str = CONFIG_NAME) -> dict[str, Any]:
    """Turn a parsed `wain.toml` into the defaults of a command tree, as Typer takes them.

    Raises:
        Refused: a key that no command has, so that a typing error never passes in silence.
    """
    used: set[str] = set()
    defaults = _defaults(config, config, command, used)
    for key in _leaves(config):
        if key not in used:
            raise Refused(f"{path} says {key!r}, and no command has such an option", "See `wain COMMAND --help`.")
    return defaults


def _defaults(section: Mapping[str, Any], top: Mapping[str, Any], command: Any, used: set[str]) -> dict[str, Any]:
    """Return the defaults of one command or group; `used` collects the dotted keys that found a place."""
    prefix = "" if section is top else section.get("\0", "")
    defaults: dict[str, Any] = {}
    for name, child in getattr(command, "commands", {}).items():
        inner = dict(section.get(name) or {}) if isinstance(section.get(name), Mapping) else {}
        inner["\0"] = f"{prefix}{name}."
        defaults[name] = _defaults(inner, top, child, used)
    for option in command.params:
        for key in (option.name, option.name.replace("_", "-")):
            if key in top and not isinstance(top[key], Mapping):
                defaults[option.name] = top[key]
                used.add(key)
            if section is not top and key in section:
                defaults[option.name] = section[key]
                used.add(f"{prefix}{key}")
    return defaults


def _leaves(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of all values."""
    found: list[str] = []
    for key, value in config.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return found


def path_of(url: str, flag: str) -> str:
    """Return the absolute path that a `file:///` URL (or a plain path) names.

    Raises:
        Refused: any other kind of URL; `flag` is named.
    """
    if url.startswith(_FILE_SCHEME):
        path = url.removeprefix(_FILE_SCHEME)
        if not path.startswith("/"):
            raise Refused(f"{url} names a host; {flag} takes file:///absolute/path", "Write three slashes.")
        return os.path.normpath(path)
    if "://" in url:
        raise Refused(f"{flag} cannot open {url}: this version opens file:/// only", "Give a directory.")
    return os.path.abspath(url)


def url_of(path: str) -> str:
    """Return the `file:///` URL of a path."""
    return _FILE_SCHEME + os.path.abspath(path)
