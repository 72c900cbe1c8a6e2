"""HTTP beside the WebSocket: secrets, calls, admission.  First as pure functions, then over sockets."""

import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
import requests
import websocket
from hypothesis import given
from hypothesis import strategies as st

import realtime_sync as rt
from realtime_sync.events import SessionConfig
from realtime_sync.local import LocalServer
from realtime_sync.local.http.answers import Declined, HttpAnswer
from realtime_sync.local.http.api import MOST_BODY_BYTES, Admission, Api
from realtime_sync.local.http.credentials import Credentials
from realtime_sync.local.http.phone_calls import Calls

NOW = 1_700_000_000.0
KEY = "sk-right"
BEARER = {"authorization": f"Bearer {KEY}"}
JSON = {"content-type": "application/json"}
CLIENT_SECRETS = "/v1/realtime/client_secrets"
SESSIONS = "/v1/realtime/sessions"
TRANSCRIPTION_SESSIONS = "/v1/realtime/transcription_sessions"
TRANSLATION_SECRETS = "/v1/realtime/translations/client_secrets"
CALLS = "/v1/realtime/calls"
REALTIME = "/v1/realtime"
TRANSLATIONS = "/v1/realtime/translations"
TRANSCRIBED = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}


@pytest.fixture
def api() -> Api:
    return Api(KEY)


def post(
    api: Api, path: str, body: object = None, now: float = NOW, **changed: str | None
) -> tuple[int, Any]:
    """POST this as JSON (bytes: as they are), with the key; the status and the answer."""
    given = {"content_type": "application/json", "authorization": f"Bearer {KEY}"} | changed
    headers = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    answer = api.answer("POST", path, headers, data, now)
    return answer.status, json.loads(answer.body)


def refusal(answer: tuple[int, Any]) -> tuple[int, str, str | None]:
    """Status, code and param of an error, which has OpenAI's shape."""
    status, body = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"]
    return status, body["error"]["code"], body["error"]["param"]


def issued(api: Api, session: dict[str, Any] | None = None, now: float = NOW) -> str:
    """A new secret for this session."""
    path = TRANSLATION_SECRETS if session and "type" not in session else CLIENT_SECRETS
    status, body = post(api, path, {"session": session} if session else {}, now)
    assert status == 200, body
    return str(body["value"])


def admitted(
    api: Api,
    path: str = REALTIME,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = BEARER,
    now: float = NOW,
) -> Admission:
    admission = api.admit(path, query or {}, headers, now)
    assert isinstance(admission, Admission), admission
    return admission


def turned_away(
    api: Api,
    path: str = REALTIME,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = BEARER,
    now: float = NOW,
) -> tuple[int, str, str | None]:
    answer = api.admit(path, query or {}, headers, now)
    assert isinstance(answer, HttpAnswer)
    return refusal((answer.status, json.loads(answer.body)))


def header(answer: HttpAnswer, name: str) -> str | None:
    return dict(answer.headers).get(name)


# --- Secrets ------------------------------------------------------------------------------------------


def test_secret(api: Api) -> None:
    """A secret comes with the time it is valid until, and the whole session it will open."""
    session = {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "cedar"}}}
    status, body = post(api, CLIENT_SECRETS, {"session": session})
    assert status == 200
    assert set(body) == {"value", "expires_at", "session"}
    assert body["value"].startswith("ek_")
    assert body["expires_at"] == NOW + 600
    effective = body["session"]
    assert effective["id"].startswith("sess_")
    assert (effective["object"], effective["type"]) == ("realtime.session", "realtime")
    assert (effective["model"], effective["instructions"]) == ("gpt-realtime", "Be brief.")
    assert effective["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000}, "voice": "cedar", "speed": 1.0,
    }  # fmt: skip


def test_secret_for_nothing_in_particular(api: Api) -> None:
    """Without a session, a secret opens a realtime session with the server's defaults."""
    assert post(api, CLIENT_SECRETS, {})[1]["session"]["type"] == "realtime"
    assert admitted(api, headers={"authorization": f"Bearer {issued(api)}"}).model == "gpt-realtime"


def test_secret_for_transcription(api: Api) -> None:
    """A secret for transcription shows a transcription session."""
    session = post(api, CLIENT_SECRETS, {"session": TRANSCRIBED})[1]["session"]
    assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
    assert session["audio"]["input"]["transcription"] == {"model": "whisper-1"}


