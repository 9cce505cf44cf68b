"""What arbitrary input can do: be refused with one of our words, and nothing else."""

import base64
import hashlib
import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.identity.certs import NOW, make
from unit.identity.forging import base64url, signed
from unit.identity.ground import Ground
from wain.agent.ui_log import recognise
from wain.identity import odata
from wain.identity.assertion import Expected, check_assertion
from wain.identity.attempts import TooManyAttempts
from wain.identity.credentials import find_by_header, new_key, removable, replaced, to_wire
from wain.identity.entities import KeyCredential
from wain.identity.passwords import FREE_FAILURES, LONGEST_WAIT, next_try_at
from wain.identity.refusals import GraphRefused, TokenRefused
from wain.identity.roles import Role, allows
from wain.identity.site import Site

PAIRS = [make(f"server {number}", number) for number in range(3)]
KEYS = tuple(
    new_key({"key": base64.b64encode(pair.der).decode(), "displayName": f"server {number}"}, str(uuid.uuid4()))
    for number, pair in enumerate(PAIRS)
)
EXPECTED = Expected("app", ("https://identity.example/token",))
GOOD = {"iss": "app", "sub": "app", "aud": EXPECTED.audiences[0], "jti": "1", "exp": NOW.timestamp() + 600}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=200))
def test_any_text_as_an_assertion_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        check_assertion(text, EXPECTED, KEYS, NOW)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "x5t", "x5t#S256", "crit", "b64", "zip", "x5c"]), JSON))
@settings(deadline=None)
def test_any_header_is_refused_or_was_signed_by_a_key_of_ours(header: dict[str, Any]) -> None:
    whole = {"alg": "RS256", "x5t": base64url(hashlib.sha1(PAIRS[0].der).digest()), **header}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (whole, GOOD))
    with suppress(TokenRefused):
        check_assertion(f"{text}.AAAA", EXPECTED, KEYS, NOW)
        raise AssertionError("a signature of three bytes was taken")


@given(st.dictionaries(st.sampled_from(sorted({*GOOD, "iat", "nbf"})), JSON, min_size=1))
@settings(deadline=None, max_examples=60)
def test_any_claims_are_refused_or_are_good(claims: dict[str, Any]) -> None:
    body = {**GOOD, **claims}
    try:
        found = check_assertion(signed(PAIRS[0], body), EXPECTED, KEYS, NOW)
    except TokenRefused:
        return
    assert found.key == KEYS[0]
    assert (body["iss"], body["sub"]) == ("app", "app")
    assert found.expires_at <= NOW + timedelta(hours=1, minutes=5)


@given(JSON | st.lists(st.dictionaries(st.sampled_from(sorted(to_wire(KEYS[0], with_key=True))), JSON), max_size=3))
@settings(deadline=None)
def test_any_collection_of_keys_is_refused_or_keeps_what_it_names(sent: Any) -> None:
    with suppress(GraphRefused):
        assert set(replaced(KEYS, sent, lambda: "fresh")) <= set(KEYS)


@given(st.permutations(range(3)), st.integers(0, 3), st.booleans())
def test_what_was_read_can_be_sent_back(order: list[int], count: int, with_key: bool) -> None:
    kept = [KEYS[number] for number in order[:count]]
    sent = json.loads(json.dumps([to_wire(key, with_key=with_key) for key in kept]))
    assert replaced(KEYS, sent, lambda: "fresh") == tuple(kept)


@given(
    st.sampled_from(range(3)), st.sampled_from(sorted(set(to_wire(KEYS[0], with_key=True)) - {"key", "keyId"})), JSON
)
def test_any_change_of_what_was_read_is_refused(number: int, name: str, value: Any) -> None:
    sent = [to_wire(key, with_key=True) for key in KEYS]
    if sent[number][name] == value:
        return
    for changed in ({**sent[number], name: value}, {key: sent[number][key] for key in sent[number] if key != name}):
        with pytest.raises(GraphRefused, match="Update to existing credential"):
            replaced(KEYS, [*sent[:number], changed, *sent[number + 1 :]], lambda: "fresh")


@given(st.dictionaries(st.sampled_from(["kid", "x5t", "x5t#S256"]), JSON))
def test_any_name_of_a_key_finds_none_or_its_own(header: dict[str, Any]) -> None:
    assert find_by_header(KEYS, header) is None


