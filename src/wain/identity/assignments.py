"""Role assignments, as rows of the catalog. What a role allows is in `roles`."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from wain.base.errors import Refused
from wain.base.moment import to_ns
from wain.identity.catalog import Catalog
from wain.identity.entities import RoleAssignment
from wain.identity.roles import check_scope, find_role, permits
from wain.identity.tables import ROLE_ASSIGNMENTS


class Assignments:
    """Who may do what where."""

    def __init__(self, catalog: Catalog, clock: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._clock = clock

    def grant(self, principal: str, role: str, scope: str, assignment_id: str = "") -> RoleAssignment:
        """Grant a role to a user's or service principal's object id. What is granted already stays as it is.

        Raises:
            Refused: no such role, no such scope, nobody of that id, or the assignment's id says something else.
        """
        name, scope, principal = find_role(role).name, check_scope(scope), principal.lower()
        with self._catalog.writing() as rows:
            known = rows.value(
                "SELECT 1 FROM users WHERE id = :id UNION SELECT 1 FROM principals WHERE id = :id", id=principal
            )
            if known is None:
                raise Refused(f"there is no user or service principal {principal!r}", "See `wain identity user list`.")
            row = rows.row(
                f"{ROLE_ASSIGNMENTS.selection} WHERE id = :given OR"
                " (principal = :principal AND role = :role AND lower(scope) = lower(:scope))",
                given=assignment_id,
                principal=principal,
                role=name,
                scope=scope,
            )
            if row is not None:
                found = _assignment(row)
                if (found.principal, found.role, found.scope.lower()) != (principal, name, scope.lower()):
                    raise Refused("a role assignment of that id exists already", "Use another id.")
                return found
            made = RoleAssignment(assignment_id or str(uuid.uuid4()), principal, name, scope)
            rows.change(
                ROLE_ASSIGNMENTS.insertion(),
                id=made.id,
                principal=principal,
                role=name,
                scope=scope,
                created_ns=to_ns(self._clock()),
            )
            return made

    def revoke(self, assignment_id: str) -> bool:
        """Take an assignment away, and say whether it was there."""
        with self._catalog.writing() as rows:
            return bool(rows.change("DELETE FROM role_assignments WHERE id = :id", id=assignment_id.lower()))

    def of(self, principal: str) -> list[RoleAssignment]:
        """Return what is granted to somebody."""
        with self._catalog.reading() as rows:
            found = rows.rows(f"{ROLE_ASSIGNMENTS.selection} WHERE principal = :id", id=principal)
        return [_assignment(row) for row in found]

    def all(self) -> list[RoleAssignment]:
        """Return every assignment, oldest first."""
        with self._catalog.reading() as rows:
            return [_assignment(row) for row in rows.rows(f"{ROLE_ASSIGNMENTS.selection} ORDER BY created_ns, id")]

    def may(self, principal: str, action: str, scope: str) -> bool:
        """Say whether somebody may do something somewhere."""
        return permits([(each.role, each.scope) for each in self.of(principal)], action, scope)


def _assignment(row: Any) -> RoleAssignment:
    return RoleAssignment(row.id, row.principal, row.role, row.scope)
