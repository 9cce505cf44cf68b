"""Microsoft's own clients, unmodified, over TLS, against the token service."""

from pathlib import Path

import jwt
import msal
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential

from unit.identity.certs import KeyPair, make
from unit.identity.people import ADA, ARM, BOB, GRAPH, person, registered, sign_in_on_the_page
from unit.identity.serving import Served, now
from wain.base.errors import Refused
from wain.identity.service import Identity


def claims_of(served: Served, token: str, audience: str) -> dict[str, object]:
    """Check a token as a stranger would: by the published keys alone, with another library."""
    with served.client() as client:
        discovery = client.get(f"/{served.identity.site.tenant}/v2.0/.well-known/openid-configuration").json()
        keys = client.get(discovery["jwks_uri"]).json()
    kid = jwt.get_unverified_header(token)["kid"]
    key = next(jwt.PyJWK(each) for each in keys["keys"] if each["kid"] == kid)
    return dict(jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=discovery["issuer"]))


def certificate_credential(served: Served, app_id: str, pair: KeyPair) -> CertificateCredential:
    return CertificateCredential(
        served.identity.site.tenant,
        app_id,
        certificate_data=pair.both,
        authority=served.url,
        disable_instance_discovery=True,
        connection_verify=str(served.ca),
    )


def confidential(served: Served, app_id: str, pair: KeyPair) -> msal.ConfidentialClientApplication:
    session = requests.Session()
    session.verify = str(served.ca)
    session.trust_env = False
    return msal.ConfidentialClientApplication(
        app_id,
        authority=served.authority,
        instance_discovery=False,
        http_client=session,
        client_credential={"private_key": pair.key_pem.decode(), "public_certificate": pair.certificate_pem.decode()},
    )


def test_s87_azure_identity_signs_in_with_a_certificate(served: Served) -> None:
    pair = make("server", 1)
    _, app_id = registered(served, "with azure-identity", pair)
    token = certificate_credential(served, app_id, pair).get_token(ARM)
    claims = claims_of(served, token.token, "https://management.azure.com")
    principal = served.identity.applications.principal(app_id)
    assert principal is not None
    assert (claims["oid"], claims["tid"], claims["appid"]) == (
        principal.object_id,
        served.identity.site.tenant,
        app_id,
    )
    assert 0 < int(str(claims["exp"])) - int(str(claims["iat"])) <= 1800


def test_one_credential_serves_two_audiences(served: Served) -> None:
    """Azure-identity sends the same assertion for both."""
    pair = make("server", 1)
    _, app_id = registered(served, "two audiences", pair)
    credential = certificate_credential(served, app_id, pair)
    assert claims_of(served, credential.get_token(ARM).token, "https://management.azure.com")
    assert claims_of(served, credential.get_token(GRAPH).token, "https://graph.microsoft.com")


def test_s87_msal_signs_in_with_ps256(served: Served) -> None:
    pair = make("server", 2)
    _, app_id = registered(served, "with msal", pair)
    answer = confidential(served, app_id, pair).acquire_token_for_client([ARM])
    assert claims_of(served, answer["access_token"], "https://management.azure.com")["appid"] == app_id


def test_a_certificate_that_is_not_registered_is_refused_with_our_words(served: Served) -> None:
    _, app_id = registered(served, "another certificate", make("server", 1))
    with pytest.raises(ClientAuthenticationError, match=r"AADSTS700027.*not registered"):
        certificate_credential(served, app_id, make("stranger", 3)).get_token(ARM)


def test_s63_a_person_signs_in_once_for_both_services(served: Served) -> None:
    credential = person(served, ADA)
    ada = served.identity.users.find(ADA)
    arm = claims_of(served, credential.get_token(ARM).token, "https://management.azure.com")
    graph = claims_of(served, credential.get_token(GRAPH).token, "https://graph.microsoft.com")
    assert arm["oid"] == graph["oid"] == ada.object_id
    assert arm["upn"] == ADA


def test_msal_signs_a_person_in(served: Served) -> None:
    session = requests.Session()
    session.verify = str(served.ca)
    session.trust_env = False
    app = msal.PublicClientApplication(
        "1950a258-227b-4e31-a9cf-717495945fc2",
        authority=served.authority,
        instance_discovery=False,
        http_client=session,
    )
    flow = app.initiate_device_flow(["https://graph.microsoft.com/User.Read"])
    assert flow["user_code"] in flow["message"]
    with served.client() as client:
        sign_in_on_the_page(client, flow["user_code"], BOB)
    answer = app.acquire_token_by_device_flow(flow)
    assert answer["id_token_claims"]["preferred_username"] == BOB
    account = app.get_accounts()[0]
    again = app.acquire_token_silent([ARM], account)
    assert claims_of(served, again["access_token"], "https://management.azure.com")["upn"] == BOB


def test_an_address_without_tls_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not the address"):
        Identity.open(tmp_path, "http://localhost:1", now)
