"""What the bodies of HTTP requests may hold."""

from typing import Any

import pytest
from api_calls import (
    CLIENT_SECRETS,
    NOW,
    SESSIONS,
    TRANSCRIPTION_SESSIONS,
    TRANSLATION_SECRETS,
    post,
    refusal,
    turned_away,
)

from realtime_sync.local.http.api import MOST_BODY_BYTES, Api


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        ({"anchor": "created_at", "seconds": 10}, 10),
        ({"anchor": "created_at", "seconds": 7200}, 7200),
        ({"seconds": 30}, 30),
        ({"anchor": "created_at"}, 600),
        ({}, 600),
    ],
)
def test_expires_after(api: Api, wanted: dict[str, Any], seconds: int) -> None:
    """A secret is valid for as long as was asked, ten minutes if nothing was."""
    assert post(api, CLIENT_SECRETS, {"expires_after": wanted})[1]["expires_at"] == NOW + seconds


def realtime(**session: Any) -> dict[str, Any]:
    return {"session": {"type": "realtime", **session}}


BAD_SECRETS: list[tuple[object, str, str | None]] = [
    (b"", "invalid_json", None),
    (b"hello", "invalid_json", None),
    (b"{} {}", "invalid_json", None),
    (b"[]", "invalid_json", None),
    (b'"text"', "invalid_json", None),
    (b'{"session": {"type": "realtime", "instructions": "\xff"}}', "invalid_json", None),
    (b'{"expires_after": "\xff"}', "invalid_json", None),
    (b'{"session": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", None),
    (b'{"expires_after": {"seconds": 1e999}}', "invalid_json", None),
    ({"sessions": {}}, "unknown_parameter", "sessions"),
    ({"expires_at": 5}, "unknown_parameter", "expires_at"),
    ({"expires_after": 60}, "invalid_type", "expires_after"),
    ({"expires_after": None}, "invalid_type", "expires_after"),
    ({"expires_after": {"minutes": 1}}, "unknown_parameter", "expires_after.minutes"),
    ({"expires_after": {"anchor": "now"}}, "invalid_value", "expires_after.anchor"),
    ({"expires_after": {"seconds": 9}}, "invalid_value", "expires_after.seconds"),
    ({"expires_after": {"seconds": 7201}}, "invalid_value", "expires_after.seconds"),
    ({"expires_after": {"seconds": 60.5}}, "invalid_type", "expires_after.seconds"),
    ({"expires_after": {"seconds": "60"}}, "invalid_type", "expires_after.seconds"),
    ({"expires_after": {"seconds": True}}, "invalid_type", "expires_after.seconds"),
    ({"session": None}, "invalid_type", "session"),
    ({"session": []}, "invalid_type", "session"),
    ({"session": {}}, "missing_required_parameter", "session.type"),
    ({"session": {"type": None}}, "missing_required_parameter", "session.type"),
    ({"session": {"type": 7}}, "invalid_type", "session.type"),
    ({"session": {"type": "translation", "model": "m"}}, "invalid_value", "session.type"),
    (realtime(voice="marin"), "unknown_parameter", "session.voice"),
    (realtime(id="sess_1"), "unknown_parameter", "session.id"),
    (realtime(client_secret={}), "missing_required_parameter", "session.client_secret.value"),
    (realtime(client_secret=None), "unknown_parameter", "session.client_secret"),
    (realtime(instructions=7), "invalid_type", "session.instructions"),
    (realtime(audio={"output": {"sped": 1}}), "unknown_parameter", "session.audio.output.sped"),
    (realtime(audio={"output": {"speed": 9}}), "invalid_value", "session.audio.output.speed"),
    (realtime(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[].name"),
    (realtime(tools=[{"type": "magic"}]), "invalid_value", "session.tools[0].type"),
    ({"session": {"type": "transcription", "speed": 1}}, "unknown_parameter", "session.speed"),
    ({"session": {"type": "transcription", "tools": []}}, "unknown_parameter", "session.tools"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "param"), BAD_SECRETS)
def test_bad_secret_request(api: Api, body: object, code: str, param: str | None) -> None:
    """A request that is not as specified is a 400 that names the field."""
    assert refusal(post(api, CLIENT_SECRETS, body)) == (400, code, param)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "session"),
        ({"session": {}}, "missing_required_parameter", "session.model"),
        ({"session": {"model": "m", "type": "realtime"}}, "invalid_value", "session.type"),
        ({"session": {"model": "m", "type": None}}, "missing_required_parameter", "session.type"),
        ({"session": {"model": "m", "instructions": "x"}}, "unknown_parameter", "session.instructions"),
        ({"session": {"model": "m"}, "expires_after": 60}, "invalid_type", "expires_after"),
        ({"session": {"model": "m"}, "model": "m"}, "unknown_parameter", "model"),
    ],
)  # fmt: skip
def test_bad_translation_request(api: Api, body: object, code: str, param: str | None) -> None:
    """The same for translation, which has fewer fields and needs a model."""
    assert refusal(post(api, TRANSLATION_SECRETS, body)) == (400, code, param)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "json"])
