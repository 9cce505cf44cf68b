"""The servers of one user and their application: none ever touches or locks out another."""

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from unit.identity.people import ADA, BOB
from unit.identity.servers import agent, can_sign_in, graph_as, graph_of_server
from unit.identity.serving import Served, now, serve, stop
from wain.agent.certificates import OwnCertificate
from wain.agent.offline_identity import OfflineIdentity
from wain.base.errors import Refused
from wain.wire.graph import Graph

COUNT = 20


@pytest.fixture
def somebody(served: Served) -> str:
    """A user of this test's own."""
    name = f"{uuid4().hex}@example.org"
    served.identity.users.add(name, "", "a sentence that is long enough")
    return name


def keys_of(served: Served, name: str) -> dict[str, bytes]:
    user = served.identity.users.find(name).object_id
    found = served.identity.applications.listed(("displayName", f"AzureOfflineBackup_{user}"), 0, 10)
    assert len(found) == 1
    return {key.key_id: key.certificate for key in found[0].keys}


def test_s86_s89_s90_twenty_servers_of_one_user_at_once_all_work(served: Served, somebody: str, tmp_path: Path) -> None:
    servers = [agent(tmp_path / str(number)) for number in range(COUNT)]
    with ThreadPoolExecutor(COUNT) as pool:
        standings = list(pool.map(lambda each: each.ensure(graph_as(served, somebody)), servers))
    user = served.identity.users.find(somebody).object_id
    assert {standing.application.display_name for standing in standings} == {f"AzureOfflineBackup_{user}"}
    assert len({standing.application.object_id for standing in standings}) == 1
    assert sorted(keys_of(served, somebody).values()) == sorted(each.certificate.der for each in standings)
    assert len({standing.certificate.der for standing in standings}) == COUNT
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda each: can_sign_in(served, each, user), servers))


def test_s101_the_private_key_stays_on_the_server(served: Served, somebody: str, tmp_path: Path) -> None:
    one = agent(tmp_path)
    standing = one.ensure(graph_as(served, somebody))
    path = tmp_path / "agent" / "certificates" / f"{standing.certificate.name}.pem"
    assert standing.certificate.name.startswith("CB_AzureADCertforOfflineSeeding_")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert b"PRIVATE KEY" in path.read_bytes()
    (kept,) = keys_of(served, somebody).values()
    assert kept == standing.certificate.der
    assert "PRIVATE" not in repr(standing)


def test_d10_a_repeated_setup_changes_nothing(served: Served, somebody: str, tmp_path: Path) -> None:
    one = agent(tmp_path)
    first = one.ensure(graph_as(served, somebody))
    version = served.identity.applications.get(first.application.object_id).version
    again = one.ensure(graph_as(served, somebody))
    assert again.certificate.der == first.certificate.der
    assert served.identity.applications.get(first.application.object_id).version == version


def three(served: Served, name: str, tmp_path: Path) -> list[OfflineIdentity]:
    servers = [agent(tmp_path / str(number)) for number in range(3)]
    for each in servers:
        each.ensure(graph_as(served, name))
    return servers


def test_renewing_one_servers_certificate_leaves_the_others(served: Served, somebody: str, tmp_path: Path) -> None:
    user = served.identity.users.find(somebody).object_id
    servers = three(served, somebody, tmp_path)
    before = keys_of(served, somebody)
    old = servers[1].record().bindings[user]
    new = servers[1].renew(user, lambda each: graph_of_server(served, old.app_id, each))
    after = keys_of(served, somebody)
    assert old.key_id not in after
    assert {key: before[key] for key in before if key != old.key_id} == {
        key: after[key] for key in after if after[key] != new.der
    }
    assert [each.der for each in servers[1].certificates.all()] == [new.der]
    assert all(can_sign_in(served, each, user) for each in servers)
    servers[1].renew(user, lambda each: graph_of_server(served, old.app_id, each))
    assert all(can_sign_in(served, each, user) for each in servers)


def test_revoking_one_servers_certificate_leaves_the_others(served: Served, somebody: str, tmp_path: Path) -> None:
    user = served.identity.users.find(somebody).object_id
    servers = three(served, somebody, tmp_path)
    binding = servers[0].record().bindings[user]
    gone = servers[0].certificates.find(binding.thumbprint)
    assert gone is not None
    held = graph_of_server(served, binding.app_id, gone)
    held.ensure_principal(binding.app_id)
    servers[0].revoke(user, lambda each: graph_of_server(served, binding.app_id, each))
    assert len(keys_of(served, somebody)) == 2
    assert not servers[0].certificates.all()
    with pytest.raises(Refused, match="AADSTS700027"):
        graph_of_server(served, binding.app_id, gone)
    with pytest.raises(Exception, match="was removed"):
        held.ensure_principal(binding.app_id)  # The token that it still holds ends with the certificate.
    assert all(can_sign_in(served, each, user) for each in servers[1:])


