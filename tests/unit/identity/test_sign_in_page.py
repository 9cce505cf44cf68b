"""People signing in with a device code: the page, its limits, and what follows from a sign-in."""

from datetime import timedelta

import pytest

from unit.identity.ground import CLIENT, Ground
from unit.identity.people import ADA, PASSWORD, sign_in_on_the_page
from wain.base.moment import to_ns
from wain.identity.passwords import FREE_FAILURES
from wain.identity.tables import DEVICE_CODES


@pytest.fixture(autouse=True)
def _people(ground: Ground) -> None:
    ground.identity.users.add(ADA, "Ada", PASSWORD)


def test_s63_a_sign_in_gives_tokens_once(ground: Ground) -> None:
    begun = ground.begin()
    assert begun["verification_uri"] == "https://identity.example:8443/devicelogin"
    assert ground.poll(begun["device_code"])["error"] == "authorization_pending"
    assert "You are signed in" in sign_in_on_the_page(ground.browser, begun["user_code"], ADA).text
    answer = ground.poll(begun["device_code"])
    claims = ground.identity.tokens.read(answer["access_token"], ("https://management.azure.com",))
    assert (claims["upn"], claims["oid"]) == (ADA, ground.identity.users.find(ADA).object_id)
    assert ground.poll(begun["device_code"])["error"] == "invalid_grant"


def test_the_code_is_read_in_any_writing(ground: Ground) -> None:
    begun = ground.begin()
    typed = begun["user_code"].lower().replace("-", " ")
    assert "Password" in ground.browser.post("/devicelogin", data={"code": typed}).text


def test_a_wrong_password_signs_nobody_in(ground: Ground) -> None:
    begun = ground.begin()
    for name, password in ((ADA, "another sentence, long enough"), ("nobody@example.org", PASSWORD), (ADA, "")):
        answer = sign_in_on_the_page(ground.browser, begun["user_code"], name, password)
        assert answer.status_code == 401
        assert "Name or password is wrong" in answer.text
    assert ground.poll(begun["device_code"])["error"] == "authorization_pending"


def test_guessing_at_one_user_gets_slower_and_slower(ground: Ground) -> None:
    begun = ground.begin()
    form = {"code": begun["user_code"], "name": ADA, "password": "a guess that is wrong"}
    for number in range(FREE_FAILURES):
        guessed = ground.at(f"203.0.113.{number}").post("/devicelogin", data=form)
        assert guessed.status_code == 401
    waits = []
    for number in range(4):
        refused = ground.at(f"192.0.2.{number}").post("/devicelogin", data=form | {"password": PASSWORD})
        assert refused.status_code == 429
        waits.append(int(refused.headers["Retry-After"]))
        ground.clock.pass_(seconds=waits[-1])
        assert ground.at(f"192.0.2.{number}").post("/devicelogin", data=form).status_code == 401
    assert waits == [1, 2, 4, 8]
    ground.clock.pass_(minutes=15)
    begun = ground.begin()
    assert "You are signed in" in sign_in_on_the_page(ground.browser, begun["user_code"], ADA).text
    assert (
        "Name or password is wrong"
        in ground.at("203.0.113.99")
        .post("/devicelogin", data={"code": ground.begin()["user_code"], "name": ADA, "password": "x"})
        .text
    )


def test_guessing_from_one_address_gets_slower_whoever_is_guessed_at(ground: Ground) -> None:
    stranger = ground.at("203.0.113.1")
    statuses = [stranger.post("/devicelogin", data={"code": "BBBB-BBBB"}).status_code for _ in range(40)]
    assert statuses[:20] == [400] * 20
    assert 429 in statuses[20:]
    assert ground.browser.post("/devicelogin", data={"code": ground.begin()["user_code"]}).status_code == 200


def test_addresses_of_one_ipv6_customer_count_as_one(ground: Ground) -> None:
    statuses = [
        ground.at(f"2001:db8::{number:x}").post("/devicelogin", data={"code": "BBBB-BBBB"}).status_code
        for number in range(40)
    ]
    assert 429 in statuses
    assert ground.at("2001:db8:0:1::1").post("/devicelogin", data={"code": "BBBB-BBBB"}).status_code == 400


def test_asking_too_often_is_told_to_slow_down(ground: Ground) -> None:
    begun = ground.begin()
    assert ground.poll(begun["device_code"])["error"] == "authorization_pending"
    assert ground.poll(begun["device_code"])["error"] == "slow_down"
    ground.clock.pass_(seconds=int(begun["interval"]))
    assert ground.poll(begun["device_code"])["error"] == "authorization_pending"


def test_a_declined_sign_in_gives_nothing(ground: Ground) -> None:
    begun = ground.begin()
    declined = ground.browser.post("/devicelogin", data={"code": begun["user_code"], "decline": "1"})
    assert "declined" in declined.text
    assert ground.poll(begun["device_code"])["error"] == "authorization_declined"


def test_a_code_expires(ground: Ground) -> None:
    begun = ground.begin()
    ground.clock.pass_(minutes=15, seconds=1)
    assert ground.browser.post("/devicelogin", data={"code": begun["user_code"]}).status_code == 400
    assert ground.poll(begun["device_code"])["error"] == "expired_token"


