"""A policy's endpoint: an address, no secret, and records of before there was one."""

import pytest

from wain.agent.records import policy_from_json, policy_to_json
from wain.base.errors import Refused
from wain.policy.endpoint import AZURE, Endpoint
from wain.policy.policy import InitialBackup, Policy

AT = Endpoint("https://boxes.example:8443/", "sub-1", "branches", "/etc/wain/ca.pem")
POLICY = Policy((b"/srv",), initial=InitialBackup.OFFLINE, order="branch-office", service=AT)


def test_a_policy_remembers_the_endpoint_and_older_records_have_none() -> None:
    body = policy_to_json(POLICY)
    assert policy_from_json(body) == POLICY
    assert body["service"] == {
        "url": "https://boxes.example:8443",
        "subscription": "sub-1",
        "resourceGroup": "branches",
        "caFile": "/etc/wain/ca.pem",
    }
    del body["service"]
    assert policy_from_json(body).service is None


def test_only_one_address_is_azures() -> None:
    assert Endpoint(AZURE, "s", "").is_azure
    assert Endpoint(AZURE + "/", "s", "").is_azure
    assert not AT.is_azure


@pytest.mark.parametrize(("url", "subscription"), [("http://boxes.example", "s"), ("boxes.example", "s"), (AZURE, "")])
def test_an_endpoint_has_https_and_a_subscription(url: str, subscription: str) -> None:
    with pytest.raises(Refused):
        Endpoint(url, subscription, "")


def test_an_online_backup_has_no_endpoint() -> None:
    with pytest.raises(Refused, match="neither an order nor a device"):
        Policy((b"/srv",), service=AT)
