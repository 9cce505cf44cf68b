"""The story with the storage account in Azure (Azurite), through the official client: whole, cut off, and damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from azurite.server import Azurite, why_not
from journeys.judges import assert_equal
from journeys.sources import change_a_little, small_tree
from journeys.story import ACCOUNT, ORDER, Command, Story

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@dataclass(slots=True)
class AzureStory(Story):
    """The same commands, but for how the account is made."""

    azurite: Azurite = field(kw_only=True)

    def commands(self) -> list[Command]:
        place = ("--azure", self.azurite.endpoint, "--secret-file", str(self.azurite.secret_file()))
        # Not super(): a dataclass with slots is another class than the one that this name was compiled for.
        steps = Story.commands(self)
        return [replace(each, args=("account", "create", ACCOUNT, *place)) if each.name == "account" else each
                for each in steps]  # fmt: skip


@pytest.fixture
def azurite(tmp_path: Path) -> Iterator[Azurite]:
    server = Azurite(tmp_path / "azurite" / "data").start()
    yield server
    server.stop()


@pytest.fixture
def story(tmp_path: Path, azurite: Azurite) -> AzureStory:
    source = tmp_path / "source"
    small_tree(source, megabytes=24)
    return AzureStory(tmp_path / "story", source, lambda: change_a_little(source), azurite=azurite)


def containers(azurite: Azurite) -> dict[str, list[str]]:
    service = BlobServiceClient(azurite.endpoint, azurite.key)
    return {
        each.name: [blob.name for blob in service.get_container_client(each.name).list_blobs()]
        for each in service.list_containers()
    }


def test_the_whole_story(story: AzureStory, azurite: Azurite) -> None:
    story.tell_all(until="copy")
    (blobs,) = containers(azurite).values()
    assert {"journal", "manifest", "packs-00000", "seal"} <= set(blobs)
    story.tell_all_after("copy")
    assert_equal(story.source, story.copy_of(story.source))
    assert [each["state"] for each in story.points()] == ["complete"] * len(story.points())
    kept = [path for path in story.home.rglob("*") if path.is_file()]
    assert kept
    assert all(azurite.key.encode() not in path.read_bytes() for path in kept), "the secret is nowhere but in its file"
    assert all(azurite.key not in each.out + each.err for each in story.history)


def test_a_copy_that_is_killed_goes_on(story: AzureStory) -> None:
    story.tell_all(until="arrived")
    copy = story.command("copy")
    for seconds in (0.6, 0.8, 1.0, 1.3):
        story.attempt(*copy.args, kill_after=seconds)
    story.tell_all_after("arrived")
    assert_equal(story.source, story.copy_of(story.source))


def test_an_account_that_does_not_answer_is_said_in_a_sentence_and_the_same_command_goes_on(
    story: AzureStory, azurite: Azurite
) -> None:
    story.tell_all(until="arrived")
    azurite.stop()
    failed = story.attempt(*story.command("copy").args)
    assert failed.code == 1
    assert f"storage account {azurite.name} cannot be reached" in failed.err
    assert "Traceback" not in failed.err
    azurite.start()
    story.tell_all_after("arrived", until="copy")
    azurite.stop()
    failed = story.attempt(*story.command("import").args)
    assert failed.code == 1
    assert "cannot be reached" in failed.out + failed.err
    azurite.start()
    story.tell_all_after("order verify")
    assert_equal(story.source, story.copy_of(story.source))


def test_damage_in_the_account_is_found_without_keys_and_healed(story: AzureStory, azurite: Azurite) -> None:
    story.tell_all(until="order verify")
    (container,) = containers(azurite)
    blob = BlobServiceClient(azurite.endpoint, azurite.key).get_blob_client(container, "packs-00000")
    blob.upload_page(b"\xff" * 4096, 2 << 20, 4096)
    found = story.attempt("order", "verify", ORDER, "--json")
    assert found.code == 4
    assert "packs-00000" in found.out
    story.tell_all_after("order verify")
    assert_equal(story.source, story.copy_of(story.source))
    assert all(each["state"] == "complete" for each in story.points())


@pytest.mark.parametrize("secret", ["bm90IHRoZSBrZXk=", "sv=2024&sig=nothing"])
def test_a_secret_that_opens_nothing_is_refused_and_nothing_is_made(
    story: AzureStory, azurite: Azurite, secret: str
) -> None:
    place = ("--azure", azurite.endpoint, "--secret-file", str(azurite.secret_file(secret)))
    refused = story.attempt("account", "create", ACCOUNT, *place)
    assert refused.code == 1
    assert "does not admit Wain" in refused.err
    assert secret not in refused.err
    assert story.run("account", "list", "--json").json() == []


def test_a_secret_that_others_may_read_is_refused(story: AzureStory, azurite: Azurite) -> None:
    path = azurite.secret_file()
    path.chmod(0o644)
    refused = story.attempt("account", "create", ACCOUNT, "--azure", azurite.endpoint, "--secret-file", str(path))
    assert refused.code == 1
    assert f"chmod 600 {path}" in refused.err


def test_an_account_is_not_spoken_to_in_the_clear(story: AzureStory, azurite: Azurite) -> None:
    place = ("--azure", "http://seed.blob.example", "--secret-file", str(azurite.secret_file()))
    refused = story.attempt("account", "create", ACCOUNT, *place)
    assert (refused.code, "not reached over TLS" in refused.err) == (1, True)