def test_content_type(api: Api, kind: str | None) -> None:
    """A body is JSON and says so."""
    answer = post(api, CLIENT_SECRETS, {}, content_type=kind)
    assert refusal(answer) == (400, "unsupported_content_type", None)
    assert "application/json" in answer[1]["error"]["message"]
    assert post(api, CLIENT_SECRETS, {}, content_type="Application/JSON; charset=utf-8")[0] == 200


def test_big_body(api: Api) -> None:
    """A body beyond the limit is rejected unread."""
    assert refusal(post(api, CLIENT_SECRETS, b" " * (MOST_BODY_BYTES + 1)))[:2] == (413, "request_too_large")
    assert post(api, CLIENT_SECRETS, b"{}" + b" " * (MOST_BODY_BYTES - 2))[0] == 200


@pytest.mark.parametrize("path", [SESSIONS, TRANSCRIPTION_SESSIONS])
@pytest.mark.parametrize("name", ["expires_after", "expires_at"])
def test_beta_expires_after(api: Api, path: str, name: str) -> None:
    """How long the secret is valid can be said, where clients say it and under both their names."""
    body = {"client_secret": {name: {"anchor": "created_at", "seconds": 77}}}
    assert post(api, path, body)[1]["client_secret"]["expires_at"] == NOW + 77


def test_beta_client_secret_in_a_request(api: Api) -> None:
    """A value and date in a request, which the specification asks for, mean nothing."""
    mine = {"value": "ek_mine", "expires_at": 5}
    assert post(api, SESSIONS, {"client_secret": mine})[1]["client_secret"]["value"] != "ek_mine"
    assert turned_away(api, headers={"authorization": "Bearer ek_mine"})[0] == 401


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        (SESSIONS, b"", "invalid_json", None),
        (SESSIONS, b"[]", "invalid_json", None),
        (SESSIONS, {"output_modalities": ["text"]}, "unknown_parameter", "output_modalities"),
        (SESSIONS, {"type": "realtime"}, "unknown_parameter", "type"),
        (SESSIONS, {"nonsense": 1}, "unknown_parameter", "nonsense"),
        (SESSIONS, {"voice": 7}, "invalid_type", "voice"),
        (SESSIONS, {"speed": 9}, "invalid_value", "speed"),
        (SESSIONS, {"temperature": 9}, "invalid_value", "temperature"),
        (SESSIONS, {"modalities": ["smell"]}, "invalid_value", "modalities"),
        (SESSIONS, {"input_audio_format": "mp3"}, "invalid_value", "input_audio_format"),
        (SESSIONS, {"max_response_output_tokens": 0}, "invalid_value", "max_response_output_tokens"),
        (SESSIONS, {"turn_detection": {"type": "server_vad", "x": 1}},
         "unknown_parameter", "turn_detection.x"),
        (SESSIONS, {"client_secret": 7}, "invalid_type", "client_secret"),
        (SESSIONS, {"client_secret": {"x": 7}}, "unknown_parameter", "client_secret.x"),
        (SESSIONS, {"client_secret": {"expires_after": {"seconds": 1}}}, "invalid_value",
         "client_secret.expires_after.seconds"),
        (TRANSCRIPTION_SESSIONS, {"voice": "echo"}, "unknown_parameter", "voice"),
        (TRANSCRIPTION_SESSIONS, {"input_audio_transcription": 7},
         "invalid_type", "input_audio_transcription"),
    ],
)  # fmt: skip
def test_bad_beta_request(api: Api, path: str, body: object, code: str, param: str | None) -> None:
    """What isn't Beta's is a 400 that names the field as Beta does."""
    assert refusal(post(api, path, body)) == (400, code, param)
