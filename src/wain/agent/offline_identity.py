"""The application with which this server watches its order, and this server's certificate on it (seed, S86 to S110).

All servers of one user share one application, `AzureOfflineBackup_<user id>`. Each adds a certificate of its own and
leaves every other as it is: it sends back exactly what it read, only if nothing changed since, and reads again what
came of it.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from wain.agent import offline_record
from wain.agent.certificates import Certificates, OwnCertificate, normal_thumbprint, thumbprint_of
from wain.agent.offline_record import Binding, OfflineRecord
from wain.agent.ui_log import FAILED, UiLog
from wain.base.errors import Corrupt, Missing, Refused, RemoteError, WainError
from wain.wire.calls import Changed, Declined, NotThere
from wain.wire.graph import Graph, Person, RemoteApplication, new_entry

NAME: Final = "AzureOfflineBackup_"
"""What the seed calls the application, before the user's id (S97)."""
CERTIFICATES: Final = "certificates"
TRIES: Final = 200
SIGN_IN_TRIES: Final = 6
SETTLE_ROUNDS: Final = 2
SETTLE_SECONDS: Final = (1.0, 3.0)
"""How often, and after how long, a key is looked for again where the service has no ETags."""
PROOF_AUDIENCE: Final = "00000002-0000-0000-c000-000000000000"
PROOF_FOR: Final = timedelta(minutes=10)
_LONGEST_PAUSE: Final = 1.0

Pause = Callable[[float], None]
ServerSignIn = Callable[[OwnCertificate], Graph]
"""Signs this server in with a certificate, and returns Graph once it has got a token."""


@dataclass(eq=False)
class Contended(RemoteError):
    """Others kept changing the application; nothing of theirs was touched."""

    name: str
    hint: str = "Run the command again."

    def __str__(self) -> str:
        return f"{self.name} was changed by others {TRIES} times in a row"


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands after `ensure`: the person, the application, its account, and this server's certificate."""

    person: Person
    application: RemoteApplication
    principal: str
    certificate: OwnCertificate