def test_one_server_cannot_remove_anothers_key(served: Served, somebody: str, tmp_path: Path) -> None:
    user = served.identity.users.find(somebody).object_id
    servers = three(served, somebody, tmp_path)
    mine, theirs = (each.record().bindings[user] for each in servers[:2])
    certificate = servers[0].certificates.find(mine.thumbprint)
    assert certificate is not None
    graph = graph_of_server(served, mine.app_id, certificate)
    with pytest.raises(Exception, match="only keys of its own line"):
        graph.remove_key(mine.object_id, theirs.key_id, servers[0]._proof(certificate, mine))
    assert len(keys_of(served, somebody)) == 3


def test_an_expired_certificate_is_replaced_and_the_others_stay(served: Served, somebody: str, tmp_path: Path) -> None:
    user = served.identity.users.find(somebody).object_id
    past = OfflineIdentity(tmp_path / "old" / "agent", lambda: now() - timedelta(days=500))
    past.ensure(graph_as(served, somebody))
    others = three(served, somebody, tmp_path)
    with pytest.raises(Refused, match="AADSTS7000222"):
        can_sign_in(served, past, user)
    one = OfflineIdentity(tmp_path / "old" / "agent", now)
    with pytest.raises(Refused, match="has expired"):
        one.renew(user, lambda each: graph_as(served, somebody))
    one.ensure(graph_as(served, somebody))
    assert len(keys_of(served, somebody)) == 4
    assert all(can_sign_in(served, each, user) for each in [one, *others])


def test_s96_another_account_has_another_application(served: Served, tmp_path: Path) -> None:
    one = agent(tmp_path)
    first, second = one.ensure(graph_as(served, ADA)), one.ensure(graph_as(served, BOB))
    assert first.application.object_id != second.application.object_id
    assert one.record().current_user == second.person.object_id
    assert set(one.record().bindings) == {first.person.object_id, second.person.object_id}


@pytest.fixture(scope="module")
def without_etags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("without"), "unit.identity.asgi_without_etags:build")
    yield served
    stop(served)


def test_servers_work_together_where_the_directory_has_no_etags(without_etags: Served, tmp_path: Path) -> None:
    """They overwrite one another's lists at first; each looks again until its key has stayed."""
    name = "eve@example.org"
    user = without_etags.identity.users.add(name, "", "a sentence that is long enough").object_id
    servers = [agent(tmp_path / str(number)) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        standings = list(pool.map(lambda each: each.ensure(graph_as(without_etags, name)), servers))
    assert not standings[0].application.etag
    assert sorted(keys_of(without_etags, name).values()) == sorted(each.certificate.der for each in standings)
    assert all(can_sign_in(without_etags, each, user) for each in servers)


class Cut(Exception):
    """The power, the line or the process went away."""


CALLS = ("add_key", "remove_key")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_renewal_that_is_cut_off_leaves_a_certificate_that_works(
    served: Served, somebody: str, tmp_path: Path, call: str, when: str
) -> None:
    user = served.identity.users.find(somebody).object_id
    one, other = agent(tmp_path / "one"), agent(tmp_path / "other")
    for each in (one, other):
        each.ensure(graph_as(served, somebody))
    app_id = one.record().bindings[user].app_id

    def cutting(certificate: OwnCertificate) -> Graph:
        graph = graph_of_server(served, app_id, certificate)
        whole = getattr(graph, call)

        def cut(*arguments: str) -> None:
            if when == "after":
                whole(*arguments)
            raise Cut

        setattr(graph, call, cut)
        return graph

    with pytest.raises(Cut):
        one.renew(user, cutting)
    assert can_sign_in(served, one, user)
    new = one.renew(user, lambda each: graph_of_server(served, app_id, each))
    assert one.record().bindings[user].thumbprint == new.thumbprint
    assert can_sign_in(served, one, user)
    assert can_sign_in(served, other, user)
    if call == "remove_key":  # What was not removed then is removed now.
        assert len(keys_of(served, somebody)) == 2


def test_two_commands_do_not_change_the_record_together(served: Served, somebody: str, tmp_path: Path) -> None:
    one = agent(tmp_path)
    one.ensure(graph_as(served, somebody))
    user = one.record().current_user

    def meanwhile(certificate: OwnCertificate) -> Graph:
        with pytest.raises(Refused, match="another command"):
            agent(tmp_path).ensure(graph_as(served, somebody))
        return graph_of_server(served, one.record().bindings[user].app_id, certificate)

    one.renew(user, meanwhile)
    assert can_sign_in(served, one, user)
