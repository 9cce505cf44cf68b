"""`wain order` against `wain serve`: somebody signs in, and the official client does the rest."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.databox.serving import ADA, BOB, GROUP, REGION, SUBSCRIPTION, Serve, running
from unit.identity.people import sign_in_on_the_page
from unit.identity.running import Ended, run, start

WHERE = ("--contact", "name=Ada", "--address", "street=1 Way", "--address", "country=NL", "--address", "city=Delft")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    yield from running(tmp_path_factory.mktemp("serve"))


def asked(serve: Serve, home: Path, name: str, *args: str, code: int = 0) -> Ended:
    """Run `wain order` as somebody who signs in when it shows a code."""
    more = ["--service", serve.url, "--ca-file", str(serve.ca), "--subscription", SUBSCRIPTION]
    process = start(home, "order", *args, *more)
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"open (\S+) in a browser and enter the code ([A-Z-]+)", said)
    assert found, said + process.stderr.read()
    with serve.http() as http:
        assert "You are signed in" in sign_in_on_the_page(http, found[2], name).text
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err or out
    return Ended(process.returncode, out, err)


def test_s36_an_order_is_made_listed_shown_and_cancelled(serve: Serve, tmp_path: Path) -> None:
    home, group = tmp_path / "home", ("--resource-group", GROUP)
    made = asked(
        serve, home, ADA, "create", "remote-1", "--account", "seeds", "--region", REGION, *WHERE, *group, "--json"
    )
    assert made.json()["stage"] == "DeviceOrdered"
    assert made.json() == asked(serve, home, BOB, "show", "remote-1", *group, "--json").json()
    stored = serve.databox.order("remote-1")
    assert (stored.subscription, stored.resource_group, stored.region) == (SUBSCRIPTION, GROUP, REGION)
    assert [each["name"] for each in asked(serve, home, BOB, "list", "--json").json()] == ["remote-1"]
    assert "no authorization" not in asked(serve, home, ADA, "list").err
    refused = asked(serve, home, BOB, "cancel", "remote-1", "--reason", "not mine", *group, code=1)
    assert "AuthorizationFailed" in refused.err
    cancelled = asked(serve, home, ADA, "cancel", "remote-1", "--reason", "not needed", *group, "--json")
    assert cancelled.json()["stage"] == "Cancelled"
    assert asked(serve, home, ADA, "show", "remote-1", *group, "--json").json() == cancelled.json()


def test_s38_an_account_without_page_blobs_is_refused_at_the_order(serve: Serve, tmp_path: Path) -> None:
    order = ("create", "remote-2", "--account", "blobsonly", "--region", REGION, *WHERE, "--resource-group", GROUP)
    assert "StorageAccountKindNotSupported" in asked(serve, tmp_path / "home", ADA, *order, code=1).err
    missing = asked(serve, tmp_path / "home", ADA, "show", "remote-2", "--resource-group", GROUP, code=1)
    assert "ResourceNotFound" in missing.err


def test_what_is_missing_is_named_before_anybody_signs_in(tmp_path: Path) -> None:
    home = tmp_path / "home"
    order = ("order", "create", "x-1", "--account", "seeds", "--service", "https://localhost:1")
    for more, words in (
        ((), "--contact name="),
        (("--contact", "shoe=9"), "does not take 'shoe=9'"),
        (("--contact", "name=A", "--address", "street=B"), "--address country="),
    ):
        assert words in run(home, *order, *more, code=1).err
    plain = run(home, "order", "list", "--service", "http://localhost:1", "--subscription", "s", code=1)
    assert "is not https" in plain.err
    assert "no subscription is named" in run(home, "order", "list", "--service", "https://localhost:1", code=1).err