class OfflineIdentity:
    """The verbs, over one agent directory. `pause` waits between two tries."""

    def __init__(self, agent: Path, clock: Callable[[], datetime], pause: Pause = time.sleep) -> None:
        self._agent = agent
        self._clock = clock
        self._pause = pause
        self.certificates = Certificates(agent / CERTIFICATES)
        self.log = UiLog(agent)

    def record(self) -> OfflineRecord:
        """Return what is remembered."""
        return offline_record.load(self._agent)

    def remember(self, record: OfflineRecord) -> None:
        """Set what is remembered."""
        offline_record.save(self._agent, record)

    def ensure(self, graph: Graph) -> Standing:
        """Make sure that this server can sign in as the application of whoever `graph` speaks for.

        Done twice, it changes nothing. How it ended is the last line of the log.

        Raises:
            Refused: the directory refuses; the hint says what to do.
            RemoteError: it cannot be reached, or others kept changing the application.
        """
        try:
            with offline_record.exclusive(self._agent):
                standing = self._ensure(graph)
        except WainError as error:
            self.log.write(self._clock(), FAILED.format(error.reason if isinstance(error, Declined) else error))
            if isinstance(error, Declined):
                words = "the offline backup policy for the current Azure account could not be created"
                hint = error.hint or "`wain doctor` reads the log and says what to do."
                raise Refused(f"{words}: {error.reason}", hint) from error
            raise
        self.log.write(
            self._clock(), f"Certificate {standing.certificate.name} is on {standing.application.display_name}."
        )
        return standing

    def _ensure(self, graph: Graph) -> Standing:
        person = graph.me()
        record = replace(self.record(), current_user=person.object_id)
        certificate = self._choose(record.bindings.get(person.object_id))
        found = self._find_or_create(graph, NAME + person.object_id)
        # What this server had before and can no longer use makes room; nobody else's is touched.
        ended = {each.thumbprint for each in self.certificates.all() if each.ends_at <= self._clock()}
        application = self.add(graph, found.object_id, certificate.der, certificate.name, frozenset(ended))
        principal = graph.ensure_principal(application.app_id)
        key_id = next(key.key_id for key in application.keys if key.thumbprint == certificate.thumbprint)
        known = record.bindings.get(person.object_id, Binding(""))
        ids = (application.object_id, application.app_id, key_id)
        binding = Binding(certificate.thumbprint, *ids, known.replaced_key_id)
        self.remember(record.bound(person.object_id, binding))
        return Standing(person, application, principal, certificate)

    def add(
        self, graph: Graph, object_id: str, der: bytes, name: str, without: frozenset[str] = frozenset()
    ) -> RemoteApplication:
        """Add the public part of a certificate to an application, and return the application as it then is.

        `without` are thumbprints of this server's own keys that go at the same time.

        Raises:
            Contended: others kept changing it.
            Corrupt: another certificate came back otherwise than it was sent.
        """
        entry, thumbprint = new_entry(der, name), thumbprint_of(der)
        before: RemoteApplication | None = None
        seen = 0
        for number in range(TRIES):
            have = graph.application(object_id)
            if before is not None:
                _check_kept(before, have)
            if any(key.thumbprint == thumbprint for key in have.keys):
                seen += 1
                if before is None or have.etag or seen > SETTLE_ROUNDS:
                    return have
                # Without ETags, another server that read the list before may yet replace it: look again.
                self._pause(random.uniform(*SETTLE_SECONDS))  # noqa: S311 - not a secret
                continue
            seen = 0
            try:
                graph.set_keys(have, [*(key.raw for key in have.keys if key.thumbprint not in without), entry])
                before = have
            except Changed:
                self._pause(random.uniform(0, min(0.05 * (number + 1), _LONGEST_PAUSE)))  # noqa: S311 - not a secret
        raise Contended(NAME)

    def _choose(self, binding: Binding | None) -> OwnCertificate:
        """Return the certificate to use: the bound one while it lasts, else the newest that lasts, else a new one."""
        now = self._clock()
        bound = self.certificates.find(binding.thumbprint) if binding else None
        if bound is not None and bound.is_valid(now):
            return bound
        lasting = [each for each in self.certificates.all() if each.is_valid(now) and not each.is_due(now)]
        return lasting[-1] if lasting else self.certificates.make(now)

    def _find_or_create(self, graph: Graph, name: str) -> RemoteApplication:
        """Return the application of a name. When several servers create it at once, all take the oldest.

        Directories allow two applications of one name. Whoever finds an older one than its own deletes its own,
        which nobody uses: everybody takes the oldest.
        """
        found = graph.applications(name)
        if found:
            return found[0]
        made = graph.create_application(name)
        found = graph.applications(name) or [made]  # A directory of many machines may not show it at once.
        if found[0].object_id != made.object_id and not graph.application(made.object_id).keys:
            graph.delete_application(made)
        return found[0]

    def set_thumbprint(self, user: str, thumbprint: str) -> OwnCertificate:
        """Say by hand which certificate to use for a user's application (seed, S104 to S109).

        Raises:
            Refused: it is no thumbprint, or no certificate of this server has it.
        """
        certificate = self.certificates.find(thumbprint)
        if certificate is None:
            hint = "See `wain identity certificate list`; a certificate works only where its private key is."
            raise Refused(f"this server has no certificate with thumbprint {normal_thumbprint(thumbprint)}", hint)
        with offline_record.exclusive(self._agent):
            record = self.record()
            known = record.bindings.get(user, Binding(""))
            same = known.thumbprint == certificate.thumbprint
            binding = replace(known, thumbprint=certificate.thumbprint, key_id=known.key_id if same else "")
            self.remember(record.bound(user, binding))
        return certificate

    def delete_application(self, graph: Graph, user: str) -> RemoteApplication:
        """Delete the application of a user, if no other server has a key on it (seed, S97 to S99).

        Raises:
            Refused: there is none, or other keys are on it.
        """
        found = graph.applications(NAME + user)
        if not found:
            raise Refused(f"there is no application {NAME}{user}", "Nothing has to be deleted.")
        application = graph.application(found[0].object_id)
        own = {each.thumbprint for each in self.certificates.all()}
        others = [key for key in application.keys if key.thumbprint not in own]
        if others:
            names = ", ".join(str(key.raw.get("displayName") or key.thumbprint) for key in others)
            hint = "Other servers would be locked out. Add this server's key beside theirs: `wain identity setup`."
            raise Refused(f"{application.display_name} has public keys of other servers: {names}", hint)
        graph.delete_application(application)
        self.remember(self.record().unbound(user))
        return application

    def renew(self, user: str, sign_in: ServerSignIn) -> OwnCertificate:
        """Replace this server's certificate by a new one, without a person: the old one is the proof (addKey).

        The new one has signed in before the old one is removed. Whatever is cut off, one of the two works.

        Raises:
            Refused: nothing is bound, or the old certificate has expired.
        """
        with offline_record.exclusive(self._agent):
            return self._renew(user, sign_in)

    def _renew(self, user: str, sign_in: ServerSignIn) -> OwnCertificate:
        old, binding = self._bound(user)
        if not old.is_valid(self._clock()):
            raise Refused(f"{old.name} has expired, so it proves nothing", "Sign in with `wain identity setup`.")
        graph = sign_in(old)
        if binding.replaced_key_id:  # Its removal was cut off.
            self._remove(graph, binding.replaced_key_id, old, binding)
        new = self.certificates.make(self._clock())
        added = graph.add_key(binding.object_id, new_entry(new.der, new.name), self._proof(old, binding))
        graph = self._patiently(sign_in, new)
        fresh = replace(binding, thumbprint=new.thumbprint, key_id=added.key_id, replaced_key_id=binding.key_id)
        self.remember(self.record().bound(user, fresh))
        self._remove(graph, binding.key_id, new, fresh)
        self.remember(self.record().bound(user, replace(fresh, replaced_key_id="")))
        self.certificates.remove(old)
        self.log.write(self._clock(), f"Certificate {new.name} has replaced {old.name}.")
        return new

    def revoke(self, user: str, sign_in: ServerSignIn) -> OwnCertificate:
        """Take this server's certificate off the application and forget its key. Other servers notice nothing.

        Raises:
            Refused: nothing is bound.
        """
        with offline_record.exclusive(self._agent):
            old, binding = self._bound(user)
            graph = sign_in(old)
            for key_id in filter(
                None, (binding.replaced_key_id, binding.key_id)
            ):  # The one that is the proof goes last.
                self._remove(graph, key_id, old, binding)
            self.certificates.remove(old)
            self.remember(self.record().unbound(user))
        self.log.write(self._clock(), f"Certificate {old.name} was revoked.")
        return old

    def _remove(self, graph: Graph, key_id: str, by: OwnCertificate, binding: Binding) -> None:
        """Take a key of this server off the application; one that is gone already is gone."""
        with suppress(NotThere):
            graph.remove_key(binding.object_id, key_id, self._proof(by, binding))

    def _patiently(self, sign_in: ServerSignIn, certificate: OwnCertificate) -> Graph:
        """Sign in with a certificate that was just added: a directory of many machines may not know it at once."""
        for number in range(SIGN_IN_TRIES - 1):
            try:
                return sign_in(certificate)
            except Refused:
                self._pause(float(2**number))
        return sign_in(certificate)

    def _bound(self, user: str) -> tuple[OwnCertificate, Binding]:
        binding = self.record().bindings.get(user)
        if binding is None or not binding.key_id:
            raise Refused("this server has no certificate on an application", "Run `wain identity setup`.")
        found = self.certificates.find(binding.thumbprint)
        if found is None:
            raise Missing(f"the private key of certificate {binding.thumbprint}")
        return found, binding

    def _proof(self, certificate: OwnCertificate, binding: Binding) -> str:
        """Return the proof of possession that addKey and removeKey ask for."""
        now = int(self._clock().timestamp())
        return certificate.sign(
            {
                "aud": PROOF_AUDIENCE,
                "iss": binding.object_id,
                "nbf": now,
                "exp": now + int(PROOF_FOR.total_seconds()),
                "jti": uuid4().hex,
            }
        )


def _check_kept(before: RemoteApplication, after: RemoteApplication) -> None:
    """Check that what others have on the application is as it was; what they removed themselves is their own doing."""
    now = {key.key_id: key for key in after.keys}
    for key in before.keys:
        found = now.get(key.key_id)
        if found is not None and found.raw != key.raw:
            raise Corrupt(f"the key {key.key_id} of {before.display_name}", "it came back otherwise than it was sent")
