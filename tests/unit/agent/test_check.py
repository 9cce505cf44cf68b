"""Verifying recovery points: every kind of damage is found and named."""

import pytest

from unit.agent.points import KEY, NAMER, RID, PointBuilder, falsely, stat
from wain.agent.check import OpenKeys, VerifyReport, VerifyRequest, verify
from wain.base.errors import Refused, WriteFailed
from wain.base.ids import ChunkId, PackId, PointId, SeedId
from wain.base.progress import Silent
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.pack.format import FOOTER_BYTES
from wain.tree.entry import Content, Entry, Kind

KEYS = OpenKeys(KEY, NAMER)
STRUCTURE = VerifyRequest()
FULL = VerifyRequest(read_data=True, keys=KEYS)


def noise(size: int, salt: int = 7) -> bytes:
    return bytes((salt * at * at * 31 + at * 17 + (at >> 8) * salt) % 251 for at in range(size))


def incompressible(size: int) -> bytes:
    state, out = 1, bytearray()
    while len(out) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out += (state >> 16).to_bytes(6, "little")
    return bytes(out[:size])


@pytest.fixture
def make() -> PointBuilder:
    return PointBuilder()


def point(make: PointBuilder) -> PointId:
    inner = make.directory(b"inner", [make.file(b"small", noise(1000)), make.sparse(b"hole", 9999, {5: noise(100)})])
    listed = make.listed(b"listed", noise(5000, 3), 700)
    return make.finish([inner, make.file(b"large", incompressible(3 * MIB), cut=90_000), listed])


def data_pack(make: PointBuilder) -> PackId:
    (pack,) = make.packs_of(ChunkType.DATA)
    return pack.id


def run(make: PointBuilder, request: VerifyRequest = STRUCTURE) -> VerifyReport:
    return verify(make.vault, RID, request, Silent())


@pytest.mark.parametrize(
    "request_", [STRUCTURE, VerifyRequest(read_data=True), VerifyRequest(keys=KEYS), FULL],
    ids=["structure", "data", "files", "all"],
)  # fmt: skip
def test_a_sound_vault_has_no_findings(make: PointBuilder, request_: VerifyRequest) -> None:
    point(make)
    report = run(make, request_)
    assert report.findings == ()
    assert report.exit_code == 0
    assert (report.points, report.packs) == (1, 3)
    stored = sum(len(body) - FOOTER_BYTES for body in make.vault.packs.values())
    assert report.read_bytes == (stored if request_.read_data else 0)
    assert report.files == (4 if request_.keys else 0)
    assert (report.segments > 0) == (request_.read_data and request_.keys is not None)


def test_structure_alone_reads_only_footers(make: PointBuilder) -> None:
    point(make)
    run(make)
    assert [size for _, _, size in make.vault.reads] == [FOOTER_BYTES] * 3


@pytest.mark.parametrize("at", [0, 100, 4096, MIB + 5, 2 * MIB, 3 * MIB])
def test_every_flipped_bit_is_found_in_its_leaf(make: PointBuilder, at: int) -> None:
    point(make)
    pack = data_pack(make)
    make.vault.flip(pack, at)
    assert run(make).findings == ()  # Only reading the data can tell.
    (finding,) = run(make, VerifyRequest(read_data=True)).findings
    leaf = at // MIB
    end = min((leaf + 1) * MIB, len(make.vault.packs[pack]) - FOOTER_BYTES)
    assert (finding.pack, finding.leaf, finding.start, finding.end) == (pack, leaf, leaf * MIB, end)
    assert pack.hex() in finding.what
    assert f"leaf {leaf}" in finding.what


def test_a_damaged_segment_names_the_files_that_suffer(make: PointBuilder) -> None:
    point(make)
    make.vault.flip(data_pack(make), 2 * MIB)
    report = run(make, FULL)
    assert report.exit_code == 4
    assert {finding.path for finding in report.findings} == {b"", b"/large"}
    opened = next(finding for finding in report.findings if "segment" in finding.what and not finding.path)
    assert opened.start <= 2 * MIB < opened.end


def test_a_damaged_footer_and_a_short_pack(make: PointBuilder) -> None:
    point(make)
    pack = data_pack(make)
    whole = make.vault.packs[pack]
    make.vault.flip(pack, len(whole) - 10)
    assert "footer page" in run(make).findings[0].what
    make.vault.packs[pack] = whole[:-4096]
    assert f"where {len(whole)} were signed for" in run(make).findings[0].what


def test_a_missing_pack_and_the_files_in_it(make: PointBuilder) -> None:
    point(make)
    pack = data_pack(make)
    del make.vault.packs[pack]
    (finding,) = run(make).findings
    assert (finding.pack, finding.what) == (pack, f"pack {pack.hex()} is missing")
    paths = {finding.path for finding in run(make, VerifyRequest(keys=KEYS)).findings}
    assert paths == {b"", b"/large", b"/inner/small", b"/inner/hole", b"/listed"}


