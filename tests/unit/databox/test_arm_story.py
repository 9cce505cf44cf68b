"""An order's whole way, seen through the official client; the operator's and the customer's verbs move it."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.mgmt.databox import models as m

from device.making import make_pack
from unit.databox.making import seal
from unit.databox.serving import ACCOUNT, GROUP, REGION, SUBSCRIPTION, Serve, account_id, address, job
from wain.base.errors import Refused
from wain.base.ids import SeedId
from wain.base.progress import Silent
from wain.base.sizes import TB
from wain.databox.credentials import keep_passkey
from wain.order.order import Stage
from wain.order.sku import Sku

ALL = [
    "DeviceOrdered",
    "DevicePrepared",
    "Dispatched",
    "Delivered",
    "PickedUp",
    "AtAzureDC",
    "DataCopy",
    "Completed",
]
PASSKEY = "Quartz@Meadow-7531"
DISPLAYED = [
    "Ordered",
    "Processed",
    "Dispatched",
    "Delivered",
    "Picked up",
    "Received",
    "Data copy in progress",
    "Completed",
]


def states(client: Any, name: str) -> list[str]:
    found = client.jobs.get(GROUP, name, expand="details")
    stages = found.properties.details.job_stages
    for each in stages:
        assert (each.stage_time is None) == (each.stage_status == "None")
    return [f"{each.stage_name.value}={each.stage_status.value}" for each in stages]


def expected(reached: int) -> list[str]:
    """What the eight stages are when the stage of this number is the present one."""
    words = ["Succeeded"] * reached + ["InProgress"] + ["None"] * (7 - reached)
    return [f"{stage}={word}" for stage, word in zip(ALL, words, strict=True)]


def test_s36_an_order_as_the_client_made_it(serve: Serve) -> None:
    client = serve.client()
    made = client.jobs.begin_create(GROUP, "made", job()).result()
    assert made.id == f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.DataBox/jobs/made"
    assert (made.name, made.type, made.location, made.tags) == ("made", "Microsoft.DataBox/jobs", REGION, {"site": "7"})
    assert made.properties.details is None
    found = client.jobs.get(GROUP, "made", expand="details").properties
    assert isinstance(found.details, m.DataBoxDiskJobDetails)
    assert [each.stage_name.value for each in found.details.job_stages] == ALL
    assert [each.display_name for each in found.details.job_stages] == DISPLAYED
    assert found.details.contact_details.contact_name == "Ada"
    assert found.details.shipping_address.street_address1 == "1 Microsoft Way"
    assert found.details.data_import_details[0].account_details.storage_account_id == account_id()
    assert found.details.expected_data_size_in_tera_bytes == 5
    assert (found.is_cancellable, found.is_deletable, found.is_shipping_address_editable) == (True, False, True)
    stored = serve.databox.order("made")
    assert (stored.subscription, stored.resource_group, stored.account) == (SUBSCRIPTION, GROUP, ACCOUNT)


@pytest.mark.parametrize("sku", ["DataBoxDisk", "DataBox"])
def test_s34_s81_an_order_through_all_stages(serve: Serve, tmp_path: Path, sku: str) -> None:
    client, name, device = serve.client(), f"story-{sku[-4:].lower()}", tmp_path / "device"
    device.mkdir()
    client.jobs.begin_create(GROUP, name, job(sku)).result()
    assert states(client, name) == expected(0)

    serve.databox.prepare_device(name, device, "WD-7")
    assert states(client, name) == expected(1)
    prepared = client.jobs.get(GROUP, name).properties
    assert (prepared.is_cancellable, prepared.is_shipping_address_editable) == (False, True)
    [secret] = client.jobs.list_credentials(GROUP, name)
    assert (secret.job_name, secret.job_secrets.job_secrets_type) == (name, sku)
    holder = secret.job_secrets.disk_secrets if sku == "DataBoxDisk" else secret.job_secrets.pod_secrets
    assert "WD-7" in (getattr(holder[0], "disk_serial_number", ""), getattr(holder[0], "device_serial_number", ""))

    keep_passkey(serve.home / "databox", name, PASSKEY)
    [locked] = client.jobs.list_credentials(GROUP, name)
    found = locked.job_secrets.pass_key if sku == "DataBoxDisk" else locked.job_secrets.pod_secrets[0].device_password
    assert found == PASSKEY
    assert PASSKEY not in str(client.jobs.get(GROUP, name, expand="details").as_dict())

    serve.databox.advance(name, Stage.DISPATCHED)
    assert states(client, name) == expected(2)
    assert not client.jobs.get(GROUP, name).properties.is_shipping_address_editable
    serve.databox.advance(name, Stage.DELIVERED)
    assert states(client, name) == expected(3)

    seal(device, [make_pack(number, 1 << 16) for number in range(2)], SeedId(name.ljust(16).encode()), name)
    slot = {"start_time": "2026-12-01T09:00:00Z", "end_time": "2026-12-01T12:00:00Z", "shipment_location": "door"}
    booked = client.jobs.book_shipment_pick_up(GROUP, name, m.ShipmentPickUpRequest(**slot))
    assert booked.confirmation_number.startswith(name)
    package = m.PackageCarrierInfo(carrier_name="DHL", tracking_id="T-1")
    shipped = m.MarkDevicesShippedRequest(deliver_to_dc_package_details=package)
    assert client.jobs.mark_devices_shipped(name, GROUP, shipped) is None
    back = client.jobs.get(GROUP, name, expand="details").properties.details.return_package
    assert (back.carrier_name, back.tracking_id) == ("DHL", "T-1")

    for reached, stage in ((4, Stage.PICKED_UP), (5, Stage.AT_AZURE_DC)):
        serve.databox.advance(name, stage)
        assert states(client, name) == expected(reached)
    serve.databox.copy_data(name, device, Silent())
    assert states(client, name) == [f"{stage}=Succeeded" for stage in ALL]
    done = client.jobs.get(GROUP, name).properties
    assert (done.status, done.is_deletable) == ("Completed", True)

    client.jobs.begin_delete(GROUP, name).result()
    with pytest.raises(ResourceNotFoundError) as gone:
        client.jobs.get(GROUP, name)
    assert gone.value.error.code == "ResourceNotFound"
    serve.databox.check_custody(name)
    client.jobs.begin_delete(GROUP, name).result()


def test_c21_a_copy_with_warnings_ends_in_a_stage_of_that_name(serve: Serve, tmp_path: Path) -> None:
    client, device = serve.client(), tmp_path / "device"
    device.mkdir()
    client.jobs.begin_create(GROUP, "warned", job()).result()
    serve.databox.prepare_device("warned", device, "WD-8")
    for stage in (Stage.DISPATCHED, Stage.DELIVERED):
        serve.databox.advance("warned", stage)
    renamed = device / "PageBlob" / "Not_A_Container"
    renamed.mkdir()
    (renamed / "blob").write_bytes(b"\0" * 512)
    for stage in (Stage.PICKED_UP, Stage.AT_AZURE_DC):
        serve.databox.advance("warned", stage)
    ended = serve.databox.copy_data("warned", device, Silent()).stage
    assert ended in (Stage.COMPLETED_WITH_WARNINGS, Stage.COMPLETED_WITH_ERRORS)
    assert states(client, "warned")[-1].startswith(f"{ended.value}=SucceededWith")
    assert len(states(client, "warned")) == 8


def test_rule_3_2_a_data_copy_that_stopped_waits_until_it_is_mitigated(serve: Serve, tmp_path: Path) -> None:
    client, device = serve.client(), tmp_path / "device"
    device.mkdir()
    client.jobs.begin_create(GROUP, "halted", job()).result()
    serve.databox.prepare_device("halted", device, "WD-9")
    for stage in (Stage.DISPATCHED, Stage.DELIVERED):
        serve.databox.advance("halted", stage)
    seal(device, [make_pack(1, 1 << 16)], SeedId(b"halted seed 0000"), "halted")
    for stage in (Stage.PICKED_UP, Stage.AT_AZURE_DC):
        serve.databox.advance("halted", stage)

    class Unplugged(Exception): ...

    class Stops(Silent):
        def advance(self, done_bytes: int, items: int = 0) -> None:
            raise Unplugged

    with pytest.raises(Unplugged):
        serve.databox.copy_data("halted", device, Stops())
    waiting = client.jobs.get(GROUP, "halted", expand="details").properties
    assert (waiting.error.code, waiting.error.target) == ("SsemUserCopyErrorWaitingForAction", "CopyIntervention")
    assert waiting.details.actions == ["Resume"]
    assert states(client, "halted")[6] == "DataCopy=WaitingForCustomerAction"
    client.mitigate("halted", GROUP, m.MitigateJobRequest(customer_resolution_code="Resume"))
    after = client.jobs.get(GROUP, "halted", expand="details").properties
    assert after.error is None
    assert after.details.last_mitigation_action_on_job.customer_resolution == "Resume"
    assert states(client, "halted")[6] == "DataCopy=CustomerActionPerformed"
    with pytest.raises(Unplugged):
        serve.databox.copy_data("halted", device, Stops())
    again = client.jobs.get(GROUP, "halted", expand="details").properties
    assert (again.error.code, again.details.actions) == ("SsemUserCopyErrorWaitingForAction", ["Resume"])
    assert (
        again.details.last_mitigation_action_on_job.as_dict() == after.details.last_mitigation_action_on_job.as_dict()
    )
    client.mitigate("halted", GROUP, m.MitigateJobRequest(customer_resolution_code="Resume"))
    assert states(client, "halted")[6] == "DataCopy=CustomerActionPerformed"
    serve.databox.copy_data("halted", device, Silent())
    assert client.jobs.get(GROUP, "halted").properties.status == "Completed"


def test_rule_3_2_the_address_changes_until_the_device_is_dispatched(serve: Serve) -> None:
    client = serve.client()
    made = client.jobs.begin_create(GROUP, "moving", job()).result()
    details = m.UpdateJobDetails(
        shipping_address=address("2 Other Street"), contact_details=m.ContactDetails(contact_name="Bob", phone="1")
    )
    change = m.JobResourceUpdateParameter(properties=m.UpdateJobProperties(details=details), tags={"site": "8"})
    changed = client.jobs.begin_update(GROUP, "moving", change).result()
    found = client.jobs.get(GROUP, "moving", expand="details")
    assert found.properties.details.shipping_address.street_address1 == "2 Other Street"
    assert found.properties.details.contact_details.contact_name == "Bob"
    assert (found.tags, changed.tags) == ({"site": "8"}, {"site": "8"})
    assert made.name == changed.name
    again = client.jobs.begin_create(GROUP, "moving", job()).result()
    assert again.tags == {"site": "8"}, "the same order again changes nothing"


def test_rule_3_2_a_cancelled_order_says_why_and_lists_it_last(serve: Serve) -> None:
    client = serve.client()
    client.jobs.begin_create(GROUP, "unwanted", job()).result()
    client.jobs.cancel(GROUP, "unwanted", m.CancellationReason(reason="no longer needed"))
    client.jobs.cancel(GROUP, "unwanted", m.CancellationReason(reason="said twice"))
    found = client.jobs.get(GROUP, "unwanted").properties
    assert (found.status, found.cancellation_reason) == ("Cancelled", "no longer needed")
    assert states(client, "unwanted") == [
        "DeviceOrdered=Succeeded",
        *(f"{stage}=None" for stage in ALL[1:7]),
        "Cancelled=Cancelled",
    ]
    client.jobs.begin_delete(GROUP, "unwanted").result()
    assert "unwanted" not in [each.name for each in client.jobs.list_by_resource_group(GROUP)]


def test_s17_s18_s35_the_kinds_of_device(serve: Serve) -> None:
    client = serve.client()
    request = m.AvailableSkuRequest(transfer_type="ImportToAzure", country="NL", location=REGION)
    found = {
        each.sku.name.value: each
        for each in client.service.list_available_skus_by_resource_group(GROUP, REGION, request)
    }
    assert {name: each.properties.capacity.usable for name, each in found.items()} == {
        "DataBoxDisk": "7",
        "DataBox": "80",
    }
    assert all(each.enabled for each in found.values())
    request.sku_names = ["DataBox"]
    assert len(list(client.service.list_available_skus_by_resource_group(GROUP, REGION, request))) == 1


def test_s35_a_kind_of_device_of_the_operators_own_is_offered(serve: Serve) -> None:
    serve.databox.add_sku(Sku("Archive", 18 * TB, 18 * TB, 500))
    client = serve.client()
    request = m.AvailableSkuRequest(transfer_type="ImportToAzure", country="NL", location=REGION, sku_names=["Archive"])
    [found] = client.service.list_available_skus_by_resource_group(GROUP, REGION, request)
    assert (found.sku.name, found.properties.capacity.usable, found.enabled) == ("Archive", "18", True)
    made = client.jobs.begin_create(GROUP, "own-disks", job("Archive")).result()
    assert made.sku.name == "Archive"
    client.jobs.cancel(GROUP, "own-disks", m.CancellationReason(reason="not needed"))
    client.jobs.begin_delete(GROUP, "own-disks").result()
    with pytest.raises(Refused, match="own-disks"):
        serve.databox.remove_sku("Archive")


def test_s37_s38_inputs_are_judged_as_the_order_will_be(serve: Serve) -> None:
    client = serve.client()

    def ask(account: str) -> m.ValidationResponse:
        imports = [m.DataImportDetails(account_details=m.StorageAccountDetails(storage_account_id=account_id(account)))]
        common = {"device_type": "DataBoxDisk", "transfer_type": "ImportToAzure"}
        questions = [
            m.DataTransferDetailsValidationRequest(data_import_details=imports, **common),
            m.SkuAvailabilityValidationRequest(country="NL", location=REGION, **common),
            m.SubscriptionIsAllowedToCreateJobValidationRequest(),
            m.CreateOrderLimitForSubscriptionValidationRequest(device_type="DataBoxDisk"),
        ]
        return client.service.validate_inputs_by_resource_group(
            GROUP, REGION, m.CreateJobValidations(individual_request_details=questions)
        ).properties

    assert ask(ACCOUNT).status == "AllValidToProceed"
    bad = ask("blobsonly")
    assert bad.status == "InputsRevisitRequired"
    [refused] = [each for each in bad.individual_response_details if each.status == "Invalid"]
    assert refused.error.code == "StorageAccountKindNotSupported"
    question = m.ValidateAddress(shipping_address=address(), device_type="DataBoxDisk")
    skipped = client.service.validate_inputs(REGION, m.CreateJobValidations(individual_request_details=[question]))
    assert skipped.properties.status == "CertainInputValidationsSkipped"


@pytest.mark.parametrize(("field", "value"), [("country", "Netherlands"), ("country", "N1"), ("street_address1", " ")])
def test_s36_an_address_is_judged_by_its_form(serve: Serve, field: str, value: str) -> None:
    wrong = address()
    setattr(wrong, field, value)
    question = m.ValidateAddress(shipping_address=wrong, device_type="DataBoxDisk")
    said = serve.client().service.validate_inputs(REGION, m.CreateJobValidations(individual_request_details=[question]))
    assert said.properties.status == "InputsRevisitRequired"
    [answer] = said.properties.individual_response_details
    assert answer.validation_status == "Invalid"
    assert answer.error.code == "InvalidRequestContent"
