"""`resources`: each call as it is sent, and what is made of its answer."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import responses
import trustme
from http_api import BETA, CREATED, OFFER, SECRETS, URL, Open, failure
from secrets_watch import API_KEY, CLIENT_SECRET

import realtime_sync as rt
from realtime_sync.events import (
    AudioConfig,
    AudioOutputConfig,
    FunctionTool,
    ServerVad,
    SessionConfig,
)
from realtime_sync.local import LocalServer
from realtime_sync.rest.resources import Call, ClientSecretCreated, Rest

ANSWER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=answer\r\n"


def body_of(call: Any) -> Any:
    return json.loads(call.request.body)


# --- Each call --------------------------------------------------------------------------------------


STRUCT = SessionConfig(
    model="m",
    audio=AudioConfig(output=AudioOutputConfig(voice="ash")),
    tools=[FunctionTool(name="f")],
    tracing=None,
)
WRITTEN = {
    "model": "m",
    "audio": {"output": {"voice": "ash"}},
    "tools": [{"type": "function", "name": "f"}],
    "tracing": None,
}


@pytest.mark.parametrize(
    ("path", "call", "sent", "answer"),
    [
        ("client_secrets", lambda r: r.client_secrets.create(), {}, CREATED),
        (
            "client_secrets",
            lambda r: r.client_secrets.create(session=STRUCT, expires_after=10),
            {
                "session": {"type": "realtime", **WRITTEN},
                "expires_after": {"anchor": "created_at", "seconds": 10},
            },
            CREATED,
        ),
        (
            "client_secrets",
            lambda r: r.client_secrets.create(session={"type": "transcription", "new": STRUCT}),
            {"session": {"type": "transcription", "new": WRITTEN}},
            CREATED,
        ),
        (
            "client_secrets",
            lambda r: r.client_secrets.create(session=SessionConfig(type="transcription")),
            {"session": {"type": "transcription"}},
            CREATED,
        ),
        (
            "translations/client_secrets",
            lambda r: r.translations.client_secrets.create("t", language="de", expires_after=7200),
            {
                "session": {"model": "t", "audio": {"output": {"language": "de"}}},
                "expires_after": {"anchor": "created_at", "seconds": 7200},
            },
            CREATED,
        ),
        (
            "translations/client_secrets",
            lambda r: r.translations.client_secrets.create(model="t"),
            {"session": {"model": "t"}},
            CREATED,
        ),
        (
            "translations/client_secrets",
            lambda r: r.translations.client_secrets.create(session={"model": "t", "audio": {}}),
            {"session": {"model": "t", "audio": {}}},
            CREATED,
        ),
        (
            "sessions",
            lambda r: r.sessions.create(model="m", voice="ash", turn_detection=None, tools=[{"x": 1}]),
            {"model": "m", "voice": "ash", "turn_detection": None, "tools": [{"x": 1}]},
            BETA,
        ),
        ("sessions", lambda r: r.sessions.create(SessionConfig(voice="ash")), {"voice": "ash"}, BETA),
        ("sessions", lambda r: r.sessions.create(), {}, BETA),
        (
            "transcription_sessions",
            lambda r: r.transcription_sessions.create(
                input_audio_format="pcm16", turn_detection=ServerVad(threshold=0.5)
            ),
            {"input_audio_format": "pcm16", "turn_detection": {"type": "server_vad", "threshold": 0.5}},
            BETA,
        ),
        (
            "transcription_sessions",
            lambda r: r.transcription_sessions.create({"include": []}),
            {"include": []},
            BETA,
        ),
        (
            "calls/rtc_1/accept",
            lambda r: r.calls.accept("rtc_1", model="m", instructions="Be brief."),
            {"type": "realtime", "model": "m", "instructions": "Be brief."},
            None,
        ),
        (
            "calls/rtc_1/accept",
            lambda r: r.calls.accept("rtc_1", session=STRUCT),
            {"type": "realtime", **WRITTEN},
            None,
        ),
        (
            "calls/rtc_1/accept",
            lambda r: r.calls.accept("rtc_1", session={"model": "m"}),
            {"type": "realtime", "model": "m"},
            None,
        ),
        (
            "calls/rtc_1/accept",
            lambda r: r.calls.accept("rtc_1", type="other"),
            {"type": "other"},
            None,
        ),
        ("calls/a%2Fb%3Fc%25/hangup", lambda r: r.calls.hangup("a/b?c%"), None, None),
        ("calls/rtc_1/reject", lambda r: r.calls.reject("rtc_1"), None, None),
        ("calls/rtc_1/reject", lambda r: r.calls.reject("rtc_1", 486), {"status_code": 486}, None),
        (
            "calls/rtc_1/refer",
            lambda r: r.calls.refer("rtc_1", "tel:+14155550123"),
            {"target_uri": "tel:+14155550123"},
            None,
        ),
    ],
)
def test_request(
    path: str, call: Callable[[Rest], Any], sent: Any, answer: Any, api: responses.RequestsMock, rest: Rest
) -> None:
    """Each call posts to its own path, as the specification has it, and returns what came back, typed."""
    api.post(f"{URL}/{path}", json=answer) if answer else api.post(f"{URL}/{path}", body=b"")
    result = call(rest)
    request = api.calls[0].request
    assert (request.method, request.url) == ("POST", f"{URL}/{path}")
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["authorization"] == f"Bearer {API_KEY}"
    assert headers["accept"] == "application/json"
    if sent is None:
        assert not request.body
        assert "content-type" not in headers
    else:
        assert body_of(api.calls[0]) == sent
        assert headers["content-type"] == "application/json"
    if answer is None:
        assert result is None
    elif answer is CREATED:
        expected = SessionConfig(type="realtime", object="realtime.session", id="sess_1", model="m")
        assert result == ClientSecretCreated(value=CLIENT_SECRET, expires_at=1756310470, session=expected)
    else:
        assert isinstance(result, SessionConfig)
        assert (result.client_secret.value, result.client_secret.expires_at) == (CLIENT_SECRET, 7)  # type: ignore[union-attr]
    if result is not None:
        assert CLIENT_SECRET not in repr(result)


def test_a_call(api: responses.RequestsMock, rest: Rest) -> None:
    """Without settings, the offer is the body; the id is in the answer's Location."""
    api.post(f"{URL}/calls", body=ANSWER, status=201, headers={"Location": "/v1/realtime/calls/rtc_7"})
    call = rest.calls.create(OFFER)
    assert call == Call(id="rtc_7", sdp=ANSWER)
    request = api.calls[0].request
    assert request.body == OFFER.encode()
    assert request.headers["Content-Type"] == "application/sdp"
    assert request.headers["Accept"] == "application/sdp"


