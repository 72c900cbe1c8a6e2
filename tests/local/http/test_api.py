"""HTTP beside the WebSocket: secrets and admission, as pure functions, then over sockets."""

import json
import socket
import threading
from typing import Any

import msgspec
import pytest
import websocket
from api_calls import (
    BEARER,
    CALLS,
    CLIENT_SECRETS,
    DEADLINE,
    GIVEN,
    KEY,
    NOW,
    REALTIME,
    SESSIONS,
    TRANSCRIBED,
    TRANSCRIPTION_SESSIONS,
    TRANSLATION_SECRETS,
    TRANSLATIONS,
    admitted,
    ask,
    call_post,
    connected,
    header,
    issued,
    opened,
    post,
    refusal,
    turned_away,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import realtime_sync as rt
from realtime_sync.local import LocalServer
from realtime_sync.local.http.answers import HttpAnswer
from realtime_sync.local.http.api import Admission, Api


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
    assert admitted(api, headers={"authorization": f"Bearer {issued(api)}"}).model is None


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


def test_sunset_beta() -> None:
    """Where Beta is switched off, it gives no sessions, and a WebSocket that asks for it is marked."""
    api = Api(KEY, sunset_beta=True)
    for path in (SESSIONS, TRANSCRIPTION_SESSIONS):
        assert refusal(post(api, path, {})) == (400, "beta_api_shape_disabled", None)
    assert admitted(api, headers={**BEARER, "openai-beta": "realtime=v1"}).sunset
    assert not admitted(api).sunset


def test_webrtc(api: Api) -> None:
    """An SDP offer is told that there is no WebRTC here, with the key and with a secret."""
    for bearer in (KEY, issued(api)):
        answer = post(
            api, CALLS, b"v=0\r\n", content_type="application/sdp", authorization=f"Bearer {bearer}"
        )
        assert refusal(answer) == (400, "webrtc_not_supported", None)
    assert refusal(post(api, CALLS, b"v=0\r\n", authorization=None))[0] == 401


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
        answer = api.answer(method, path + slash, BEARER, lambda: b"", NOW)
        assert (answer.status, header(answer, "allow")) == (405, allowed)
        assert api.answer(method, path + slash, {}, lambda: b"", NOW).status == 401
    if allowed == "POST":
        assert turned_away(api, path + slash)[:2] == (405, "method_not_supported")
        assert turned_away(api, path + slash, headers={})[0] == 401


@pytest.mark.parametrize("path", [REALTIME, f"{REALTIME}/", TRANSLATIONS])
def test_no_upgrade(api: Api, path: str) -> None:
    """A plain GET where a WebSocket belongs is told to upgrade."""
    answer = api.answer("GET", path, BEARER, lambda: b"", NOW)
    assert (answer.status, header(answer, "upgrade")) == (426, "websocket")
    assert refusal((answer.status, json.loads(answer.body)))[1] == "upgrade_required"


BETA_HEADER = {"openai-beta": "assistants=v2, realtime=v1"}


@pytest.mark.parametrize(
    ("path", "query", "extra", "expected"),
    [
        (REALTIME, {}, {}, Admission("realtime")),
        (f"{REALTIME}/", {"model": "m", "other": "x"}, {}, Admission("realtime", "m")),
        (REALTIME, {"model": ""}, {}, Admission("realtime")),
        (REALTIME, {"intent": "transcription"}, {}, Admission("transcription")),
        (REALTIME, {"intent": "conversation"}, {}, Admission("realtime")),
        (TRANSLATIONS, {}, {}, Admission("translation")),
        (f"{TRANSLATIONS}/", {"model": "m"}, {}, Admission("translation", "m")),
        (REALTIME, {}, BETA_HEADER, Admission("realtime", None, "beta")),
        (REALTIME, {}, {"openai-beta": "realtime=v2"}, Admission("realtime")),
        (TRANSLATIONS, {"model": "m"}, BETA_HEADER, Admission("translation", "m")),
        (REALTIME, {"call_id": ""}, {}, Admission("realtime")),
        (REALTIME, {}, {"sec-websocket-protocol": "chat, realtime"},
         Admission("realtime", subprotocol="realtime")),
        (REALTIME, {}, {"sec-websocket-protocol": "chat"}, Admission("realtime")),
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


REALTIME_SECRET = {"type": "realtime", "model": "m", "instructions": "x"}


UNNAMED_SECRET = {"type": "realtime", "instructions": "x"}


TRANSLATION_SECRET = {"model": "m", "audio": {"output": {"language": "de"}}}


@pytest.mark.parametrize(
    ("session", "path", "query", "kind", "model"),
    [
        (REALTIME_SECRET, REALTIME, {}, "realtime", "m"),
        (REALTIME_SECRET, REALTIME, {"model": "m"}, "realtime", "m"),
        (UNNAMED_SECRET, REALTIME, {"model": "other"}, "realtime", "other"),
        (UNNAMED_SECRET, REALTIME, {}, "realtime", None),
        (TRANSCRIBED, REALTIME, {}, "transcription", "whisper-1"),
        (TRANSCRIBED, REALTIME, {"intent": "transcription"}, "transcription", "whisper-1"),
        (TRANSCRIBED, REALTIME, {"model": "whisper-1"}, "transcription", "whisper-1"),
        ({"type": "transcription"}, REALTIME, {}, "transcription", None),
        (TRANSLATION_SECRET, TRANSLATIONS, {}, "translation", "m"),
    ],
)
def test_secret_brings_its_session(
    api: Api, session: dict[str, Any], path: str, query: dict[str, str], kind: str, model: str | None
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
@settings(max_examples=20, deadline=None)
def test_any_request(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """Whatever is asked, the answer is well formed."""
    for api_key in (KEY, None):
        api = Api(api_key)
        api.create_call("rtc_1")
        check_answer(api.answer(method, path, headers, lambda: body, NOW))


@given(PATHS, st.dictionaries(st.sampled_from(["model", "intent", "call_id"]), st.text(max_size=9)), HEADERS)
@settings(max_examples=20, deadline=None)
def test_any_upgrade(path: str, query: dict[str, str], headers: dict[str, str]) -> None:
    """Whatever wants to connect is let in or gets a well-formed answer."""
    for api_key in (KEY, None):
        answer = Api(api_key).admit(path, query, headers, NOW)
        if not isinstance(answer, Admission):
            check_answer(answer)


def secret_from(server: LocalServer, path: str, body: object) -> str:
    answer = ask(server, "POST", path, body)
    assert answer.status_code == 200, answer.text
    return str(answer.json().get("value") or answer.json()["client_secret"]["value"])


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
