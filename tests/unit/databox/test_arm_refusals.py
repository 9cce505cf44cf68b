"""Every rule of an order that the wire refuses for: its code, its status, and that nothing has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.mgmt.databox import models as m

from unit.databox.serving import ADA, BOB, EVE, GROUP, OTHER, SUBSCRIPTION, Serve, account_id, address, job
from wain.order.order import Stage
from wain.wire.arm_paths import NEWEST

JOBS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.DataBox/jobs"
VERSION = f"?api-version={NEWEST}"


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(HttpResponseError) as error:
        call()
    assert error.value.error is not None, error.value
    assert error.value.error.message
    return error.value.status_code, error.value.error.code


def bad_jobs() -> dict[str, tuple[m.JobResource, str]]:
    export = job()
    export.properties.transfer_type = "ExportFromAzure"
    disk = m.DataImportDetails(
        account_details=m.ManagedDiskDetails(resource_group_id="/x", staging_storage_account_id="/y")
    )
    storage = m.DataImportDetails(account_details=m.StorageAccountDetails(storage_account_id=account_id()))
    foreign = m.DataImportDetails(account_details=m.StorageAccountDetails(storage_account_id="/subscriptions/x"))
    secret = m.StorageAccountDetails(storage_account_id=account_id(), share_password="Abcdefgh1234!")
    return {
        "sku": (job("DataBoxHeavy"), "SkuNotAvailable"),
        "export": (export, "TransferTypeNotSupported"),
        "no-such-account": (job(account="nobody"), "StorageAccountNotFound"),
        "not-an-account": (job(data_import_details=[foreign]), "StorageAccountNotFound"),
        "s38-blobstorage": (job(account="blobsonly"), "StorageAccountKindNotSupported"),
        "managed-disk": (job(data_import_details=[disk]), "StorageAccountKindNotSupported"),
        "no-account": (job(data_import_details=[]), "StorageAccountCountNotSupported"),
        "two-accounts": (job(data_import_details=[storage, storage]), "StorageAccountCountNotSupported"),
        "passkey": (job(passkey="Abcdefgh1234!"), "CustomerSecretNotSupported"),
        "share-password": (
            job(data_import_details=[m.DataImportDetails(account_details=secret)]),
            "CustomerSecretNotSupported",
        ),
        "no-contact": (job(contact_details=None), "InvalidRequestContent"),
        "long": (job(shipping_address=address("x" * 70_000)), "InvalidRequestContent"),
    }


@pytest.mark.parametrize("case", bad_jobs())
def test_a_bad_order_is_refused_and_leaves_nothing(serve: Serve, case: str) -> None:
    wanted, code = bad_jobs()[case]
    before = len(serve.databox.orders())
    assert refused(lambda: serve.client().jobs.begin_create(GROUP, "bad-order", wanted)) == (400, code)
    assert len(serve.databox.orders()) == before


@pytest.mark.parametrize("name", ["ab", "-abc", "a" * 25, "a_b_c"])
def test_a_name_that_cannot_be_an_orders(serve: Serve, name: str) -> None:
    with serve.http(ADA) as http:
        answer = http.put(f"{JOBS}/{name}{VERSION}", json=job().as_dict())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidJobName")


def test_an_order_cannot_be_changed_by_ordering_again(serve: Serve) -> None:
    client = serve.client()
    client.jobs.begin_create(GROUP, "taken", job()).result()
    for other in (job("DataBox"), job(shipping_address=address("elsewhere"))):
        assert refused(lambda other=other: client.jobs.begin_create(GROUP, "taken", other)) == (409, "JobAlreadyExists")
    elsewhere = refused(lambda: client.jobs.begin_create("another-group", "taken", job()))
    assert elsewhere == (409, "JobAlreadyExists")


def test_what_is_not_there(serve: Serve) -> None:
    client = serve.client()
    client.jobs.begin_create(GROUP, "there", job()).result()
    reason = m.CancellationReason(reason="x")
    for call in (
        lambda: client.jobs.get(GROUP, "nobody"),
        lambda: client.jobs.get("another-group", "there"),
        lambda: client.jobs.cancel(GROUP, "nobody", reason),
        lambda: list(client.jobs.list_credentials(GROUP, "nobody")),
        lambda: client.mitigate("nobody", GROUP, m.MitigateJobRequest(customer_resolution_code="Resume")),
    ):
        assert refused(call) == (404, "ResourceNotFound")
    client.jobs.begin_delete(GROUP, "nobody").result()
    assert client.jobs.get(GROUP.upper(), "there").name == "there", "names of groups have no case"


def test_rule_3_2_what_each_stage_refuses(serve: Serve, tmp_path: Path) -> None:
    client, device = serve.client(), tmp_path / "device"
    device.mkdir()
    client.jobs.begin_create(GROUP, "strict", job()).result()
    details = m.UpdateJobDetails(shipping_address=address("2 Other Street"))
    slot = {"start_time": "2026-12-01T09:00:00Z", "end_time": "2026-12-01T12:00:00Z", "shipment_location": "door"}
    package = m.PackageCarrierInfo(carrier_name="DHL", tracking_id="T-1")
    calls: dict[str, Callable[[], Any]] = {
        "cancel": lambda: client.jobs.cancel(GROUP, "strict", m.CancellationReason(reason="late")),
        "reason": lambda: client.jobs.cancel(GROUP, "strict", m.CancellationReason(reason=" ")),
        "delete": lambda: client.jobs.begin_delete(GROUP, "strict"),
        "address": lambda: client.jobs.begin_update(
            GROUP, "strict", m.JobResourceUpdateParameter(properties=m.UpdateJobProperties(details=details))
        ),
        "book": lambda: client.jobs.book_shipment_pick_up(GROUP, "strict", m.ShipmentPickUpRequest(**slot)),
        "shipped": lambda: client.jobs.mark_devices_shipped(
            "strict", GROUP, m.MarkDevicesShippedRequest(deliver_to_dc_package_details=package)
        ),
        "credentials": lambda: list(client.jobs.list_credentials(GROUP, "strict")),
        "mitigate": lambda: client.mitigate("strict", GROUP, m.MitigateJobRequest(customer_resolution_code="Resume")),
        "resolution": lambda: client.mitigate(
            "strict", GROUP, m.MitigateJobRequest(customer_resolution_code="MoveToCleanUpDevice")
        ),
    }

    def refuses(**codes: str) -> None:
        before = serve.databox.order("strict")
        for name, code in codes.items():
            status = 400 if name in ("reason", "resolution") else 409
            assert refused(calls[name]) == (status, code), name
        assert serve.databox.order("strict") == before

    away = {"book": "JobNotDelivered", "shipped": "JobNotDelivered"}
    always = {
        "delete": "JobNotDeletable",
        "reason": "CancellationReasonMissing",
        "mitigate": "JobNotWaitingForAction",
        "resolution": "CustomerResolutionNotSupported",
    }
    refuses(**always, **away, credentials="CredentialsNotAvailable")
    serve.databox.prepare_device("strict", device, "WD-5")
    refuses(**always, **away, cancel="JobNotCancellable")
    serve.databox.advance("strict", Stage.DISPATCHED)
    late = {"cancel": "JobNotCancellable", "address": "ShippingAddressNotEditable"}
    refuses(**always, **away, **late)
    serve.databox.advance("strict", Stage.DELIVERED)
    refuses(**always, **late)
    serve.databox.advance("strict", Stage.PICKED_UP)
    refuses(**always, **away, **late)
    assert client.jobs.get(GROUP, "strict").properties.cancellation_reason is None


def test_a_change_of_what_has_changed(serve: Serve) -> None:
    client = serve.client()
    client.jobs.begin_create(GROUP, "tagged", job()).result()
    with serve.http(ADA) as http:
        etag = http.get(f"{JOBS}/tagged{VERSION}").headers["etag"]
    change = m.JobResourceUpdateParameter(tags={"by": "first"})
    same = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    client.jobs.begin_update(GROUP, "tagged", change, **same).result()
    late = m.JobResourceUpdateParameter(tags={"by": "second"})
    assert refused(lambda: client.jobs.begin_update(GROUP, "tagged", late, **same)) == (412, "PreconditionFailed")
    assert client.jobs.get(GROUP, "tagged").tags == {"by": "first"}


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("GET", JOBS, None, (400, "MissingApiVersionParameter")),
        ("GET", f"{JOBS}?api-version=1999-01-01", None, (400, "InvalidApiVersionParameter")),
        ("GET", f"{JOBS}{VERSION}&$skipToken=forged", None, (400, "InvalidSkipToken")),
        ("PUT", f"{JOBS}/odd{VERSION}", b"no json", (400, "InvalidRequestContent")),
        ("PUT", f"{JOBS}/odd{VERSION}", b"[" * 100_000, (400, "InvalidRequestContent")),
        ("PUT", f"{JOBS}/odd{VERSION}", b"[]", (400, "InvalidRequestContent")),
        ("PUT", f"{JOBS}/odd{VERSION}", b"{}", (400, "InvalidRequestContent")),
        ("PUT", f"{JOBS}/odd{VERSION}", b" " * 300_000, (413, "RequestContentTooLarge")),
        ("GET", f"{JOBS}/{'x' * 91}{VERSION}", None, (404, "ResourceNotFound")),
        ("DELETE", f"{JOBS}{VERSION}", None, (405, "MethodNotAllowed")),
        ("GET", "/subscriptions/x/providers/Microsoft.Sql/servers", None, (404, "InvalidResourceType")),
    ],
)
def test_requests_that_no_client_of_microsofts_sends(
    serve: Serve, method: str, path: str, body: bytes | None, answer: tuple[int, str]
) -> None:
    with serve.http(ADA) as http:
        got = http.request(method, path, content=body)
    assert (got.status_code, got.json()["error"]["code"]) == answer


def test_words_that_no_catalog_could_keep(serve: Serve) -> None:
    wanted = job().as_dict()
    wanted["tags"] = {"a": "\ud800"}
    with serve.http(ADA) as http:
        got = http.put(f"{JOBS}/odd{VERSION}", content=json.dumps(wanted).encode())
    assert (got.status_code, got.json()["error"]["code"]) == (400, "InvalidRequestContent")


def test_nobody_without_a_token_learns_anything(serve: Serve) -> None:
    for path in (JOBS + VERSION, f"{JOBS}/nobody{VERSION}", f"/subscriptions/{OTHER}/providers/Microsoft.DataBox/jobs"):
        for headers in ({}, {"Authorization": "Bearer forged"}, {"Authorization": "Basic YTpi"}):
            with serve.http() as http:
                answer = http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")
            assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_roles_decide(serve: Serve) -> None:
    serve.client().jobs.begin_create(GROUP, "guarded", job()).result()
    reader, nobody, abroad = serve.client(BOB), serve.client(EVE), serve.client(ADA, OTHER)
    assert reader.jobs.get(GROUP, "guarded").name == "guarded"
    assert "guarded" in [each.name for each in reader.jobs.list()]
    denied = (403, "AuthorizationFailed")
    assert refused(lambda: reader.jobs.begin_create(GROUP, "by-a-reader", job())) == denied
    assert refused(lambda: list(reader.jobs.list_credentials(GROUP, "guarded"))) == denied
    assert refused(lambda: reader.jobs.cancel(GROUP, "guarded", m.CancellationReason(reason="x"))) == denied
    for outsider in (nobody, abroad):
        assert refused(lambda outsider=outsider: outsider.jobs.get(GROUP, "guarded")) == denied
        assert refused(lambda outsider=outsider: outsider.jobs.get(GROUP, "nobody")) == denied
        assert list(outsider.jobs.list()) == []


def test_s26_an_order_belongs_to_one_subscription(serve: Serve) -> None:
    ada = serve.identity.users.find(ADA)
    serve.client().jobs.begin_create(GROUP, "here", job()).result()
    granted = serve.identity.assignments.grant(ada.object_id, "Owner", f"/subscriptions/{OTHER}")
    try:
        abroad = serve.client(ADA, OTHER)
        assert refused(lambda: abroad.jobs.get(GROUP, "here")) == (404, "ResourceNotFound")
        assert "here" not in [each.name for each in abroad.jobs.list()]
        assert refused(lambda: abroad.jobs.begin_create(GROUP, "here", job())) == (409, "JobAlreadyExists")
    finally:
        serve.identity.assignments.revoke(granted.id)