def test_a_call_with_a_session(api: responses.RequestsMock, rest: Rest) -> None:
    """With settings, offer and settings are two parts of a form, each with its type."""
    api.post(f"{URL}/calls", body=ANSWER, status=201)
    rest.calls.create(OFFER, session=STRUCT)
    request = api.calls[0].request
    kind, _, boundary = request.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    settings = json.dumps({"type": "realtime", **WRITTEN}, separators=(",", ":"))
    expected = {
        "sdp": ("application/sdp", OFFER),
        "session": ("application/json", json.loads(settings)),
    }
    *parts, end = request.body.decode().split(f"--{boundary}")[1:]  # type: ignore[union-attr]
    assert end == "--\r\n"
    found = {}
    for part in parts:
        head, _, content = part.removeprefix("\r\n").removesuffix("\r\n").partition("\r\n\r\n")
        name, content_type = head.split("\r\n")
        name = name.removeprefix('Content-Disposition: form-data; name="').removesuffix('"')
        content_type = content_type.removeprefix("Content-Type: ")
        found[name] = (content_type, json.loads(content) if "json" in content_type else content)
    assert found == expected


@pytest.mark.parametrize(
    ("location", "call_id"),
    [
        ("https://api.openai.com/v1/realtime/calls/rtc_7/?x=1", "rtc_7"),
        ("rtc_7", "rtc_7"),
        ("/v1/realtime/calls/a%2Fb", "a/b"),
        (None, ""),
    ],
)
def test_the_id_of_a_call(
    location: str | None, call_id: str, api: responses.RequestsMock, rest: Rest
) -> None:
    """However a server writes the Location, the id is its last part; without one there is no id."""
    headers = {} if location is None else {"Location": location}
    api.post(f"{URL}/calls", body=ANSWER, status=201, headers=headers)
    assert rest.calls.create(OFFER).id == call_id


# --- Answers that are not as they should be ---------------------------------------------------------


