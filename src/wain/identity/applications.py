"""Applications and their service principals, as rows of the catalog. The rules of their keys are in `credentials`."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from wain.base.moment import from_ns, to_ns
from wain.identity.catalog import Catalog
from wain.identity.credentials import TEXT_CAP, replaced
from wain.identity.entities import Application, KeyCredential, ServicePrincipal
from wain.identity.refusals import GraphRefused, bad, not_found
from wain.identity.tables import APPLICATIONS, KEYS, PRINCIPALS
from wain.storage.sql import Connection

PAGE_CAP: Final = 999
OWNED_CAP: Final = 250
"""How many applications one user may own, as in Entra."""
Clock = Callable[[], datetime]
Change = Callable[[Application], tuple[KeyCredential, ...]]
"""Returns the keys that an application shall have; runs within the transaction."""

_MICROSECOND_NS: Final = 1000
_SETTABLE: Final = frozenset({"displayName", "keyCredentials", "signInAudience"})
_AUDIENCE: Final = "AzureADMyOrg"


class Applications:
    """The applications of the tenant."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    def create(self, owner: str, fields: Mapping[str, Any]) -> Application:
        """Register an application. Two may have the same name, as in Entra.

        Raises:
            GraphRefused: a property is unknown or breaks a rule.
        """
        _check_fields(fields)
        name = _display_name(fields.get("displayName"))
        keys = replaced((), fields.get("keyCredentials") or [], _guid)
        object_id = _guid()
        with self._catalog.writing() as rows:
            owned = rows.value("SELECT COUNT(*) FROM applications WHERE owner = :owner", owner=owner)
            if int(owned or 0) >= OWNED_CAP:
                raise GraphRefused("Directory_QuotaExceeded", f"A user may own at most {OWNED_CAP} applications", 403)
            newest = int(rows.value("SELECT MAX(created_ns) FROM applications") or 0)
            row = APPLICATIONS.filled(
                id=object_id,
                app_id=_guid(),
                display_name=name,
                owner=owner,
                created_ns=max(to_ns(self._clock()), newest + _MICROSECOND_NS),
                version=1,
            )
            rows.change(APPLICATIONS.insertion(), **row)
            _store_keys(rows, object_id, keys)
            return _load(rows, object_id)

    def get(self, object_id: str) -> Application:
        """Return the application of an object id.

        Raises:
            GraphRefused: there is none.
        """
        with self._catalog.reading() as rows:
            return _load(rows, object_id.lower())

    def by_app_id(self, app_id: str) -> Application | None:
        """Return the application of a client id, or None."""
        with self._catalog.reading() as rows:
            found = rows.value("SELECT id FROM applications WHERE app_id = :app_id", app_id=app_id.lower())
            return None if found is None else _load(rows, found)

    def listed(self, where: tuple[str, str] | None, after_ns: int, limit: int) -> list[Application]:
        """Return applications, oldest first, created after `after_ns`.

        `where` is a property and the value that it must equal: `displayName`, `appId` or `id`.
        """
        column = {"displayName": "display_name", "appId": "app_id", "id": "id"}
        condition = f"AND {column[where[0]]} = :value" if where else ""
        with self._catalog.reading() as rows:
            found = rows.column(
                f"SELECT id FROM applications WHERE created_ns > :after {condition} ORDER BY created_ns LIMIT :limit",  # noqa: S608 - our own names
                after=after_ns,
                value=where[1] if where else None,
                limit=min(limit, PAGE_CAP),
            )
            return [_load(rows, object_id) for object_id in found]

    def update(self, object_id: str, fields: Mapping[str, Any], if_match: str) -> Application:
        """Change an application as a PATCH asks: `keyCredentials` replace the whole collection.

        Raises:
            GraphRefused: none of that id; it has changed since it was read (`if_match`); a property breaks a rule.
        """
        _check_fields(fields)

        def change(have: Application) -> tuple[KeyCredential, ...]:
            if "keyCredentials" not in fields:
                return have.keys
            return replaced(have.keys, fields["keyCredentials"], _guid)

        name = _display_name(fields["displayName"]) if "displayName" in fields else None
        return self.change_keys(object_id, change, if_match, name)

    def change_keys(
        self, object_id: str, change: Change, if_match: str = "", display_name: str | None = None
    ) -> Application:
        """Set the keys that `change` returns, in one transaction with its reading them.

        Raises:
            GraphRefused: as `update`, and whatever `change` raises.
        """
        with self._catalog.writing() as rows:
            have = _load(rows, object_id.lower())
            if if_match not in ("", "*", etag(have)):
                raise GraphRefused("Request_ResourceModified", "The application has changed since it was read", 412)
            keys = change(have)
            rows.change("DELETE FROM keys WHERE application = :id", id=have.object_id)
            _store_keys(rows, have.object_id, keys)
            rows.change(
                "UPDATE applications SET version = version + 1, display_name = :name WHERE id = :id",
                id=have.object_id,
                name=display_name or have.display_name,
            )
            return _load(rows, have.object_id)

    def delete(self, object_id: str, if_match: str = "") -> None:
        """Delete an application, its keys, its service principal and that one's roles.

        Raises:
            GraphRefused: none of that id, or it has changed since it was read.
        """
        with self._catalog.writing() as rows:
            have = _load(rows, object_id.lower())
            if if_match not in ("", "*", etag(have)):
                raise GraphRefused("Request_ResourceModified", "The application has changed since it was read", 412)
            rows.change(
                "DELETE FROM role_assignments WHERE principal IN (SELECT id FROM principals WHERE app_id = :app_id)",
                app_id=have.app_id,
            )
            rows.change("DELETE FROM applications WHERE id = :id", id=have.object_id)

    def add_principal(self, app_id: str) -> ServicePrincipal:
        """Give an application its account in the tenant.

        Raises:
            GraphRefused: no such application, or it has one.
        """
        app_id = app_id.lower()
        with self._catalog.writing() as rows:
            if rows.row(f"{APPLICATIONS.selection} WHERE app_id = :app_id", app_id=app_id) is None:
                raise bad(f"The appId {app_id[:TEXT_CAP]!r} of the service principal does not reference an application")
            if rows.row(f"{PRINCIPALS.selection} WHERE app_id = :app_id", app_id=app_id) is not None:
                raise GraphRefused(
                    "Request_MultipleObjectsWithSameKeyValue", "The service principal is there already", 409
                )
            rows.change(PRINCIPALS.insertion(), id=_guid(), app_id=app_id)
        found = self.principal(app_id)
        assert found is not None
        return found

    def principal(self, app_or_object_id: str) -> ServicePrincipal | None:
        """Return the service principal of a client id or of its own object id, or None."""
        with self._catalog.reading() as rows:
            row = rows.row(
                "SELECT principals.id, principals.app_id, display_name FROM principals"
                " JOIN applications ON applications.app_id = principals.app_id"
                " WHERE principals.app_id = :key OR principals.id = :key",
                key=app_or_object_id.lower(),
            )
        return None if row is None else ServicePrincipal(row.id, row.app_id, row.display_name)

    def delete_principal(self, object_id: str) -> None:
        """Take an application's account away, and its roles.

        Raises:
            GraphRefused: there is none.
        """
        with self._catalog.writing() as rows:
            rows.change("DELETE FROM role_assignments WHERE principal = :id", id=object_id.lower())
            if not rows.change("DELETE FROM principals WHERE id = :id", id=object_id.lower()):
                raise not_found("the service principal")