def test_packs_in_transit_are_no_finding(make: PointBuilder) -> None:
    make.finish([make.file(b"x", noise(100))], seed=SeedId(b"s" * 16))
    make.vault.travelling.update(make.vault.packs)
    report = run(make, VerifyRequest(read_data=True))
    assert (report.findings, report.packs, report.in_transit, report.read_bytes) == ((), 3, 3, 0)


def test_a_changed_manifest(make: PointBuilder) -> None:
    first = point(make)
    body = bytearray(make.vault.manifests[first])
    body[40] ^= 1
    make.vault.manifests[first] = bytes(body)
    assert "hash" in run(make).findings[0].what


def test_a_manifest_signed_by_somebody_else(make: PointBuilder) -> None:
    point(make)
    (finding,) = run(make, VerifyRequest(sign_key=bytes(32))).findings
    assert "signature" in finding.what


def test_the_chain_is_checked_and_expired_points_leave_no_finding(make: PointBuilder) -> None:
    ids = [make.finish([make.file(b"x", b"%d" % number)]) for number in range(3)]
    assert run(make).findings == ()
    middle = make.vault.listing.pop(1)
    assert run(make).findings == ()
    assert run(make, VerifyRequest(points=(ids[2],))).points == 1
    make.vault.listing.insert(1, middle)
    make.vault.listing[0], other = make.vault.listing[1], make.vault.listing[0]
    make.vault.listing[1] = other
    assert run(make).findings == ()  # The order of the listing does not matter, the numbers do.


def test_a_forked_chain_is_found(make: PointBuilder) -> None:
    make.finish([make.file(b"x", b"1")])
    fork = PointBuilder(make.vault)
    kept = make.vault.listing.copy()
    make.vault.listing.clear()
    fork.finish([fork.file(b"x", b"fork")])
    make.vault.listing.append(kept[0])
    forked, real = make.vault.listing
    make.vault.listing[:] = [forked]
    make.finish([make.file(b"x", b"2")])
    make.vault.listing[0] = real
    assert any("chain" in finding.what for finding in run(make).findings)


def test_a_vault_that_was_rolled_back_is_found(make: PointBuilder) -> None:
    first, second = (make.finish([make.file(b"x", b"%d" % number)]) for number in range(2))
    assert run(make, VerifyRequest(head=(2, second))).findings == ()
    assert "another history" in run(make, VerifyRequest(head=(2, first))).findings[0].what
    make.vault.listing.pop()
    assert "lost or hidden" in run(make, VerifyRequest(head=(2, second))).findings[0].what


def test_an_unknown_point_is_refused(make: PointBuilder) -> None:
    point(make)
    with pytest.raises(Refused, match="not in the vault"):
        run(make, VerifyRequest(points=(PointId(b"p" * 32),)))


def test_files_whose_chunks_are_nowhere_or_too_short(make: PointBuilder) -> None:
    gone = ChunkId(b"g" * 32)
    make.finish([
        Entry(b"gone", Kind.FILE, stat(5), Content((gone,))),
        Entry(b"short", Kind.FILE, stat(9), make.file(b"short", b"four").content),
        Entry(b"dir", Kind.DIRECTORY, stat(mode=0o755), Content((gone,))),
        make.file(b"good", b"good"),
    ])  # fmt: skip
    findings = {finding.path: finding.what for finding in run(make, VerifyRequest(keys=KEYS)).findings}
    assert set(findings) == {b"/gone", b"/short", b"/dir"}
    assert gone.hex() in findings[b"/gone"]
    assert "4 bytes where it has 9" in findings[b"/short"]


def test_a_chunk_under_a_false_name_is_found_by_its_name_alone(make: PointBuilder) -> None:
    false = ChunkId(b"f" * 32)
    falsely(b"not what it says", false)
    make.chunk(ChunkType.DATA, b"not what it says", false)
    make.finish([Entry(b"x", Kind.FILE, stat(16), Content((false,)))])
    assert run(make, VerifyRequest(read_data=True)).findings == ()  # Without keys all is well.
    report = run(make, FULL)
    assert {finding.path for finding in report.findings} == {b"", b"/x"}
    assert false.hex() in report.findings[0].what


def test_an_unreadable_place_is_a_finding_and_a_dead_vault_an_error(make: PointBuilder) -> None:
    point(make)
    pack = data_pack(make)
    bad = [False]

    def flaky() -> None:
        if bad[0]:
            raise WriteFailed("the vault's disk", "input/output error")

    real = make.vault.read_pack

    def read(rid, one, offset, length):  # type: ignore[no-untyped-def]
        bad[0] = one == pack and offset <= MIB < offset + length and length != FOOTER_BYTES
        return real(rid, one, offset, length)

    make.vault.before_read = flaky
    make.vault.read_pack = read  # type: ignore[method-assign]
    (finding,) = run(make, VerifyRequest(read_data=True)).findings
    assert finding.leaf == 1
    make.vault.read_pack = real  # type: ignore[method-assign]
    bad[0] = True
    with pytest.raises(WriteFailed):
        run(make, VerifyRequest(read_data=True))
