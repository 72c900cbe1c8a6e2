"""The API key and the secrets that are made with it."""

import json
import logging

import pytest
from api_calls import (
    BEARER,
    CALLS,
    CLIENT_SECRETS,
    JSON,
    KEY,
    NOW,
    REALTIME,
    SESSIONS,
    TRANSLATION_SECRETS,
    admitted,
    header,
    issued,
    post,
    refusal,
    turned_away,
)

from realtime_sync.events import SessionConfig
from realtime_sync.local.http.answers import Declined
from realtime_sync.local.http.api import Api
from realtime_sync.local.http.credentials import Credentials


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer sk-wrong", KEY, f"Basic {KEY}", f"Bearer {KEY}x",
     "Bearer sk-r\xefght", "Bearer \udcff"],
)  # fmt: skip
def test_wrong_key(api: Api, authorization: str | None) -> None:
    """A missing or wrong key is a 401 that repeats nothing of what was sent, over HTTP and WebSocket."""
    status, body = post(api, CLIENT_SECRETS, {}, authorization=authorization)
    assert refusal((status, body)) == (401, "invalid_api_key", None)
    assert "sk-" not in json.dumps(body)
    headers = {} if authorization is None else {"authorization": authorization}
    assert turned_away(api, headers=headers) == (401, "invalid_api_key", None)
    answer = api.answer("GET", REALTIME, headers, lambda: b"", NOW)
    assert (answer.status, header(answer, "www-authenticate")) == (401, 'Bearer realm="OpenAI API"')


def test_right_key(api: Api) -> None:
    """The scheme's case and spaces around the key don't matter; organisation and project are ignored."""
    for value in (f"Bearer {KEY}", f"bearer  {KEY} "):
        headers = {"authorization": value, "openai-organization": "org", "openai-project": "proj"}
        assert admitted(api, headers=headers).settings is None


def test_no_key_needed() -> None:
    """A server without a key lets everyone in, with any key or none, but no secret that it doesn't know."""
    api = Api(None)
    for headers in ({}, {"authorization": "Bearer any"}, {"sec-websocket-protocol": "realtime"}):
        assert admitted(api, headers=headers).session_type == "realtime"
        assert api.answer("POST", CLIENT_SECRETS, {**headers, **JSON}, lambda: b"{}", NOW).status == 200
    assert turned_away(api, headers={"authorization": "Bearer ek_unknown"})[:2] == (401, "invalid_api_key")


def test_secret_is_no_key() -> None:
    """A secret makes no secrets and touches no calls, whether or not a key is asked for."""
    for api in (Api(KEY), Api(None)):
        bearer = f"Bearer {issued(api)}"
        for path in (CLIENT_SECRETS, SESSIONS, TRANSLATION_SECRETS, f"{CALLS}/{api.create_call()}/hangup"):
            assert refusal(post(api, path, {}, authorization=bearer)) == (401, "invalid_api_key", None)


def test_key_that_looks_like_a_secret() -> None:
    """The key is the key, whatever it looks like."""
    api = Api("ek_key")
    headers = {"authorization": "Bearer ek_key"}
    assert admitted(api, headers=headers).settings is None
    assert api.answer("POST", CLIENT_SECRETS, {**headers, **JSON}, lambda: b"{}", NOW).status == 200


def test_nothing_secret_is_logged_or_shown(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Keys and secrets are in no log line, and in no repr but the admission's own settings."""
    caplog.set_level(logging.DEBUG)
    secret = issued(api)
    admission = admitted(api, headers={"authorization": f"Bearer {secret}"})
    turned_away(api, headers={"authorization": "Bearer ek_wrong"})
    post(api, CLIENT_SECRETS, {}, authorization="Bearer sk-wrong")
    kept = Credentials(KEY).issue("realtime", SessionConfig(), 5, NOW)
    assert caplog.text == ""
    assert kept.value not in repr(kept)
    assert secret not in repr(admission)


def test_header_before_subprotocol(api: Api) -> None:
    """Where both bring a key, the header's counts."""
    right, wrong = f"openai-insecure-api-key.{KEY}", "openai-insecure-api-key.sk-wrong"
    assert turned_away(api, headers={"authorization": "Bearer x", "sec-websocket-protocol": right})[0] == 401
    admitted(api, headers={**BEARER, "sec-websocket-protocol": wrong})


@pytest.mark.parametrize("api_key", [KEY, None])
def test_secret_until_it_expires(api_key: str | None) -> None:
    """A secret opens any number of sessions until its last second, then none, and the rejection says why."""
    api = Api(api_key)
    secret = issued(api)
    for headers in (
        {"authorization": f"Bearer {secret}"},
        {"sec-websocket-protocol": f"realtime, openai-insecure-api-key.{secret}"},
    ):
        admitted(api, headers=headers)
        admitted(api, headers=headers, now=NOW + 599.9)
        expired = (401, "client_secret_expired", None)
        assert turned_away(api, headers=headers, now=NOW + 600) == expired
    issued(api, now=NOW + 600 + 3600)
    assert turned_away(api, headers=headers, now=NOW + 600 + 3600) == (401, "invalid_api_key", None)


def test_secrets_are_bounded() -> None:
    """At most 10,000 secrets are kept, and 64 MiB of their sessions; the newest stay."""
    credentials = Credentials(KEY)

    def known(value: str) -> bool:
        try:
            return credentials.check_upgrade({"authorization": f"Bearer {value}"}, NOW) is not None
        except Declined:
            return False

    values = [credentials.issue("realtime", SessionConfig(), int(NOW) + 60, NOW).value for _ in range(10_010)]
    assert [known(values[index]) for index in (0, 9, 10, -1)] == [False, False, True, True]
    big = [
        credentials.issue("realtime", SessionConfig(), int(NOW) + 60, NOW, 2**20).value for _ in range(100)
    ]
    assert [known(big[index]) for index in (35, 36, -1)] == [False, True, True]