def test_every_name_that_clients_use_finds_the_key() -> None:
    for pair, key in zip(PAIRS, KEYS, strict=True):
        sha1, sha256 = hashlib.sha1(pair.der).digest(), hashlib.sha256(pair.der).digest()
        for header in (
            {"x5t": base64.urlsafe_b64encode(sha1).decode()},
            {"x5t": base64url(sha1)},
            {"x5t#S256": base64url(sha256)},
            {"kid": sha1.hex().upper()},
            {"kid": "anything", "x5t": base64url(sha1)},
        ):
            assert find_by_header(KEYS, header) == key


def lined(*parents: str) -> list[KeyCredential]:
    """Keys a, b, c, ...; each was added by the named one, or by a person."""
    return [
        KeyCredential(chr(ord("a") + number), b"", NOW, NOW, added_by=parent) for number, parent in enumerate(parents)
    ]


@pytest.mark.parametrize(
    ("parents", "proof", "wanted", "may"),
    [
        (("", "a", "b"), 0, 0, True),  # Itself.
        (("", "a", "b"), 2, 0, True),  # What it has renewed, over two steps.
        (("", "a", "b"), 0, 2, True),  # What has renewed it.
        (("", "", ""), 0, 1, False),  # Another server's.
        (("", "a", ""), 1, 2, False),
        (("", "a", "a"), 1, 2, False),  # Two renewals of one key do not reach each other.
        (("b", "a", ""), 0, 2, False),  # A circle, as damage might make it, ends.
        (("gone", "a", ""), 1, 0, True),
    ],
)
def test_a_proof_reaches_its_own_line(parents: tuple[str, ...], proof: int, wanted: int, may: bool) -> None:
    keys = lined(*parents)
    if may:
        removable(keys, keys[proof], keys[wanted])
    else:
        with pytest.raises(GraphRefused, match="own line"):
            removable(keys, keys[proof], keys[wanted])


@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=10))
def test_a_star_in_an_action_stands_for_any_characters(pattern: str, action: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), action) is not None
    assert allows(Role("r", "i", (pattern,)), action) is expected
    assert allows(Role("r", "i", ("*",), (pattern,)), action) is not expected


@given(st.integers(0, 10**6))
def test_waiting_grows_and_ends(failures: int) -> None:
    wait, longer = (next_try_at(count, NOW) - NOW for count in (failures, failures + 1))
    assert timedelta(0) <= wait <= longer <= LONGEST_WAIT
    assert (wait == timedelta(0)) == (failures < FREE_FAILURES)


def test_guesses_that_come_together_are_all_counted(ground: Ground) -> None:
    def guess(_: int) -> bool:
        try:
            ground.identity.attempts.begin([("user", "ada@example.org")], ground.clock())
        except TooManyAttempts:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(guess, range(24))) == FREE_FAILURES


@given(st.text(max_size=60))
def test_any_scope_is_refused_or_names_a_known_resource(scope: str) -> None:
    site = Site("https://identity.example", "t")
    with suppress(TokenRefused):
        known = {*site.arm_audiences, "https://graph.microsoft.com", "https://storage.azure.com"}
        assert site.audience_of(scope).rstrip("/") in known | {"00000003-0000-0000-c000-000000000000"}


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_query_is_refused_or_understood(text: str, other: str) -> None:
    for ask in (
        lambda: odata.equality({"$filter": text}, ("displayName",)),
        lambda: odata.page({"$top": text, "$skiptoken": other}),
        lambda: odata.assigned_to({"$filter": text}),
    ):
        with suppress(GraphRefused):
            ask()
    quoted = text.replace("'", "''")
    assert odata.equality({"$filter": f"displayName eq '{quoted}'"}, ("displayName",)) == ("displayName", text)


@given(st.text(max_size=200))
def test_only_the_seeds_failure_is_recognised(line: str) -> None:
    assert recognise(line) is None
    key = str(uuid.uuid4())
    words = "Unable to create an Azure AD application credential in customer's account. Exception: "
    for quoted in (key, f"'{key}'", key.upper()):
        found = recognise(f"{line} {words}Update to existing credential with KeyId {quoted} is not allowed {line}")
        assert found == key