def test_a_device_code_of_another_client_is_refused(ground: Ground) -> None:
    begun = ground.begin()
    sign_in_on_the_page(ground.browser, begun["user_code"], ADA)
    assert ground.poll(begun["device_code"], "1950a258-227b-4e31-a9cf-717495945fc2")["error"] == "invalid_grant"
    assert "access_token" in ground.poll(begun["device_code"])
    answer = ground.browser.post("/common/oauth2/v2.0/devicecode", data={"client_id": "x", "scope": "User.Read"})
    assert answer.json()["error"] == "unauthorized_client"


def test_a_refresh_token_is_used_once_and_a_second_use_ends_the_sign_in(ground: Ground) -> None:
    begun = ground.begin()
    sign_in_on_the_page(ground.browser, begun["user_code"], ADA)
    first = ground.poll(begun["device_code"])["refresh_token"]
    second = ground.refresh(first)["refresh_token"]
    assert ground.refresh(first)["error"] == "invalid_grant"
    assert ground.refresh(second)["error"] == "invalid_grant"


def test_a_sign_in_ends_after_half_a_day_however_often_it_is_renewed(ground: Ground) -> None:
    begun = ground.begin()
    sign_in_on_the_page(ground.browser, begun["user_code"], ADA)
    token = ground.poll(begun["device_code"])["refresh_token"]
    for _ in range(11):
        ground.clock.pass_(hours=1)
        token = ground.refresh(token)["refresh_token"]
    ground.clock.pass_(hours=1, seconds=1)
    assert ground.refresh(token)["error"] == "invalid_grant"


@pytest.mark.parametrize("change", ["password", "disable"])
def test_what_changes_about_a_person_ends_every_sign_in(ground: Ground, change: str) -> None:
    begun = ground.begin("https://graph.microsoft.com/.default offline_access")
    sign_in_on_the_page(ground.browser, begun["user_code"], ADA)
    answer = ground.poll(begun["device_code"])
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert ground.browser.get("/v1.0/me", headers=headers).status_code == 200
    if change == "password":
        ground.identity.users.set_password(ADA, "another sentence, long enough")
    else:
        ground.identity.users.set_enabled(ADA, enabled=False)
    assert ground.browser.get("/v1.0/me", headers=headers).status_code == 401
    assert ground.refresh(answer["refresh_token"])["error"] == "invalid_grant"
    begun = ground.begin()
    assert sign_in_on_the_page(ground.browser, begun["user_code"], ADA).status_code == 401


def test_a_token_lives_for_half_an_hour(ground: Ground) -> None:
    begun = ground.begin("https://graph.microsoft.com/.default")
    sign_in_on_the_page(ground.browser, begun["user_code"], ADA)
    headers = {"Authorization": f"Bearer {ground.poll(begun['device_code'])['access_token']}"}
    ground.clock.at += timedelta(minutes=29, seconds=58)
    assert ground.browser.get("/v1.0/me", headers=headers).status_code == 200
    ground.clock.at += timedelta(seconds=3)
    assert ground.browser.get("/v1.0/me", headers=headers).status_code == 401


def test_the_page_runs_no_script_and_shows_what_it_was_given_as_text(ground: Ground) -> None:
    evil = "'><script>alert(1)</script>"
    page = ground.browser.get("/devicelogin", params={"code": evil})
    assert "<script" not in page.text
    begun = ground.begin()
    page = sign_in_on_the_page(ground.browser, begun["user_code"], evil, "x")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers


def test_the_page_says_who_asks(ground: Ground) -> None:
    begun = ground.begin()
    page = ground.at("203.0.113.5").post("/devicelogin", data={"code": begun["user_code"]}).text
    assert "Microsoft Azure CLI" in page
    assert "198.51.100.7" in page
    assert CLIENT not in page


def test_open_sign_ins_have_a_cap(ground: Ground) -> None:
    form = {"client_id": CLIENT, "scope": "User.Read"}

    def ask(address: str) -> tuple[int, str]:
        answer = ground.at(address).post("/common/oauth2/v2.0/devicecode", data=form)
        return answer.status_code, answer.json().get("error", "")

    with ground.identity.catalog.writing() as rows:
        for number in range(999):
            row = DEVICE_CODES.filled(
                digest=number.to_bytes(32, "big"),
                user_code=str(number),
                client=CLIENT,
                scope="User.Read",
                address="203.0.113.1" if number < 49 else f"192.0.2.{number % 50}",
                until_ns=to_ns(ground.clock() + timedelta(minutes=15)),
                polled_ns=0,
                state="pending",
                user_id="",
            )
            rows.change(DEVICE_CODES.insertion(), **row)
    assert ask("203.0.113.1") == (200, "")
    assert ask("203.0.113.1") == (429, "temporarily_unavailable")  # Fifty from one address.
    assert ask("203.0.113.2") == (429, "temporarily_unavailable")  # A thousand altogether.
    ground.clock.pass_(minutes=16)
    assert ask("203.0.113.1") == (200, "")