def test_secret_for_translation(api: Api) -> None:
    """A secret for translation shows a translation session, with or without its type in the request."""
    for kind in ({}, {"type": "translation"}):
        session = {"model": "m", "audio": {"output": {"language": "de"}}, **kind}
        body = {"session": session, "expires_after": {"seconds": 20}}
        status, body = post(api, TRANSLATION_SECRETS, body)
        assert (status, body["expires_at"], set(body)) == (200, NOW + 20, {"value", "expires_at", "session"})
        assert set(body["session"]) == {"id", "type", "expires_at", "model", "audio"}
        assert (body["session"]["type"], body["session"]["model"]) == ("translation", "m")
        assert body["session"]["audio"]["output"] == {"language": "de"}


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
    """A body beyond the limit is refused unread."""
    assert refusal(post(api, CLIENT_SECRETS, b" " * (MOST_BODY_BYTES + 1)))[:2] == (413, "request_too_large")
    assert post(api, CLIENT_SECRETS, b"{}" + b" " * (MOST_BODY_BYTES - 2))[0] == 200


# --- Beta ---------------------------------------------------------------------------------------------


def test_beta_session(api: Api) -> None:
    """Beta's session is flat, and its secret, valid for a minute, is in it."""
    body = {"model": "m", "voice": "echo", "modalities": ["text"], "turn_detection": None, "temperature": 0.7}
    status, session = post(api, SESSIONS, body)
    assert status == 200
    assert session.items() >= body.items()
    assert (session["object"], session["input_audio_format"]) == ("realtime.session", "pcm16")
    assert not {"type", "audio", "output_modalities"} & set(session)
    assert session["client_secret"]["expires_at"] == NOW + 60
    admission = admitted(api, headers={"authorization": f"Bearer {session['client_secret']['value']}"})
    assert admission.settings
    assert admission.settings.output_modalities == ["text"]
    assert (admission.model, admission.dialect) == ("m", "ga")


def test_beta_transcription_session(api: Api) -> None:
    """Beta's transcription session likewise, valid for ten minutes."""
    body = {"input_audio_transcription": {"model": "whisper-1"}, "input_audio_format": "g711_ulaw"}
    status, session = post(api, TRANSCRIPTION_SESSIONS, body)
    assert status == 200
    assert session.items() >= body.items()
    assert session["object"] == "realtime.transcription_session"
    assert "voice" not in session
    assert session["client_secret"]["expires_at"] == NOW + 600
    secret = {"authorization": f"Bearer {session['client_secret']['value']}"}
    assert admitted(api, headers=secret).session_type == "transcription"


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


def test_sunset_beta() -> None:
    """Where Beta is switched off, it gives no sessions, and a WebSocket that asks for it is marked."""
    api = Api(KEY, sunset_beta=True)
    for path in (SESSIONS, TRANSCRIPTION_SESSIONS):
        assert refusal(post(api, path, {})) == (400, "beta_api_shape_disabled", None)
    assert admitted(api, headers={**BEARER, "openai-beta": "realtime=v1"}).sunset
    assert not admitted(api).sunset


# --- Calls --------------------------------------------------------------------------------------------


def call_post(api: Api, call_id: str, verb: str, body: object = None) -> tuple[int, Any]:
    return post(api, f"{CALLS}/{call_id}/{verb}", body)


GIVEN = {"type": "realtime", "model": "m", "instructions": "You are a receptionist."}


def test_call_from_ring_to_hangup(api: Api) -> None:
    """A call rings, is accepted, can be listened to, and is hung up: each seen by the test."""
    call_id = api.create_call()
    call = api.call(call_id)
    ended: list[str] = []
    call.on_hangup(lambda: ended.append(call.state))
    assert call_id.startswith("rtc_")
    assert (call.state, call.session, call.settings) == ("ringing", None, None)
    assert call_post(api, call_id, "accept", GIVEN) == (200, {})
    assert call.state == "accepted"
    assert call.session
    assert (call.session.model, call.session.instructions) == ("m", "You are a receptionist.")
    assert call.session.output_modalities == ["audio"]
    admission = admitted(api, query={"call_id": call_id})
    assert (admission.call, admission.settings, admission.model) == (call, call.settings, "m")
    assert admission.session_type == "realtime"
    assert not ended
    assert call_post(api, call_id, "hangup") == (200, {})
    assert ended == ["ended"]
    assert repr(call) == f"<Call {call_id} ended>"


@pytest.mark.parametrize(("body", "status"), [(None, 603), ({}, 603), ({"status_code": 486}, 486)])
def test_reject(api: Api, body: object, status: int) -> None:
    """A rejected caller gets the status given, or 603, and the call is over."""
    call = api.call(api.create_call())
    ended = threading.Event()
    call.on_hangup(ended.set)
    assert call_post(api, call.id, "reject", body)[0] == 200
    assert (call.state, call.reject_status) == ("rejected", status)
    assert ended.is_set()


