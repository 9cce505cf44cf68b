"""The people of the directory: adding them, finding them, and whether a password is theirs."""

import re
import uuid
from typing import Any, Final

from wain.base.errors import Refused
from wain.identity import passwords
from wain.identity.catalog import Catalog
from wain.identity.entities import User
from wain.identity.tables import USERS

_NAME: Final = re.compile(r"[a-z0-9._'+-]{1,64}@[a-z0-9.-]{1,189}")
_NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""What an unknown person's password is compared with, so that the time taken does not tell who exists."""


class Users:
    """Users, as rows of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def add(self, name: str, display_name: str, password: str) -> User:
        """Add a person and return them.

        Raises:
            Refused: the name is no `name@domain`, is taken, or the password may not be one.
        """
        name = name.lower()
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r} is not a user name", "Write it like an e-mail address: ada@example.org.")
        passwords.check_password(password)
        display_name = display_name or name.partition("@")[0]
        if len(display_name) > passwords.CAP_BYTES // 4 or not display_name.isprintable():
            raise Refused("the display name is too long, or cannot be printed", "Take a shorter one.")
        row = USERS.filled(
            id=str(uuid.uuid4()),
            name=name,
            display_name=display_name,
            password=passwords.hash_password(password),
            enabled=1,
            epoch=1,
        )
        with self._catalog.writing() as rows:
            if rows.row(f"{USERS.selection} WHERE name = :name", name=name) is not None:
                raise Refused(
                    f"there is a user {name} already", "Set another password with `wain identity user password`."
                )
            rows.change(USERS.insertion(), **row)
        return self.find(name)

    def set_password(self, name: str, password: str) -> None:
        """Replace a password; every sign-in made with the old one ends.

        Raises:
            Refused: no such user, or the password may not be one.
        """
        passwords.check_password(password)
        kept = passwords.hash_password(password)
        with self._catalog.writing() as rows:
            changed = rows.change(
                "UPDATE users SET password = :kept, epoch = epoch + 1 WHERE name = :name", kept=kept, name=name.lower()
            )
        if not changed:
            raise _unknown(name)

    def set_enabled(self, name: str, *, enabled: bool) -> None:
        """Let a person sign in, or no longer; what they hold stops counting at once.

        Raises:
            Refused: no such user.
        """
        with self._catalog.writing() as rows:
            changed = rows.change(
                "UPDATE users SET enabled = :enabled, epoch = epoch + 1 WHERE name = :name",
                enabled=int(enabled),
                name=name.lower(),
            )
        if not changed:
            raise _unknown(name)

    def all(self) -> list[User]:
        """Return everybody, by name."""
        with self._catalog.reading() as rows:
            return [_user(row) for row in rows.rows(f"{USERS.selection} ORDER BY name")]

    def find(self, name_or_id: str) -> User:
        """Return the user of a name or object id.

        Raises:
            Refused: no such user.
        """
        with self._catalog.reading() as rows:
            row = rows.row(f"{USERS.selection} WHERE name = :key OR id = :key", key=name_or_id.lower())
        if row is None:
            raise _unknown(name_or_id)
        return _user(row)

    def epoch(self, object_id: str) -> int | None:
        """Return how often an enabled user's password has changed; None for everybody else."""
        with self._catalog.reading() as rows:
            found = rows.value("SELECT epoch FROM users WHERE id = :id AND enabled = 1", id=object_id)
        return None if found is None else int(found)

    def signed_in(self, name: str, password: str) -> User | None:
        """Return the user whose name and password these are, or None. Takes as long for an unknown name."""
        with self._catalog.reading() as rows:
            row = rows.row(f"{USERS.selection} WHERE name = :name", name=name.lower())
        right = passwords.verify_password(password, row.password if row else _NOBODY)
        return _user(row) if row is not None and right and row.enabled else None


def _user(row: Any) -> User:
    return User(row.id, row.name, row.display_name, bool(row.enabled))


def _unknown(name: str) -> Refused:
    return Refused(f"there is no user {name!r}", "See `wain identity user list`.")