def etag(application: Application) -> str:
    """Return the weak ETag of an application's present state."""
    return f'W/"{application.version}"'


def _guid() -> str:
    return str(uuid.uuid4())


def _check_fields(fields: Mapping[str, Any]) -> None:
    unknown = {name for name in fields if not name.startswith("@odata.")} - _SETTABLE
    if unknown:
        raise bad(f"An application has no property {min(unknown)[:TEXT_CAP]!r} that can be set here")
    if fields.get("signInAudience", _AUDIENCE) != _AUDIENCE:
        raise bad(f"signInAudience must be {_AUDIENCE}")


def _display_name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_CAP or not value.isprintable():
        raise bad(f"displayName must be a text of 1 to {TEXT_CAP} printable characters")
    return value


def _store_keys(rows: Connection, object_id: str, keys: tuple[KeyCredential, ...]) -> None:
    rows.insert_many(
        KEYS.insertion(),
        [
            {
                "application": object_id,
                "number": number,
                "key_id": key.key_id,
                "certificate": key.certificate,
                "starts_ns": to_ns(key.starts_at),
                "ends_ns": to_ns(key.ends_at),
                "custom_identifier": key.custom_identifier,
                "display_name": key.display_name,
                "added_by": key.added_by,
            }
            for number, key in enumerate(keys)
        ],
    )


def _load(rows: Connection, object_id: str) -> Application:
    row = rows.row(f"{APPLICATIONS.selection} WHERE id = :id", id=object_id)
    if row is None:
        raise not_found("the application")
    keys = rows.rows(f"{KEYS.selection} WHERE application = :id ORDER BY number", id=object_id)
    return Application(
        row.id,
        row.app_id,
        row.display_name,
        row.owner,
        from_ns(row.created_ns),
        row.version,
        tuple(_key(key) for key in keys),
    )


def _key(row: Any) -> KeyCredential:
    return KeyCredential(
        row.key_id,
        row.certificate,
        from_ns(row.starts_ns),
        from_ns(row.ends_ns),
        row.custom_identifier,
        row.display_name,
        row.added_by,
    )