@pytest.mark.parametrize("target", ["tel:+14155550123", "sip:agent@example.com", "SIPS:a@b"])
def test_refer(api: Api, target: str) -> None:
    """A transferred caller is gone: the call ends here, and the test sees where they went."""
    call = api.call(api.create_call())
    call_post(api, call.id, "accept", GIVEN)
    assert call_post(api, call.id, "refer", {"target_uri": target}) == (200, {})
    assert (call.state, call.referred_to) == ("ended", target)


VALID_BODIES = {"accept": GIVEN, "reject": {}, "hangup": None, "refer": {"target_uri": "tel:+1"}}


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ([], {"hangup": "call_not_accepted", "refer": "call_not_accepted"}),
        (["accept"], {"accept": "call_already_accepted", "reject": "call_already_accepted"}),
    ],
)
def test_call_in_the_wrong_state(api: Api, before: list[str], refused: dict[str, str]) -> None:
    """What can't be done with a call now is a 400 and changes nothing."""
    call = api.call(api.create_call())
    for verb in before:
        call_post(api, call.id, verb, VALID_BODIES[verb])
    state = call.state
    for verb, code in refused.items():
        assert refusal(call_post(api, call.id, verb, VALID_BODIES[verb])) == (400, code, None)
        assert call.state == state


@pytest.mark.parametrize("end", ["reject", "hangup", "refer", "caller"])
def test_call_that_is_over(api: Api, end: str) -> None:
    """A call that is over, in whatever way, is as unknown as one that never was."""
    call = api.call(api.create_call())
    if end in ("hangup", "refer"):
        call_post(api, call.id, "accept", GIVEN)
    if end == "caller":
        call.hang_up()
        call.hang_up()
    else:
        assert call_post(api, call.id, end, VALID_BODIES[end])[0] == 200
    for call_id in (call.id, "rtc_unknown"):
        for verb, body in VALID_BODIES.items():
            assert refusal(call_post(api, call_id, verb, body)) == (404, "call_id_not_found", None)
        assert turned_away(api, query={"call_id": call_id}) == (404, "call_id_not_found", None)


@pytest.mark.parametrize(
    ("verb", "body", "code", "param"),
    [
        ("accept", None, "unsupported_content_type", None),
        ("accept", b"", "invalid_json", None),
        ("accept", b"[]", "invalid_json", None),
        ("accept", b'{"type": "realtime"}, "event_id": "x"', "invalid_json", None),
        ("accept", {}, "missing_required_parameter", "type"),
        ("accept", {"type": "transcription"}, "invalid_value", "type"),
        ("accept", {"type": "realtime", "voice": "echo"}, "unknown_parameter", "voice"),
        ("accept", {"type": "realtime", "audio": {"x": 1}}, "unknown_parameter", "audio.x"),
        ("accept", {"type": "realtime", "tools": {}}, "invalid_type", "tools"),
        ("accept", {"type": "realtime", "tool_choice": "no"}, "invalid_value", "tool_choice"),
        ("reject", b"hello", "invalid_json", None),
        ("reject", {"status": 486}, "unknown_parameter", "status"),
        ("reject", {"status_code": "486"}, "invalid_type", "status_code"),
        ("reject", {"status_code": None}, "invalid_type", "status_code"),
        ("reject", {"status_code": 200}, "invalid_value", "status_code"),
        ("reject", {"status_code": 700}, "invalid_value", "status_code"),
        ("refer", b"", "invalid_json", None),
        ("refer", {}, "missing_required_parameter", "target_uri"),
        ("refer", {"uri": "tel:+1"}, "unknown_parameter", "uri"),
        ("refer", {"target_uri": 7}, "invalid_type", "target_uri"),
        ("refer", {"target_uri": " "}, "invalid_value", "target_uri"),
        ("refer", {"target_uri": "+14155550123"}, "invalid_value", "target_uri"),
        ("refer", {"target_uri": "tel:+1\r\nX: y"}, "invalid_value", "target_uri"),
    ],
)  # fmt: skip
def test_bad_call_request(api: Api, verb: str, body: object, code: str, param: str | None) -> None:
    """A body that is not as specified is a 400 that names the field, and the call goes on as it was."""
    call = api.call(api.create_call())
    if verb == "refer":
        call_post(api, call.id, "accept", GIVEN)
    state = call.state
    kind = None if body is None else "application/json"
    assert refusal(post(api, f"{CALLS}/{call.id}/{verb}", body, content_type=kind)) == (400, code, param)
    assert call.state == state


def test_listening_to_a_call_that_rings(api: Api) -> None:
    """A call that nobody has accepted has no session to connect to, and the answer says why."""
    answer = api.admit(REALTIME, {"call_id": api.create_call()}, BEARER, NOW)
    assert isinstance(answer, HttpAnswer)
    assert answer.status == 404
    assert b"not been accepted" in answer.body