def test_deviations(
    api: responses.RequestsMock,
    rest: Rest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What fits of an answer is kept; what doesn't is logged, once."""
    monkeypatch.setattr("realtime_sync.rest.resources._reported", set())
    odd = {"value": CLIENT_SECRET, "expires_at": 1.5e9, "session": {"model": 7, "tools": [{"type": "new"}]}}
    api.post(SECRETS, body=json.dumps({**odd, "x": float("nan")}))
    for _ in range(2):
        created = rest.client_secrets.create()
        assert created.expires_at == 1500000000
        assert isinstance(created.session.tools, list)
        assert created.session.tools[0] == rt.UnknownObject({"type": "new"})
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    start = "an answer deviates from the specification: ClientSecretCreated"
    assert warnings == [f"{start}: not strict JSON", f"{start}.session.model: unexpected number"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "''"),
        (b"{", "'{'"),
        (b"[1]", "'[1]'"),
        (b'"text"', """'"text"'"""),
        (b"x" * 1000, repr("x" * 200)),
        (b"\xff\xfe", repr("\ufffd\ufffd")),
        (b"[" * 100_000, repr("[" * 200)),
        (b"<html><head><title>Hi</title><body>Log &amp; in</html>", "'Hi Log & in'"),
        (b'["' + CLIENT_SECRET.encode() + b'"]', """'["***"]'"""),
    ],
)
def test_not_json(body: bytes, says: str, api: responses.RequestsMock, rest: Rest) -> None:
    """A success that is something else than JSON is an error, which shows how it begins."""
    api.post(SECRETS, body=body, headers={"x-request-id": "req_1"})
    error = failure(rt.APIError, rest.client_secrets.create)
    assert str(error) == f"HTTP 200: the answer is not a JSON object: {says} (request req_1)"


@pytest.mark.parametrize("body", [{}, {"value": ""}, {"value": None, "expires_at": 1}])
def test_no_secret(body: Any, api: responses.RequestsMock, rest: Rest) -> None:
    """An answer without a secret is an error, not an empty secret."""
    api.post(SECRETS, json=body)
    api.post(f"{URL}/sessions", json=body)
    api.post(f"{URL}/transcription_sessions", json={"client_secret": body})
    for call in (rest.client_secrets.create, rest.sessions.create, rest.transcription_sessions.create):
        assert "the answer has no client secret" in str(failure(rt.APIError, call))


def test_no_sdp(api: responses.RequestsMock, rest: Rest) -> None:
    """An answer to an offer that is no SDP is an error."""
    api.post(f"{URL}/calls", body="<b>Hello</b>", status=201)
    error = failure(rt.APIError, lambda: rest.calls.create(OFFER))
    assert "the answer is not SDP: 'Hello'" in str(error)


# --- Against the local server -----------------------------------------------------------------------


@pytest.fixture
def local() -> Iterator[LocalServer]:
    with LocalServer(api_key=API_KEY) as server:
        yield server


def test_a_secret_opens_a_session(local: LocalServer, open_client: Open) -> None:
    """A secret made over HTTP opens a session that has its settings."""
    client = open_client(base_url=local.http_url)
    created = client.client_secrets.create(
        session=SessionConfig(model="gpt-realtime", instructions="Hum."), expires_after=60
    )
    assert created.session.instructions == "Hum."
    assert 0 < created.expires_at - time.time() <= 61
    with rt.Client(base_url=local.url, api_key=created.value).connect() as session:
        assert session.config is not None
        assert session.config.instructions == "Hum."


def test_the_other_secrets(local: LocalServer, open_client: Open) -> None:
    """Secrets for transcription, translation and Beta are made, and open their kind of session."""
    client = open_client(base_url=local.url)
    secret = client.client_secrets.create(session={"type": "transcription"})
    with client.connect(client_secret=secret.value) as session:
        assert session.config is not None
        assert session.config.type == "transcription"
    secret = client.translations.client_secrets.create("gpt-realtime-translate", language="de")
    with client.connect(translation=True, client_secret=secret.value) as session:
        assert session.config is not None
        assert session.config.type == "translation"
    for beta in (client.sessions.create(voice="ash"), client.transcription_sessions.create()):
        assert beta.client_secret
        client.connect(client_secret=beta.client_secret.value, dialect="beta").close()


def test_calls(local: LocalServer, open_client: Open) -> None:
    """A phone call is accepted, joined by its id, and hung up; others are rejected and transferred."""
    client = open_client(base_url=local.http_url)
    call_id = local.create_call()
    client.calls.accept(call_id, model="gpt-realtime", instructions="Hum.")
    with client.connect(call_id=call_id) as session:
        assert session.config is not None
        assert session.config.instructions == "Hum."
        client.calls.hangup(call_id)
    error = failure(rt.NotFoundError, lambda: client.calls.hangup(call_id))
    assert error.code == "call_id_not_found"
    assert error.request_id.startswith("req_")

    call_id = local.create_call("a?b%")
    error = failure(rt.BadRequestError, lambda: client.calls.refer(call_id, "tel:+1"))
    assert error.code == "call_not_accepted"
    client.calls.accept(call_id)
    client.calls.refer(call_id, "sip:agent@example.com")

    call_id = local.create_call()
    client.calls.reject(call_id, 486)
    call_id = local.create_call()
    client.calls.reject(call_id)
    call_id = local.create_call()
    wrong = {"audio": {"output": {"speed": 99}}}
    error = failure(rt.BadRequestError, lambda: client.calls.accept(call_id, session=wrong))
    assert error.param == "audio.output.speed"


