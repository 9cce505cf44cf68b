"""The rules of an application's `keyCredentials`, as Microsoft Graph has them (components.md 3.3). Pure.

A PATCH replaces the whole collection. An entry whose `keyId` the application has already must come back unchanged:
anything else is `KeyNotUpdatable`, the seed's "Update to existing credential with KeyId ... is not allowed" (S95). The
`key` of such an entry may be null, because a reading does not always show it. An entry that is left out is removed.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from wain.base.errors import DataError
from wain.identity.certificates import CERTIFICATE_CAP, read_certificate, thumbprint_hex, thumbprints
from wain.identity.entities import KeyCredential
from wain.identity.refusals import GraphRefused, bad, denied

KEYS_CAP: Final = 256
"""How many certificates one application may have."""
TEXT_CAP: Final = 256
TYPE: Final = "AsymmetricX509Cert"
USAGE: Final = "Verify"
NOT_UPDATABLE: Final = "Update to existing credential with KeyId {} is not allowed"
"""The sentence that the seed quotes (S95)."""
_FIELDS: Final = frozenset(
    {"customKeyIdentifier", "displayName", "endDateTime", "key", "keyId", "startDateTime", "type", "usage"}
)


def to_wire(key: KeyCredential, *, with_key: bool) -> dict[str, Any]:
    """Return a credential as Graph shows it; the certificate itself only where the caller selected it."""
    return {
        "customKeyIdentifier": key.custom_identifier,
        "displayName": key.display_name or None,
        "endDateTime": moment_text(key.ends_at),
        "key": base64.b64encode(key.certificate).decode() if with_key else None,
        "keyId": key.key_id,
        "startDateTime": moment_text(key.starts_at),
        "type": TYPE,
        "usage": USAGE,
    }


def replaced(have: Sequence[KeyCredential], sent: Any, fresh: Callable[[], str]) -> tuple[KeyCredential, ...]:
    """Return the collection that a PATCH leaves: what was sent, in its order. `fresh` makes a GUID for each new entry.

    Raises:
        GraphRefused: an existing entry differs, a new one breaks a rule, or one is there twice.
    """
    if not isinstance(sent, list) or len(sent) > KEYS_CAP:
        raise bad(f"keyCredentials must be a list of at most {KEYS_CAP}")
    known = {key.key_id: key for key in have}
    result: list[KeyCredential] = []
    for entry in sent:
        fields = _entry(entry)
        key_id = _key_id(fields.get("keyId")) or fresh()
        if key_id in known:
            _check_unchanged(known[key_id], fields)
            result.append(known[key_id])
        else:
            result.append(new_key(fields, key_id))
    _check_distinct(result)
    return tuple(result)


def new_key(entry: Any, key_id: str, added_by: str = "") -> KeyCredential:
    """Return the credential that an entry describes.

    Raises:
        GraphRefused: it is not the public part of an RSA certificate, or its dates leave the certificate's.
    """
    fields = _entry(entry)
    if fields.get("type", TYPE) != TYPE or fields.get("usage", USAGE) != USAGE:
        raise bad(f"a key credential must have type {TYPE} and usage {USAGE}")
    der = _certificate(fields.get("key"))
    try:
        certificate = read_certificate(der)
    except DataError as error:
        raise bad(f"New key credential is not valid: {error}", "KeyCredentialsInvalid") from None
    starts = _moment(fields.get("startDateTime"), certificate.starts_at)
    ends = _moment(fields.get("endDateTime"), certificate.ends_at)
    if not certificate.starts_at <= starts < ends <= certificate.ends_at:
        raise bad("Key credential dates must lie within the certificate's", "KeyCredentialsInvalidDates")
    custom = _text(fields.get("customKeyIdentifier"), "customKeyIdentifier") or certificate.thumbprint
    return KeyCredential(key_id, der, starts, ends, custom, _text(fields.get("displayName"), "displayName"), added_by)


def find_by_header(keys: Sequence[KeyCredential], header: Mapping[str, Any]) -> KeyCredential | None:
    """Return the certificate that a JWS header names, by `x5t#S256`, `x5t` or `kid`.

    azure-identity sends `x5t` with padding, msal `x5t#S256` without (components.md 3.1). Every name that is given must
    be the certificate's.
    """
    for key in keys:
        sha1, sha256 = thumbprints(key.certificate)
        names = {
            "x5t#S256": (sha256,),
            "x5t": (sha1,),
            "kid": (sha1, sha256, thumbprint_hex(key.certificate), key.key_id),
        }
        given = {name: str(header[name]).rstrip("=") for name in names if header.get(name)}
        named = [name for name in given if given[name] in names[name]]
        if named and all(name in named or name == "kid" for name in given):
            return key
    return None


def removable(keys: Sequence[KeyCredential], proof: KeyCredential, wanted: KeyCredential) -> None:
    """Check that the holder of one key may remove another: itself, or what it renews or was renewed by.

    Many servers share one application. Azure lets each of them remove any key; here a server reaches only the line of
    keys that began with its own, so that none can lock out another.

    Raises:
        GraphRefused: the key belongs to another line.
    """
    line = {key.key_id: key.added_by for key in keys}
    if _descends(line, proof.key_id, wanted.key_id) or _descends(line, wanted.key_id, proof.key_id):
        return
    raise denied("This proof may remove only keys of its own line; another server's key needs the application's owner")


def moment_text(at: datetime) -> str:
    """Return a moment as Graph writes it: UTC with `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _descends(line: Mapping[str, str], younger: str, elder: str) -> bool:
    seen: set[str] = set()
    while younger and younger not in seen:
        if younger == elder:
            return True
        seen.add(younger)
        younger = line.get(younger, "")
    return False


def _entry(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise bad("a key credential must be an object")
    known = {name: value for name, value in entry.items() if not name.startswith("@odata.")}
    unknown = set(known) - _FIELDS
    if unknown:
        raise bad(f"a key credential has no property {min(unknown)[:TEXT_CAP]!r}")
    return known


def _check_unchanged(have: KeyCredential, sent: Mapping[str, Any]) -> None:
    """Refuse any difference: a property that is left out counts as null, which is a difference as well."""
    shown = to_wire(have, with_key=True)
    dates = ("startDateTime", "endDateTime")
    changed = [name for name in shown if name not in ("key", *dates) and sent.get(name) != shown[name]]
    changed += [name for name in dates if not _same_moment(sent.get(name), shown[name])]
    changed += ["key"] if sent.get("key") not in (None, shown["key"]) else []
    if changed:
        raise GraphRefused("Request_BadRequest", NOT_UPDATABLE.format(have.key_id), 400, "KeyNotUpdatable")


def _same_moment(sent: Any, shown: str) -> bool:
    try:
        return isinstance(sent, str) and _parse(sent) == _parse(shown)
    except ValueError:
        return False


def _parse(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _moment(sent: Any, default: datetime) -> datetime:
    if sent is None:
        return default
    try:
        return _parse(sent)
    except (TypeError, ValueError):
        raise bad("a key credential's dates must be ISO 8601") from None


def _text(sent: Any, name: str) -> str:
    if sent is None:
        return ""
    if not isinstance(sent, str) or len(sent) > TEXT_CAP or not sent.isprintable():
        raise bad(f"{name} must be a text of at most {TEXT_CAP} printable characters")
    return sent


def _key_id(sent: Any) -> str:
    if sent is None:
        return ""
    try:
        return str(UUID(sent))
    except (TypeError, ValueError, AttributeError):
        raise bad("keyId must be a GUID") from None


def _certificate(sent: Any) -> bytes:
    if not isinstance(sent, str) or not sent or len(sent) > 2 * CERTIFICATE_CAP:
        raise bad("New key credential values must hold a certificate in base64", "KeyCredentialsInvalid")
    try:
        der = base64.b64decode(sent, validate=True)
    except (binascii.Error, ValueError):
        raise bad("New key credential is not base64", "KeyCredentialsInvalid") from None
    if b"PRIVATE KEY" in der:
        raise bad("This is a private key. Send the certificate alone; the private key stays where it was made")
    return der


def _check_distinct(keys: Sequence[KeyCredential]) -> None:
    if len({key.key_id for key in keys}) < len(keys):
        raise bad("keyCredentials hold one keyId twice", "KeyCredentialsInvalidDuplicate")
    if len({key.certificate for key in keys}) < len(keys):
        raise bad("keyCredentials hold one certificate twice", "KeyCredentialsInvalidDuplicate")