def test_call_ids(api: Api) -> None:
    """A test may choose a call's id, once."""
    assert api.create_call("rtc_mine") == "rtc_mine"
    with pytest.raises(ValueError, match="rtc_mine"):
        api.create_call("rtc_mine")
    with pytest.raises(KeyError):
        api.call("rtc_other")


def test_hangup_callbacks(api: Api) -> None:
    """Each is called once, unless taken back; at once when the call is over; one that fails hurts nobody."""
    call = api.call(api.create_call())
    heard: list[str] = []
    call.on_hangup(lambda: heard.append("first"))
    take_back = call.on_hangup(lambda: heard.append("taken back"))
    call.on_hangup(lambda: heard.append(str(1 // 0)))
    call.on_hangup(lambda: heard.append("last"))
    take_back()
    take_back()
    call.hang_up()
    call.hang_up()
    assert heard == ["first", "last"]
    call.on_hangup(lambda: heard.append("late"))()
    assert heard == ["first", "last", "late"]


def test_hangup_callback_may_use_the_call(api: Api) -> None:
    """A callback runs outside the locks: it may look at the call, and take itself back."""
    call = api.call(api.create_call())
    done = threading.Event()

    def callback() -> None:
        take_back()
        call.on_hangup(done.set)

    take_back = call.on_hangup(callback)
    call.hang_up()
    assert done.is_set()


def test_webrtc(api: Api) -> None:
    """An SDP offer is told that there is no WebRTC here, with the key and with a secret."""
    for bearer in (KEY, issued(api)):
        answer = post(
            api, CALLS, b"v=0\r\n", content_type="application/sdp", authorization=f"Bearer {bearer}"
        )
        assert refusal(answer) == (400, "webrtc_not_supported", None)
    assert refusal(post(api, CALLS, b"v=0\r\n", authorization=None))[0] == 401


# --- Addresses and methods ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1", "/v1/nothing", "/v1/realtime/nothing", "/v1/realtime/calls/rtc_1",
     "/v1/realtime/calls/rtc_1/answer", "/v1/realtime/calls/rtc_1/accept/x", "/realtime",
     "/v1/realtime/translations/sessions", "/v1/realtime/client_secrets/x", "/caf\udce9"],
)  # fmt: skip
def test_unknown_address(api: Api, path: str) -> None:
    """What isn't there is a 404 with OpenAI's kind of body, key or no key, also for a WebSocket."""
    assert refusal(post(api, path, {})) == (404, "unknown_url", None)
    assert refusal(post(api, path, {}, authorization=None)) == (404, "unknown_url", None)
    assert turned_away(api, path) == (404, "unknown_url", None)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (CLIENT_SECRETS, "POST"),
        (SESSIONS, "POST"),
        (TRANSCRIPTION_SESSIONS, "POST"),
        (TRANSLATION_SECRETS, "POST"),
        (CALLS, "POST"),
        (f"{CALLS}/rtc_1/accept", "POST"),
        (REALTIME, "GET"),
        (TRANSLATIONS, "GET"),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_wrong_method(api: Api, path: str, allowed: str, slash: str) -> None:
    """A wrong method is a 405 that names the right one, and a wrong key comes before it."""
    for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"} - {allowed}:
        answer = api.answer(method, path + slash, BEARER, b"", NOW)
        assert (answer.status, header(answer, "allow")) == (405, allowed)
        assert api.answer(method, path + slash, {}, b"", NOW).status == 401
    if allowed == "POST":
        assert turned_away(api, path + slash)[:2] == (405, "method_not_supported")
        assert turned_away(api, path + slash, headers={})[0] == 401


@pytest.mark.parametrize("path", [REALTIME, f"{REALTIME}/", TRANSLATIONS])
def test_no_upgrade(api: Api, path: str) -> None:
    """A plain GET where a WebSocket belongs is told to upgrade."""
    answer = api.answer("GET", path, BEARER, b"", NOW)
    assert (answer.status, header(answer, "upgrade")) == (426, "websocket")
    assert refusal((answer.status, json.loads(answer.body)))[1] == "upgrade_required"


def test_every_answer_has_its_headers(api: Api) -> None:
    """Good or bad, an answer is JSON and has a request id of its own."""
    requests = [("POST", CLIENT_SECRETS, b"{}"), ("POST", CLIENT_SECRETS, b""), ("GET", "/", b"")]
    answers = [api.answer(method, path, {**BEARER, **JSON}, body, NOW) for method, path, body in requests]
    assert [answer.status for answer in answers] == [200, 400, 404]
    ids = [header(answer, "x-request-id") or "" for answer in answers]
    assert all(one.startswith("req_") for one in ids)
    assert len(set(ids)) == 3
    assert {header(answer, "content-type") for answer in answers} == {"application/json"}


# --- Keys ---------------------------------------------------------------------------------------------


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
    answer = api.answer("GET", REALTIME, headers, b"", NOW)
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
        assert api.answer("POST", CLIENT_SECRETS, {**headers, **JSON}, b"{}", NOW).status == 200
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
    assert api.answer("POST", CLIENT_SECRETS, {**headers, **JSON}, b"{}", NOW).status == 200


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


# --- Admission ----------------------------------------------------------------------------------------

BETA_HEADER = {"openai-beta": "assistants=v2, realtime=v1"}


@pytest.mark.parametrize(
    ("path", "query", "extra", "expected"),
    [
        (REALTIME, {}, {}, Admission("realtime", "gpt-realtime")),
        (f"{REALTIME}/", {"model": "m", "other": "x"}, {}, Admission("realtime", "m")),
        (REALTIME, {"model": ""}, {}, Admission("realtime", "gpt-realtime")),
        (REALTIME, {"intent": "transcription"}, {}, Admission("transcription", "gpt-realtime")),
        (REALTIME, {"intent": "conversation"}, {}, Admission("realtime", "gpt-realtime")),
        (TRANSLATIONS, {}, {}, Admission("translation", "gpt-realtime-translate")),
        (f"{TRANSLATIONS}/", {"model": "m"}, {}, Admission("translation", "m")),
        (REALTIME, {}, BETA_HEADER, Admission("realtime", "gpt-realtime", "beta")),
        (REALTIME, {}, {"openai-beta": "realtime=v2"}, Admission("realtime", "gpt-realtime")),
        (TRANSLATIONS, {"model": "m"}, BETA_HEADER, Admission("translation", "m")),
        (REALTIME, {"call_id": ""}, {}, Admission("realtime", "gpt-realtime")),
        (REALTIME, {}, {"sec-websocket-protocol": "chat, realtime"},
         Admission("realtime", "gpt-realtime", subprotocol="realtime")),
        (REALTIME, {}, {"sec-websocket-protocol": "chat"}, Admission("realtime", "gpt-realtime")),
    ],
)  # fmt: skip
def test_admission(
    api: Api, path: str, query: dict[str, str], extra: dict[str, str], expected: Admission
) -> None:
    """The address, the query and the headers say which session is opened, in which dialect."""
    assert admitted(api, path, query, {**BEARER, **extra}) == expected


@pytest.mark.parametrize(
    ("offered", "chosen", "dialect"),
    [
        ("realtime, {key}", "realtime", "ga"),
        ("{key},realtime", "realtime", "ga"),
        ("{key}", None, "ga"),
        ("realtime, {key}, openai-beta.realtime-v1", "realtime", "beta"),
        ("openai-beta.realtime-v1, {key}", "openai-beta.realtime-v1", "beta"),
    ],
)
def test_browser(api: Api, offered: str, chosen: str | None, dialect: str) -> None:
    """A browser brings the key, or a secret, and the dialect as subprotocols; the key is never chosen."""
    for key in (KEY, issued(api)):
        protocols = offered.format(key=f"openai-insecure-api-key.{key}")
        admission = admitted(api, headers={"sec-websocket-protocol": protocols})
        assert (admission.subprotocol, admission.dialect) == (chosen, dialect)
    wrong = offered.format(key="openai-insecure-api-key.sk-wrong")
    assert turned_away(api, headers={"sec-websocket-protocol": wrong})[0] == 401


def test_header_before_subprotocol(api: Api) -> None:
    """Where both bring a key, the header's counts."""
    right, wrong = f"openai-insecure-api-key.{KEY}", "openai-insecure-api-key.sk-wrong"
    assert turned_away(api, headers={"authorization": "Bearer x", "sec-websocket-protocol": right})[0] == 401
    admitted(api, headers={**BEARER, "sec-websocket-protocol": wrong})


@pytest.mark.parametrize("api_key", [KEY, None])
def test_secret_until_it_expires(api_key: str | None) -> None:
    """A secret opens any number of sessions until its last second, then none, and the refusal says why."""
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


REALTIME_SECRET = {"type": "realtime", "model": "m", "instructions": "x"}
UNNAMED_SECRET = {"type": "realtime", "instructions": "x"}
TRANSLATION_SECRET = {"model": "m", "audio": {"output": {"language": "de"}}}


@pytest.mark.parametrize(
    ("session", "path", "query", "kind", "model"),
    [
        (REALTIME_SECRET, REALTIME, {}, "realtime", "m"),
        (REALTIME_SECRET, REALTIME, {"model": "m"}, "realtime", "m"),
        (UNNAMED_SECRET, REALTIME, {"model": "other"}, "realtime", "other"),
        (UNNAMED_SECRET, REALTIME, {}, "realtime", "gpt-realtime"),
        (TRANSCRIBED, REALTIME, {}, "transcription", "whisper-1"),
        (TRANSCRIBED, REALTIME, {"intent": "transcription"}, "transcription", "whisper-1"),
        (TRANSCRIBED, REALTIME, {"model": "whisper-1"}, "transcription", "whisper-1"),
        ({"type": "transcription"}, REALTIME, {}, "transcription", "gpt-realtime"),
        (TRANSLATION_SECRET, TRANSLATIONS, {}, "translation", "m"),
    ],
)
def test_secret_brings_its_session(
    api: Api, session: dict[str, Any], path: str, query: dict[str, str], kind: str, model: str
) -> None:
    """The session that a secret was made for is the one that it opens."""
    admission = admitted(api, path, query, {"authorization": f"Bearer {issued(api, session)}"})
    assert (admission.session_type, admission.model) == (kind, model)
    assert msgspec.to_builtins(admission.settings) == {"type": kind, **session}


@pytest.mark.parametrize(
    ("session", "path", "query", "param"),
    [
        (REALTIME_SECRET, REALTIME, {"model": "other"}, "model"),
        (REALTIME_SECRET, REALTIME, {"intent": "transcription"}, "intent"),
        (REALTIME_SECRET, TRANSLATIONS, {}, None),
        (REALTIME_SECRET, REALTIME, {"call_id": "rtc_1"}, "call_id"),
        (TRANSCRIBED, REALTIME, {"model": "gpt-realtime"}, "model"),
        (TRANSCRIBED, TRANSLATIONS, {}, None),
        (TRANSLATION_SECRET, REALTIME, {}, None),
        (TRANSLATION_SECRET, TRANSLATIONS, {"model": "other"}, "model"),
    ],
)
def test_secret_for_another_session(
    api: Api, session: dict[str, Any], path: str, query: dict[str, str], param: str | None
) -> None:
    """An address that asks for another session than the secret's is a 400: it is a mistake."""
    headers = {"authorization": f"Bearer {issued(api, session)}"}
    assert turned_away(api, path, query, headers) == (400, "invalid_value", param)


def test_call_for_another_session(api: Api) -> None:
    """The same for a call, whose session is the one that it was accepted with."""
    call_id = api.create_call()
    call_post(api, call_id, "accept", GIVEN)
    assert turned_away(api, query={"call_id": call_id, "model": "x"})[2] == "model"
    assert turned_away(api, query={"call_id": call_id, "intent": "transcription"})[2] == "intent"
    assert admitted(api, query={"call_id": call_id}).call is admitted(api, query={"call_id": call_id}).call


# --- Bounds and threads -------------------------------------------------------------------------------


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


def test_calls_are_bounded() -> None:
    """At most 10,000 calls are kept: the oldest that is over goes first, or else the oldest, hung up."""
    calls = Calls()
    first, second, third = calls.create(), calls.create(), calls.create()
    second.hang_up()
    for _ in range(9_997):
        calls.create()
    calls.create()
    assert calls.find(first.id) is first
    with pytest.raises(Declined):
        calls.find(second.id)
    calls.create()
    assert (first.state, third.state) == ("ended", "ringing")
    with pytest.raises(Declined):
        calls.find(first.id)


def test_threads(api: Api) -> None:
    """Secrets and calls can be made and used by many threads at once; one of them gets to accept a call."""
    call_id = api.create_call()
    statuses: list[int] = []
    secrets: list[str] = []

    def work() -> None:
        for _ in range(20):
            secret = issued(api)
            admitted(api, headers={"authorization": f"Bearer {secret}"})
            secrets.append(secret)
        statuses.append(call_post(api, call_id, "accept", GIVEN)[0])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert sorted(statuses) == [200] + [400] * 7
    assert len(set(secrets)) == 160


# --- Anything -----------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["type", "session", "expires_after", "seconds", "anchor", "model", "audio", "input", "output", "tools",
     "voice", "client_secret", "turn_detection", "transcription", "target_uri", "status_code", "format"]
) | st.text(max_size=4)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["realtime", "transcription", "translation", "created_at", "tel:+1", "server_vad"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
BODIES = st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode())
PATHS = st.text(max_size=20) | st.sampled_from(
    [CLIENT_SECRETS, SESSIONS, TRANSCRIPTION_SESSIONS, TRANSLATION_SECRETS, CALLS, REALTIME, TRANSLATIONS,
     f"{CALLS}/rtc_1/accept", f"{CALLS}/rtc_1/reject", f"{CALLS}/rtc_1/refer", f"{CALLS}/rtc_2/hangup"]
)  # fmt: skip
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.sampled_from([f"Bearer {KEY}"] * 4 + ["Bearer ek_1"]) | st.text(max_size=9),
        "content-type": st.sampled_from(["application/json"] * 4 + ["application/sdp"]) | st.text(max_size=9),
        "openai-beta": st.sampled_from(["realtime=v1"]) | st.text(max_size=9),
        "sec-websocket-protocol": st.sampled_from(["realtime", f"openai-insecure-api-key.{KEY}"])
        | st.text(max_size=9),
    },
)
METHODS = st.sampled_from(["POST"] * 6 + ["GET", "PUT"]) | st.text(max_size=5)