@pytest.mark.parametrize("key", ["sk-wrong", "", "ek_wrong"])
def test_a_refused_key(key: str, local: LocalServer, open_client: Open) -> None:
    """A wrong key, or none, is an error of its own kind."""
    client = open_client(base_url=local.http_url, api_key=key)
    error = failure(rt.AuthenticationError, client.client_secrets.create)
    assert (error.status, error.code) == (401, "invalid_api_key")


def test_over_tls(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """One client, one TLS context: a secret by HTTPS, a session by WSS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with LocalServer(api_key=API_KEY, ssl_context=context) as server:
        client = open_client(base_url=server.url, ssl_context=client_tls)
        secret = client.client_secrets.create()
        client.connect(client_secret=secret.value).close()
        client.close()


# --- Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda r: r.calls.create(""), ValueError, "sdp is empty"),
        (lambda r: r.calls.create(" \r\n"), ValueError, "sdp is empty"),
        (lambda r: r.calls.create("hello"), ValueError, "sdp must begin with v="),
        (lambda r: r.calls.create(b"v=0"), TypeError, "sdp: expected a string, got bytes"),
        (
            lambda r: r.calls.create(OFFER, session="s"),
            TypeError,
            "expected a SessionConfig or a dict, got str",
        ),
        (lambda r: r.calls.hangup(""), ValueError, "'' is not the id of a call"),
        (lambda r: r.calls.hangup(" "), ValueError, "' ' is not the id of a call"),
        (lambda r: r.calls.hangup(".."), ValueError, "'..' is not the id of a call"),
        (lambda r: r.calls.hangup("a\r\nb"), ValueError, "call_id holds a line break"),
        (lambda r: r.calls.hangup(None), TypeError, "call_id: expected a string, got NoneType"),
        (lambda r: r.calls.accept("c", intructions="x"), TypeError, "did you mean 'instructions'"),
        (lambda r: r.calls.accept("c", session={}, model="m"), TypeError, "not both"),
        (lambda r: r.sessions.create(vioce="x"), TypeError, "did you mean 'voice'"),
        (lambda r: r.sessions.create({}, voice="x"), TypeError, "not both"),
        (lambda r: r.calls.reject("c", 200), ValueError, "from 300 to 699"),
        (lambda r: r.calls.reject("c", 700), ValueError, "from 300 to 699"),
        (lambda r: r.calls.refer("c", "+14155550123"), ValueError, "must be like tel:"),
        (lambda r: r.calls.refer("c", ""), ValueError, "must be like tel:"),
        (lambda r: r.calls.refer("c", "tel:"), ValueError, "must be like tel:"),
        (lambda r: r.calls.refer("c", "tel:1 2"), ValueError, "must be like tel:"),
        (lambda r: r.calls.refer("c", "tel:+1\n"), ValueError, "target_uri holds a line break"),
        (lambda r: r.client_secrets.create(expires_after=9), ValueError, "10 to 7200 seconds"),
        (lambda r: r.client_secrets.create(expires_after=7201), ValueError, "10 to 7200 seconds"),
        (lambda r: r.client_secrets.create(expires_after=60.0), TypeError, "whole seconds, got float"),
        (lambda r: r.client_secrets.create(expires_after=True), TypeError, "whole seconds, got bool"),
        (lambda r: r.client_secrets.create(session=[]), TypeError, "got list"),
        (lambda r: r.client_secrets.create(session={"x": object()}), TypeError, "can't send a object"),
        (
            lambda r: r.client_secrets.create(idempotency_key="a\nb"),
            ValueError,
            "Idempotency-Key holds a line",
        ),
        (
            lambda r: r.client_secrets.create(idempotency_key=" "),
            ValueError,
            "idempotency_key must not be empty",
        ),
        (lambda r: r.client_secrets.create(timeout=0), ValueError, "timeout must be more than 0"),
        (lambda r: r.client_secrets.create(timeout=float("nan")), ValueError, "timeout must be more than 0"),
        (lambda r: r.translations.client_secrets.create(), ValueError, "translation session needs a model"),
        (lambda r: r.translations.client_secrets.create("t", session={}), TypeError, "not both"),
    ],
)
def test_bad_arguments(
    call: Callable[[Any], object], kind: type[Exception], says: str, api: responses.RequestsMock, rest: Rest
) -> None:
    """An invalid argument is rejected before anything is sent, with what is wrong about it."""
    with pytest.raises(kind, match=says.replace("(", r"\(")):
        call(rest)
    assert not api.calls


def test_a_struct_that_is_not_changed(api: responses.RequestsMock, rest: Rest) -> None:
    """The settings that are given are not written to."""
    api.post(SECRETS, json=CREATED)
    rest.client_secrets.create(session=STRUCT)
    assert STRUCT.type is msgspec.UNSET
