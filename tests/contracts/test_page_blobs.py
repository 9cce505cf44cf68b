"""The contract of `wain.storage.api.PageBlobs`, on every implementation."""

import pytest

from azurite.server import Azurite, why_not
from wain.base.errors import Missing, Refused, Truncated
from wain.storage.api import PageBlob
from wain.storage.azure import AzureAccount, AzurePageBlobs
from wain.storage.blobs import MAX_WRITE_BYTES, DirectoryPageBlobs
from wain.storage.memory import MemoryPageBlobs


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    server = Azurite(tmp_path_factory.mktemp("azurite") / "data")
    yield server.start()
    server.stop()


AZURE = pytest.param("azure", marks=pytest.mark.skipif(bool(why_not()), reason=why_not()))


@pytest.fixture(params=["memory", "directory", AZURE])
def blobs(request, tmp_path):
    if request.param != "azure":
        yield MemoryPageBlobs() if request.param == "memory" else DirectoryPageBlobs(tmp_path / "account")
        return
    azurite = request.getfixturevalue("azurite")
    account = AzurePageBlobs(AzureAccount(azurite.endpoint, azurite.secret_file()))
    for container in account.containers():
        account.delete_container(container)
    yield account
    account.close()


def test_a_blob_is_zeros_until_pages_are_written(blobs):
    blobs.create("seed-1", "packs-00000", 2048)
    assert blobs.read("seed-1", "packs-00000", 0, 2048) == bytes(2048)
    blobs.write_pages("seed-1", "packs-00000", 512, b"x" * 512)
    blobs.write_pages("seed-1", "packs-00000", 1536, b"y" * 512)
    blobs.flush("seed-1", "packs-00000")
    want = bytes(512) + b"x" * 512 + bytes(512) + b"y" * 512
    assert blobs.read("seed-1", "packs-00000", 0, 2048) == want
    assert blobs.read("seed-1", "packs-00000", 1000, 600) == want[1000:1600]


def test_create_again_changes_nothing_and_another_length_is_refused(blobs):
    blobs.create("seed-1", "a", 1024)
    blobs.write_pages("seed-1", "a", 0, b"z" * 512)
    blobs.flush("seed-1", "a")
    blobs.create("seed-1", "a", 1024)
    assert blobs.read("seed-1", "a", 0, 512) == b"z" * 512
    with pytest.raises(Refused):
        blobs.create("seed-1", "a", 512)


def test_listings(blobs):
    assert blobs.containers() == []
    assert blobs.blobs("seed-1") == []
    blobs.create("seed-2", "b", 512)
    for blob, length in [("z", 0), ("d/e", 1024), ("a", 512)]:
        blobs.create("seed-1", blob, length)
    assert blobs.containers() == ["seed-1", "seed-2"]
    assert blobs.blobs("seed-1") == [PageBlob("a", 512), PageBlob("d/e", 1024), PageBlob("z", 0)]


def test_a_container_goes_with_its_blobs_and_may_come_again(blobs):
    blobs.create("seed-1", "a", 512)
    blobs.write_pages("seed-1", "a", 0, b"z" * 512)
    blobs.delete_container("seed-1")
    blobs.delete_container("seed-1")
    assert blobs.containers() == []
    with pytest.raises(Missing):
        blobs.read("seed-1", "a", 0, 512)
    blobs.create("seed-1", "a", 512)
    blobs.flush("seed-1", "a")
    assert blobs.read("seed-1", "a", 0, 512) == bytes(512)


def test_what_is_absent_is_missing(blobs):
    blobs.create("seed-1", "a", 512)
    for call in (
        lambda: blobs.read("seed-1", "b", 0, 512),
        lambda: blobs.read("seed-2", "a", 0, 512),
        lambda: blobs.write_pages("seed-1", "b", 0, bytes(512)),
        lambda: blobs.flush("seed-1", "b"),
    ):
        with pytest.raises(Missing):
            call()


def test_reading_past_the_end_is_truncated(blobs):
    blobs.create("seed-1", "a", 512)
    with pytest.raises(Truncated):
        blobs.read("seed-1", "a", 1, 512)


@pytest.mark.parametrize(
    ("offset", "size"), [(1, 512), (0, 511), (0, 0), (-512, 512), (0, MAX_WRITE_BYTES + 512), (MAX_WRITE_BYTES, 1024)]
)
def test_pages_are_whole_small_and_inside(blobs, offset, size):
    blobs.create("seed-1", "a", MAX_WRITE_BYTES + 512)
    with pytest.raises(Refused):
        blobs.write_pages("seed-1", "a", offset, bytes(size))


def test_the_largest_page_write(blobs):
    blobs.create("seed-1", "a", MAX_WRITE_BYTES)
    blobs.write_pages("seed-1", "a", 0, b"1" * MAX_WRITE_BYTES)
    assert blobs.read("seed-1", "a", MAX_WRITE_BYTES - 1, 1) == b"1"


@pytest.mark.parametrize("length", [1, 511, -512, (4 << 40) + 512])
def test_lengths_are_whole_pages_up_to_4_tib(blobs, length):
    with pytest.raises(Refused):
        blobs.create("seed-1", "a", length)


@pytest.mark.parametrize(
    ("container", "blob"),
    [("AB", "a"), ("a--b", "a"), ("..", "a"), ("seed-1", "../x"), ("seed-1", ""), ("seed-1", "a//b")],
)
def test_odd_names_are_refused(blobs, container, blob):
    with pytest.raises(Refused):
        blobs.create(container, blob, 512)
    with pytest.raises(Refused):
        blobs.read(container, blob, 0, 512)


def test_many_blobs_may_be_open_at_once(blobs):
    for number in range(80):
        blobs.create("seed-1", f"b{number}", 512)
        blobs.write_pages("seed-1", f"b{number}", 0, bytes([number]) * 512)
    for number in range(80):
        blobs.flush("seed-1", f"b{number}")
        assert blobs.read("seed-1", f"b{number}", 0, 512) == bytes([number]) * 512