def check_answer(answer: HttpAnswer) -> None:
    assert isinstance(answer, HttpAnswer)
    assert answer.status in {200, 400, 401, 404, 405, 426}
    assert (header(answer, "x-request-id") or "").startswith("req_")
    body = json.loads(answer.body)
    assert ("error" in body) == (answer.status != 200)
    if answer.status != 200:
        refusal((answer.status, body))


@given(METHODS, PATHS, HEADERS, BODIES)
def test_any_request(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """Whatever is asked, the answer is well formed."""
    for api_key in (KEY, None):
        api = Api(api_key)
        api.create_call("rtc_1")
        check_answer(api.answer(method, path, headers, body, NOW))


@given(PATHS, st.dictionaries(st.sampled_from(["model", "intent", "call_id"]), st.text(max_size=9)), HEADERS)
def test_any_upgrade(path: str, query: dict[str, str], headers: dict[str, str]) -> None:
    """Whatever wants to connect is let in or gets a well-formed answer."""
    for api_key in (KEY, None):
        answer = Api(api_key).admit(path, query, headers, NOW)
        if not isinstance(answer, Admission):
            check_answer(answer)


# --- Over sockets -------------------------------------------------------------------------------------

DEADLINE = 60.0


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(api_key=KEY) as server:
        yield server


def ask(
    server: LocalServer, method: str, path: str, body: object = None, key: str = KEY
) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no proxy, no netrc
        url, headers = f"{server.http_url}{path}", {"Authorization": f"Bearer {key}"}
        return session.request(method, url, json=body, headers=headers, timeout=DEADLINE)


def secret_from(server: LocalServer, path: str, body: object) -> str:
    answer = ask(server, "POST", path, body)
    assert answer.status_code == 200, answer.text
    return str(answer.json().get("value") or answer.json()["client_secret"]["value"])


def opened(session: rt.Session) -> SessionConfig:
    event = session.next_event(timeout=DEADLINE)
    assert isinstance(event, rt.events.SessionCreated)
    return event.session


def connected(server: LocalServer, **options: Any) -> rt.Session:
    return rt.connect(base_url=server.url, **options)


def test_secret_opens_its_session(server: LocalServer) -> None:
    """What a backend gets a secret for is what a client with it begins with."""
    given = {"type": "realtime", "model": "m", "instructions": "Be brief.", "output_modalities": ["text"]}
    secret = secret_from(server, "/realtime/client_secrets", {"session": given})
    for _ in range(2):
        with connected(server, api_key=secret) as session:
            created = opened(session)
            assert (created.model, created.instructions) == ("m", "Be brief.")
            assert created.output_modalities == ["text"]
            assert created.id
            assert created.expires_at


def test_secret_for_transcription_opens_one(server: LocalServer) -> None:
    """A transcription secret opens a transcription session, whatever the address says or leaves out."""
    secret = secret_from(server, "/realtime/client_secrets", {"session": TRANSCRIBED})
    for query in ({}, {"intent": "transcription"}):
        with connected(server, api_key=secret, query=query) as session:
            assert opened(session).type == "transcription"


def test_secret_for_translation_opens_one(server: LocalServer) -> None:
    """A translation secret opens a translation session at its address, and nothing else."""
    secret = secret_from(server, "/realtime/translations/client_secrets", {"session": TRANSLATION_SECRET})
    options: Any = {"header": [f"Authorization: Bearer {secret}"], "timeout": DEADLINE}
    peer = websocket.create_connection(f"{server.url}/realtime/translations", **options)
    created = json.loads(peer.recv())
    peer.close()
    assert (created["type"], created["session"]["type"]) == ("session.created", "translation")
    assert created["session"]["audio"]["output"]["language"] == "de"
    with pytest.raises(rt.ConnectionFailed) as caught:
        connected(server, api_key=secret)
    assert caught.value.status == 400


def test_beta_secret_opens_a_beta_session(server: LocalServer) -> None:
    """A session made over Beta's HTTP is what a Beta client with its secret finds."""
    secret = secret_from(server, "/realtime/sessions", {"voice": "echo", "modalities": ["text"]})
    with connected(server, api_key=secret, dialect="beta") as session:
        created = opened(session)
        assert (created.voice, created.modalities) == ("echo", ["text"])


def test_browser_handshake(server: LocalServer) -> None:
    """A browser's handshake with its secret as a subprotocol is accepted, and the secret not sent back."""
    secret = secret_from(server, "/realtime/client_secrets", {})
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
        sock.sendall(
            b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nOrigin: https://example.com\r\n"
            b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key." + secret.encode() + b"\r\n\r\n"
        )
        answer = b""
        while b"session.created" not in answer:
            more = sock.recv(65_536)
            assert more, answer
            answer += more
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101")
    assert b"sec-websocket-protocol: realtime" in head.split(b"\r\n")
    assert secret.encode() not in answer


def test_turned_away_before_the_upgrade(server: LocalServer) -> None:
    """Who may not come in learns it from the HTTP answer: status, request id, OpenAI's error."""
    for key, query, status in [
        ("sk-wrong", {}, 401),
        ("ek_wrong", {}, 401),
        (KEY, {"call_id": "rtc_1"}, 404),
    ]:
        with pytest.raises(rt.ConnectionFailed) as caught:
            connected(server, api_key=key, query=query)
        assert caught.value.status == status
        assert caught.value.headers["x-request-id"].startswith("req_")
        assert json.loads(caught.value.body)["error"]["type"] == "invalid_request_error"


def test_call_over_http(server: LocalServer) -> None:
    """A call that is accepted is listened to over WebSockets, which end with the call."""
    call_id = server.create_call()
    accept = ask(server, "POST", f"/realtime/calls/{call_id}/accept", GIVEN)
    assert (accept.status_code, server.call(call_id).state) == (200, "accepted")
    sessions = [connected(server, api_key=KEY, query={"call_id": call_id}) for _ in range(2)]
    for session in sessions:
        assert opened(session).instructions == GIVEN["instructions"]
    assert ask(server, "POST", f"/realtime/calls/{call_id}/hangup").status_code == 200
    for session in sessions:
        with pytest.raises(rt.ConnectionClosed) as caught:
            session.next_event(timeout=DEADLINE)
        assert (caught.value.code, caught.value.clean) == (1000, True)
        session.close()
    assert ask(server, "POST", f"/realtime/calls/{call_id}/hangup").status_code == 404
    with pytest.raises(rt.ConnectionFailed) as gone:
        connected(server, api_key=KEY, query={"call_id": call_id})
    assert gone.value.status == 404


def test_caller_hangs_up(server: LocalServer) -> None:
    """When a test hangs up for the caller, the program's session ends."""
    call = server.call(server.create_call())
    ask(server, "POST", f"/realtime/calls/{call.id}/accept", GIVEN)
    with connected(server, api_key=KEY, query={"call_id": call.id}) as session:
        opened(session)
        call.hang_up()
        assert list(session) == []


def test_reject_and_refer_over_http(server: LocalServer) -> None:
    """The other two verbs, as a client sends them."""
    rejected, referred = server.call(server.create_call()), server.call(server.create_call())
    assert ask(server, "POST", f"/realtime/calls/{rejected.id}/reject").status_code == 200
    assert rejected.reject_status == 603
    ask(server, "POST", f"/realtime/calls/{referred.id}/accept", GIVEN)
    body = {"target_uri": "tel:+14155550123"}
    assert ask(server, "POST", f"/realtime/calls/{referred.id}/refer", body).status_code == 200
    assert referred.referred_to == body["target_uri"]


def test_plain_requests_over_http(server: LocalServer) -> None:
    """Refusals arrive whole: status, headers and body."""
    for method, path, status, name, value in [
        ("GET", "/realtime", 426, "upgrade", "websocket"),
        ("GET", "/realtime/client_secrets", 405, "allow", "POST"),
        ("HEAD", "/realtime/sessions", 405, "allow", "POST"),
        ("POST", "/nothing", 404, "content-type", "application/json"),
        ("POST", "/realtime/client_secrets", 400, "content-type", "application/json"),
    ]:
        answer = ask(server, method, path)
        assert (answer.status_code, answer.headers[name]) == (status, value)
        assert answer.headers["x-request-id"].startswith("req_")
        assert method == "HEAD" or set(answer.json()) == {"error"}
