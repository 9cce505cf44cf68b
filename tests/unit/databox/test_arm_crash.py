"""Many clients, many orders, and a service that dies in the midst of them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError

from unit.databox.serving import ADA, BOB, GROUP, SUBSCRIPTION, Serve, job
from unit.identity.people import person
from unit.identity.serving import Served
from wain.databox.service import OrderRequest
from wain.wire.arm_paths import PAGE

MANY = 250


def test_two_clients_that_make_the_same_order_make_one(serve: Serve) -> None:
    together = threading.Barrier(4)

    def create(number: int) -> Any:
        client = serve.client()
        together.wait()
        return client.jobs.begin_create(GROUP, "same", job()).result()

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(create, range(4)))
    assert {each["etag"] for each in made} == {'"1.1"'}
    assert [each.name for each in serve.databox.orders()].count("same") == 1


def test_of_two_different_orders_of_one_name_one_is_made(serve: Serve) -> None:
    together = threading.Barrier(2)

    def create(sku: str) -> str:
        client = serve.client()
        together.wait()
        try:
            return str(client.jobs.begin_create(GROUP, "contested", job(sku)).result().sku.name.value)
        except ResourceExistsError as error:
            return str(error.error and error.error.code)

    with ThreadPoolExecutor(2) as pool:
        ended = sorted(pool.map(create, ["DataBoxDisk", "DataBox"]))
    assert ended[1] == "JobAlreadyExists"
    assert serve.databox.order("contested").sku == ended[0]


def test_lists_of_more_orders_than_a_page_holds(serve: Serve) -> None:
    groups = ("even", "odd")
    names = [f"page-{number:03}" for number in range(MANY)]
    for number, name in enumerate(names):
        request = OrderRequest(name, "DataBoxDisk", "seeds", SUBSCRIPTION, "westeurope", groups[number % 2])
        serve.databox.create_order(request)
    client = serve.client(BOB)
    pages = [[each.name for each in page] for page in client.jobs.list().by_page()]
    assert max(map(len, pages)) == PAGE
    assert [name for page in pages for name in page if name.startswith("page-")] == names
    assert [each.name for each in client.jobs.list_by_resource_group("odd")] == names[1::2]
    two_pages = list(client.jobs.list_by_resource_group("EVEN").by_page())
    assert len(two_pages) == 2


def test_killed_in_the_midst_of_creating(own_serve: Serve) -> None:
    """What was answered is there; what was not can be asked for again, and comes to the same."""
    own_serve.start()
    answered: list[str] = []
    tried: list[str] = []
    enough = threading.Event()

    def create() -> None:
        client = own_serve.client()
        try:
            for number in range(10_000):
                tried.append(f"kill-{number}")
                client.jobs.begin_create(GROUP, tried[-1], job()).result()
                answered.append(tried[-1])
                if len(answered) == 5:
                    enough.set()
        except AzureError:
            enough.set()

    worker = threading.Thread(target=create)
    worker.start()
    assert enough.wait(60)
    own_serve.kill()
    worker.join(60)
    assert len(answered) >= 5
    own_serve.start()
    client = own_serve.client()
    there = [each.name for each in client.jobs.list()]
    assert set(answered) <= set(there) <= set(tried)
    for name in tried:
        assert client.jobs.begin_create(GROUP, name, job()).result()["etag"] == '"1.1"'
    assert sorted(each.name for each in client.jobs.list()) == sorted(tried)
    assert all(len(order.history) == 1 for order in own_serve.databox.orders())


def test_s63_a_person_signs_in_with_azure_identity_and_orders(serve: Serve) -> None:
    assert serve.process is not None
    served = Served(serve.url, serve.ca, serve.identity, serve.process)  # type: ignore[arg-type]
    client = serve.client(credential=person(served, ADA))
    assert client.jobs.begin_create(GROUP, "signed-in", job()).result().name == "signed-in"
