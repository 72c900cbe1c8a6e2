"""The HTTP half: each call as it is sent, what becomes of each answer, and over real sockets."""

import copy
import email.utils
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
import requests
import responses
import trustme
from proxies import SocksProxy, pump, relay
from requests.adapters import HTTPAdapter
from scripted import DEADLINE, Caller, Script, ScriptedServer
from secrets_watch import API_KEY, CLIENT_SECRET, PROXY_LOGIN, PROXY_PASSWORD, PROXY_TOKEN, secrets_in

import realtime_sync as rt
from realtime_sync.events import (
    AudioConfig,
    AudioOutputConfig,
    FunctionTool,
    ServerVad,
    SessionConfig,
)
from realtime_sync.local import LocalServer
from realtime_sync.rest.requester import Requester
from realtime_sync.rest.resources import Call, ClientSecretCreated, Rest

URL = "https://api.openai.com/v1/realtime"
SECRETS = f"{URL}/client_secrets"
SESSION = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "m"}
CREATED = {"value": CLIENT_SECRET, "expires_at": 1756310470, "session": SESSION}
BETA = {"id": "sess_1", "voice": "ash", "client_secret": {"value": CLIENT_SECRET, "expires_at": 7}}
OFFER = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\n"
ANSWER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=answer\r\n"
SHORT = 0.2  # seconds, for times that are meant to pass

SHOWN_IN_LOGS = (API_KEY, CLIENT_SECRET, PROXY_PASSWORD, PROXY_LOGIN, PROXY_TOKEN)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log has a secret, at any level, also none of the libraries'."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not any(secret in caplog.text for secret in SHOWN_IN_LOGS)


@pytest.fixture
def api() -> Iterator[responses.RequestsMock]:
    """OpenAI's server, as far as a test describes it."""
    with responses.RequestsMock() as mock:
        yield mock


class Tries:
    """The pauses between tries, which take no time."""

    def __init__(self, random: float = 0.0) -> None:
        self.pauses: list[float] = []
        self.interrupted = False
        self._random = random

    def rest(self, max_retries: int = 2, **options: Any) -> Rest:
        client = rt.Client(**{"api_key": API_KEY, **options})
        return Rest(
            Requester(
                client._endpoint,
                max_retries=max_retries,
                sleep=self._pause,
                random=lambda: self._random,
            )
        )

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.interrupted:
            raise KeyboardInterrupt


@pytest.fixture
def tries() -> Tries:
    return Tries()


@pytest.fixture
def rest(tries: Tries) -> Rest:
    return tries.rest()


Open = Callable[..., rt.Client]


@pytest.fixture
def open_client() -> Iterator[Open]:
    """Makes clients that are closed after the test."""
    clients: list[rt.Client] = []

    def open_client(**options: Any) -> rt.Client:
        clients.append(rt.Client(**{"api_key": API_KEY, "max_retries": 0, **options}))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


def body_of(call: Any) -> Any:
    return json.loads(call.request.body)


def failure(kind: type[rt.APIError], call: Callable[[], object]) -> Any:
    """The error of a call; neither it nor what is behind it shows a secret."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    check_silent(caught.value)
    return caught.value


def check_silent(error: BaseException) -> None:
    texts = ["".join(traceback.format_exception(error))]
    pending: list[BaseException | None] = [error]
    while pending:
        if (one := pending.pop()) is not None:
            texts += [str(one), repr(one), repr(vars(one)), repr(one.args)]
            pending += [one.__cause__, one.__context__]
    whole = "\n".join(texts)
    assert not secrets_in(whole)
    assert not any(secret in whole for secret in SHOWN_IN_LOGS)


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


def test_headers(api: responses.RequestsMock) -> None:
    """A request has the client's settings in it: headers, query, a time limit, no redirects."""
    api.post("https://h.example:8443/base/realtime/client_secrets", json=CREATED)
    client = rt.Client(
        api_key=CLIENT_SECRET,
        base_url="wss://h.example:8443/base/?a=1",
        organization="org",
        project="proj",
        safety_identifier="user_1",
        default_headers={"X-Mine": " 1 ", "Accept": "text/plain", "Cookie": "mine=1"},
        default_query={"b": "c d"},
        timeout=7,
    )
    client.client_secrets.create(idempotency_key="abc")
    client.close()
    request: Any = api.calls[0].request
    assert request.url == "https://h.example:8443/base/realtime/client_secrets?a=1&b=c%20d"
    assert dict(request.headers) == {
        "User-Agent": f"realtime_sync/{rt.__version__}",
        "Authorization": f"Bearer {CLIENT_SECRET}",
        "OpenAI-Organization": "org",
        "OpenAI-Project": "proj",
        "OpenAI-Safety-Identifier": "user_1",
        "X-Mine": "1",
        "Accept": "application/json",
        "Cookie": "mine=1",
        "Idempotency-Key": "abc",
        "Content-Type": "application/json",
        "Content-Length": "2",
    }
    assert request.req_kwargs["timeout"] == 7
    assert request.req_kwargs["proxies"] == {}


def test_azure(api: responses.RequestsMock) -> None:
    """Azure's two APIs have paths and keys of their own."""
    key = {"api_key": API_KEY}
    api.post("https://n.openai.azure.com/openai/v1/realtime/client_secrets", json=CREATED)
    with rt.Client.azure("https://n.openai.azure.com", "d", **key) as client:  # type: ignore[arg-type]
        client.client_secrets.create()
    api.post("https://n.openai.azure.com/openai/realtimeapi/sessions", json=BETA)
    with rt.Client.azure("https://n.openai.azure.com", "d", api_version="1", **key) as client:  # type: ignore[arg-type]
        client.sessions.create(voice="ash")
        client.transcription_sessions  # noqa: B018  # it is there
    assert [call.request.headers["api-key"] for call in api.calls] == [API_KEY] * 2
    assert "api-version=1" in (api.calls[1].request.url or "")


def test_a_time_limit_of_its_own(api: responses.RequestsMock, rest: Rest) -> None:
    """A single request may have another time limit."""
    api.post(SECRETS, json=CREATED)
    rest.client_secrets.create(timeout=0.5)
    assert api.calls[0].request.req_kwargs["timeout"] == 0.5  # type: ignore[attr-defined]


def test_a_fresh_key(api: responses.RequestsMock, tries: Tries) -> None:
    """A key that is made by a function is made anew for each try."""
    keys = iter(["sk-1", "sk-2"])
    api.post(SECRETS, status=500)
    api.post(SECRETS, json=CREATED)
    tries.rest(api_key=lambda: next(keys)).client_secrets.create()
    assert [call.request.headers["Authorization"] for call in api.calls] == ["Bearer sk-1", "Bearer sk-2"]


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


def test_idempotency_keys(api: responses.RequestsMock, rest: Rest) -> None:
    """Each request has a key, the same in all its tries; another request has another."""
    api.post(SECRETS, status=500)
    api.post(SECRETS, json=CREATED)
    rest.client_secrets.create()
    rest.client_secrets.create()
    first, again, other = (call.request.headers["Idempotency-Key"] for call in api.calls)
    assert first == again != other
    assert len(first) >= 32


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
        assert "the answer holds no secret" in str(failure(rt.APIError, call))


def test_no_sdp(api: responses.RequestsMock, rest: Rest) -> None:
    """An answer to an offer that is no SDP is an error."""
    api.post(f"{URL}/calls", body="<b>Hello</b>", status=201)
    error = failure(rt.APIError, lambda: rest.calls.create(OFFER))
    assert "the answer is not SDP: 'Hello'" in str(error)


def test_too_long(api: responses.RequestsMock, tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that doesn't end is not read to its end, and not asked for again."""
    monkeypatch.setattr("realtime_sync.rest.requester._MOST_ANSWER", 100_000)
    api.post(SECRETS, body=b"x" * 1_000_000)
    error = failure(rt.APIError, tries.rest().client_secrets.create)
    assert error.message == "the answer has more than 100000 bytes"
    assert len(error.body) == 65536
    assert len(api.calls) == 1


# --- Errors -----------------------------------------------------------------------------------------


def refusal(**details: Any) -> dict[str, Any]:
    """OpenAI's JSON for errors."""
    error = {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}
    return {"error": {**error, **details}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, rt.BadRequestError),
        (401, rt.AuthenticationError),
        (402, rt.APIError),
        (403, rt.PermissionDeniedError),
        (404, rt.NotFoundError),
        (405, rt.APIError),
        (407, rt.APIError),
        (408, rt.APIError),
        (409, rt.ConflictError),
        (413, rt.APIError),
        (422, rt.BadRequestError),
        (429, rt.RateLimitError),
        (500, rt.ServerError),
        (502, rt.ServerError),
        (503, rt.ServerError),
        (504, rt.ServerError),
        (529, rt.ServerError),
    ],
)
def test_each_status(status: int, kind: type[rt.APIError], api: responses.RequestsMock, tries: Tries) -> None:
    """Each status has its class of error, with all that the server said."""
    said = refusal(message="No such voice.", code="invalid_value", param="session.voice")
    api.post(f"{URL}/calls/rtc_1/accept", status=status, json=said, headers={"X-Request-ID": "req_9"})
    error = failure(kind, lambda: tries.rest(0).calls.accept("rtc_1"))
    assert issubclass(kind, rt.RealtimeError)
    assert (error.status, error.code, error.type) == (status, "invalid_value", "invalid_request_error")
    assert (error.param, error.message) == ("session.voice", "No such voice.")
    assert (error.request_id, error.headers["x-request-id"]) == ("req_9", "req_9")
    assert json.loads(error.body) == said
    assert str(error) == (
        f"HTTP {status}: No such voice. (code invalid_value, param session.voice, request req_9)"
    )
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (refusal(), "No.", None),
        ({"error": {"code": 401, "message": "Access denied"}}, "Access denied", "401"),
        ({"error": "out of order"}, "out of order", None),
        ({"error": "out of order", "code": "c"}, "out of order", "c"),
        ({"message": "out of order", "code": "c"}, "out of order", "c"),
        ({"detail": "Not Found"}, "Not Found", None),
        ({"detail": [{"loc": ["body"]}]}, '{"detail": [{"loc": ["body"]}]}', None),
        ({"error": {"code": "c", "type": "t"}}, "c", "c"),
        ({"error": {"type": "t"}}, "t", None),
        ({"error": None}, '{"error": null}', None),
        ({"error": {"message": {}, "code": True}}, '{"error": {"message": {}, "code": true}}', None),
        ([1], "[1]", None),
        ("text", '"text"', None),
    ],
)
def test_error_bodies(
    body: Any, message: str, code: str | None, api: responses.RequestsMock, rest: Rest
) -> None:
    """Whatever a server's errors look like, the text has what it says."""
    api.post(f"{URL}/calls/rtc_1/hangup", status=404, json=body)
    error = failure(rt.NotFoundError, lambda: rest.calls.hangup("rtc_1"))
    assert (error.message, error.code) == (message, code)


PAGE = """<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>b {color: red}</style>
<script>if (1 < 2) { alert("x") }</script></head>
<body><h1>502 Bad Gateway</h1>nginx &amp; friends</body></html>"""


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (PAGE, "text/html", "502 Bad Gateway 502 Bad Gateway nginx & friends"),
        ("", "text/html", "no explanation"),
        ("upstream  connect\nerror", "text/plain", "upstream connect error"),
        ("<" * 100_000, "text/html", "<" * 200),
        ("<br/>" * 100_000, "text/html", "no explanation"),
    ],
)
def test_error_pages(
    body: str, content_type: str, message: str, api: responses.RequestsMock, tries: Tries
) -> None:
    """An error page of a proxy is shown as text, and not at length."""
    api.post(SECRETS, status=502, body=body, content_type=content_type)
    error = failure(rt.ServerError, tries.rest(0).client_secrets.create)
    if "script" not in body:
        assert error.message == message
    else:  # what is left of the script doesn't matter
        assert error.message.startswith("502 Bad Gateway")
        assert error.message.endswith("nginx & friends")
    assert len(error.body) <= 65536


@pytest.mark.parametrize("name", ["x-request-id", "apim-request-id", "x-ms-request-id"])
def test_request_ids(name: str, api: responses.RequestsMock, rest: Rest) -> None:
    """Azure's names for a request's id are known, too."""
    api.post(SECRETS, status=400, headers={name: "req_1"})
    assert failure(rt.BadRequestError, rest.client_secrets.create).request_id == "req_1"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://evil.example/v1/realtime/client_secrets", "evil.example"),
        ("//evil.example/", "evil.example"),
        ("/elsewhere", "another path"),
        (None, "another path"),
        ("http://[", "an address that is none"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(
    status: int, location: str | None, target: str, api: responses.RequestsMock, rest: Rest
) -> None:
    """A redirect is not followed, so no other server gets the key, and the error says where it led."""
    api.post(SECRETS, status=status, headers={"Location": location} if location else {})
    error = failure(rt.APIError, rest.client_secrets.create)
    assert str(error) == f"HTTP {status}: the server redirects to {target}, which is not followed"
    assert len(api.calls) == 1


def test_a_server_that_repeats_secrets(api: responses.RequestsMock, rest: Rest) -> None:
    """What a server repeats of the key or a secret is taken out of all that an error shows."""
    for secret in (API_KEY, CLIENT_SECRET):
        said = refusal(message=f"Bad key: {secret}.", code=secret, type=secret, param=secret)
        headers = {"x-request-id": secret, "x-you-sent": f"Bearer {secret}"}
        api.post(SECRETS, status=401, json=said, headers=headers)
        error = failure(rt.AuthenticationError, rest.client_secrets.create)
        assert error.message == "Bad key: ***."
        assert (error.code, error.type, error.param, error.request_id) == ("***", "***", "***", "***")
        assert b"Bad key: ***." in error.body
        assert error.headers["x-you-sent"] == "Bearer ***"
        api.reset()
    api.post(SECRETS, status=500, body=f"Is {API_KEY} your key?")
    assert failure(rt.ServerError, rest.client_secrets.create).message == "Is *** your key?"


def test_errors_travel() -> None:
    """An error survives being sent to another process."""
    error = rt.RateLimitError("Slow down.", status=429, code="c", retry_after=3.0)
    again = copy.copy(error)
    assert (str(again), again.retry_after) == ("HTTP 429: Slow down. (code c, try again in 3 s)", 3.0)
    assert str(rt.APIConnectionError("no answer")) == "no answer"


# --- Trying again -----------------------------------------------------------------------------------

SAFE: list[Callable[[Rest], object]] = [
    lambda r: r.client_secrets.create(),
    lambda r: r.translations.client_secrets.create("t"),
    lambda r: r.sessions.create(),
    lambda r: r.transcription_sessions.create(),
    lambda r: r.calls.hangup("rtc_1"),
]
UNSAFE: list[Callable[..., object]] = [
    lambda r, **more: r.calls.create(OFFER, **more),
    lambda r, **more: r.calls.accept("rtc_1", **more),
    lambda r, **more: r.calls.reject("rtc_1", **more),
    lambda r, **more: r.calls.refer("rtc_1", "tel:+1", **more),
]
ANY = re.compile(".*")


@pytest.mark.parametrize("call", SAFE)
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_tried_again(
    status: int, call: Callable[[Rest], object], api: responses.RequestsMock, tries: Tries
) -> None:
    """What does no harm if done twice is tried again, with growing pauses, and then given up."""
    api.post(ANY, status=status, json=refusal())
    with pytest.raises(rt.APIError) as caught:
        call(tries.rest(6))
    assert caught.value.status == status
    assert len(api.calls) == 7
    assert tries.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("call", UNSAFE)
@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_not_tried_again(
    status: int, call: Callable[..., object], api: responses.RequestsMock, tries: Tries
) -> None:
    """What may have been done is not done twice, unless an idempotency key says that it may be tried."""
    api.post(ANY, status=status, json=refusal())
    for more, expected in (({}, 1), ({"idempotency_key": "mine"}, 3)):
        with pytest.raises(rt.APIError):
            call(tries.rest(), **more)
        assert len(api.calls) == expected
        api.calls.reset()


@pytest.mark.parametrize("call", [*SAFE, *UNSAFE])
def test_turned_away(call: Callable[[Rest], object], api: responses.RequestsMock, tries: Tries) -> None:
    """What was turned away undone is tried again, whatever it is."""
    api.post(ANY, status=429, json=refusal())
    failure(rt.RateLimitError, lambda: call(tries.rest()))
    assert len(api.calls) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
def test_final(status: int, api: responses.RequestsMock, rest: Rest) -> None:
    """What the next try would meet again is not tried again."""
    api.post(SECRETS, status=status, headers={"Retry-After": "1"})
    with pytest.raises(rt.APIError):
        rest.client_secrets.create()
    assert len(api.calls) == 1


@pytest.mark.parametrize("details", [{"code": "insufficient_quota"}, {"type": "insufficient_quota"}])
def test_no_quota(details: dict[str, str], api: responses.RequestsMock, rest: Rest) -> None:
    """A quota that is used up is not there a second later either."""
    api.post(SECRETS, status=429, json=refusal(**details))
    failure(rt.RateLimitError, rest.client_secrets.create)
    assert len(api.calls) == 1


def test_success_in_the_end(
    api: responses.RequestsMock, rest: Rest, tries: Tries, caplog: pytest.LogCaptureFixture
) -> None:
    """A try that succeeds is the end of it; the log says why there were several."""
    api.post(SECRETS, status=503, json=refusal(message="Busy."))
    api.post(SECRETS, body=requests.ConnectionError("gone"))
    api.post(SECRETS, json=CREATED)
    assert rest.client_secrets.create().value == CLIENT_SECRET
    assert tries.pauses == [0.5, 1.0]
    assert "POST /realtime/client_secrets: HTTP 503: Busy. (code" not in caplog.text
    assert "POST /realtime/client_secrets: HTTP 503: Busy.; trying again in 0.5 s" in caplog.text


def test_jitter(api: responses.RequestsMock) -> None:
    """Clients that failed together don't come back together: a pause is up to a quarter shorter."""
    tries = Tries(random=1.0)
    api.post(SECRETS, status=500)
    failure(rt.ServerError, tries.rest().client_secrets.create)
    assert tries.pauses == [0.375, 0.75]


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "60"}, 60.0),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 0.5),
        ({"Retry-After": "-1"}, 0.5),
        ({"Retry-After": "nan"}, 0.5),
        ({"Retry-After": ""}, 0.5),
        ({"Retry-After": "Wed, 99 Xyz 99999999999999 99:99:99 GMT"}, 0.5),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(
    status: int, headers: dict[str, str], pause: float, api: responses.RequestsMock, tries: Tries
) -> None:
    """A server is asked again when it says; what can't be understood counts as nothing said."""
    api.post(SECRETS, status=status, headers=headers)
    with pytest.raises(rt.APIError):
        tries.rest(1).client_secrets.create()
    assert tries.pauses == [pause]


def test_retry_after_a_date(api: responses.RequestsMock, tries: Tries) -> None:
    """The time to come back may be given as a date."""
    api.post(SECRETS, status=429, headers={"Retry-After": email.utils.formatdate(time.time() + 50)})
    failure(rt.RateLimitError, tries.rest(1).client_secrets.create)
    assert 0 < tries.pauses[0] <= 50


@pytest.mark.parametrize("headers", [{"Retry-After": "61"}, {"Retry-After-Ms": "3600000"}])
def test_too_long_a_wait(headers: dict[str, str], api: responses.RequestsMock, tries: Tries) -> None:
    """A server that asks for more than a minute is not waited for; the error says when to come back."""
    api.post(SECRETS, status=429, json=refusal(), headers=headers)
    error = failure(rt.RateLimitError, tries.rest().client_secrets.create)
    assert tries.pauses == []
    assert error.retry_after in (61, 3600)
    assert f"try again in {error.retry_after:g} s" in str(error)


def interrupt(request: requests.PreparedRequest) -> NoReturn:
    raise KeyboardInterrupt


def test_interrupted(api: responses.RequestsMock, tries: Tries) -> None:
    """Ctrl-C ends a pause, and a request."""
    api.post(SECRETS, status=500)
    rest = tries.rest()
    tries.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        rest.client_secrets.create()
    api.remove("POST", SECRETS)
    api.add_callback("POST", SECRETS, interrupt)
    with pytest.raises(KeyboardInterrupt):
        rest.client_secrets.create()


# --- No answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [*SAFE, *UNSAFE])
@pytest.mark.parametrize("lost", [requests.ReadTimeout("slow"), requests.ConnectionError("gone")])
def test_lost(
    lost: Exception, call: Callable[[Rest], object], api: responses.RequestsMock, tries: Tries
) -> None:
    """A request without an answer may have been carried out, so only what is safe is tried again."""
    api.post(ANY, body=lost)
    kind = rt.APITimeoutError if isinstance(lost, requests.Timeout) else rt.APIConnectionError
    error = failure(kind, lambda: call(tries.rest()))
    assert isinstance(error, rt.APIConnectionError)
    assert error.__cause__ is lost
    assert error.status is None
    assert "the request may have been carried out" in str(error)
    assert len(api.calls) == (3 if call in SAFE else 1)


@pytest.mark.parametrize("call", [*SAFE, *UNSAFE])
def test_never_arrived(call: Callable[[Rest], object], api: responses.RequestsMock, tries: Tries) -> None:
    """A request that can't have arrived is tried again, whatever it is."""
    api.post(ANY, body=requests.ConnectTimeout())
    error = failure(rt.APITimeoutError, lambda: call(tries.rest()))
    assert str(error) == "could not connect to api.openai.com: no answer in 60 s"
    assert len(api.calls) == 3


def test_an_error_that_holds_secrets(api: responses.RequestsMock, rest: Rest) -> None:
    """An error of requests that quotes the key is replaced by one that doesn't."""
    inner = ValueError(f"header {API_KEY}")
    lost = requests.ConnectionError(inner)
    lost.__cause__ = inner
    lost.request = requests.Request("POST", URL, headers={"Authorization": API_KEY}).prepare()
    api.post(SECRETS, body=lost)
    error = failure(rt.APIConnectionError, rest.client_secrets.create)
    assert type(error.__cause__) is OSError
    assert str(error.__cause__) == "header ***"


def test_a_host_that_is_none(rest: Rest, tries: Tries) -> None:
    """A host that can't be is a ValueError, however late requests finds it."""
    for host in ("*.example", "a" * 70 + ".example"):
        with pytest.raises(ValueError, match=f"^{host.replace('*', '.')} can't be asked: ") as caught:
            tries.rest(base_url=f"https://{host}/v1").client_secrets.create()
        check_silent(caught.value)


def read_http(caller: Caller) -> bytes:
    """A whole request; its body is returned."""
    caller.request = b""
    caller.read_request()
    return caller._file.read(int(caller.header("Content-Length") or 0))


def answer(caller: Caller, body: Any = CREATED, head: str = "") -> None:
    data = json.dumps(body).encode()
    caller.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n{head}\r\n".encode() + data)


def http_server(bodies: list[bytes] | None = None, head: str = "") -> Script:
    """Answers all requests of a connection."""

    def script(caller: Caller) -> None:
        while True:
            body = read_http(caller)
            if not caller.request:
                return
            if bodies is not None:
                bodies.append(caller.request + body)
            answer(caller, head=head)
            if caller.header("Connection") == "close":
                return

    return script


def test_one_connection(open_client: Open) -> None:
    """Requests share a connection, and no cookies."""
    bodies: list[bytes] = []
    with ScriptedServer(http_server(bodies, "Set-Cookie: a=b\r\n")) as server:
        client = open_client(base_url=server.url)
        for _ in range(3):
            client.client_secrets.create()
        client.close()
        assert len(server.callers) == 1
        client.client_secrets.create()
        client.close()
        assert len(server.callers) == 2
    assert len(bodies) == 4
    assert not any(b"cookie" in body.lower() for body in bodies)
    assert bodies[0].startswith(b"POST /v1/realtime/client_secrets HTTP/1.1\r\n")


def test_the_environment_has_no_say(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No password comes from a .netrc, and this machine is reached directly."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    bodies: list[bytes] = []
    with ScriptedServer(http_server(bodies)) as server:
        for key in (API_KEY, ""):
            client = open_client(base_url=server.url, api_key=key)
            client.client_secrets.create()
            client.close()
    assert f"Authorization: Bearer {API_KEY}".encode() in bodies[0]
    assert b"Authorization" not in bodies[1]


def test_many_threads(open_client: Open) -> None:
    """Several threads may use one client, each gets its own answers."""

    def script(caller: Caller) -> None:
        while body := read_http(caller):
            answer(caller, {**CREATED, "expires_at": json.loads(body)["expires_after"]["seconds"]})

    with ScriptedServer(script) as server:
        client = open_client(base_url=server.url)
        wrong: list[object] = []

        def work(number: int) -> None:
            for step in range(10):
                seconds = 100 * number + step
                created = client.client_secrets.create(expires_after=seconds)
                if created.expires_at != seconds:
                    wrong.append(created)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        assert not wrong
        client.close()


def test_another_process(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process opens connections of its own: one written on by two would be garbled."""
    with ScriptedServer(http_server()) as server:
        client = open_client(base_url=server.url)
        client.client_secrets.create()
        parents = client._rest._requester._http
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: -1)
            client.client_secrets.create()
            assert client._rest._requester._http is not parents
            client.close()
        parents.close()
        assert len(server.callers) == 2


def test_nobody_listens(tries: Tries) -> None:
    """If nobody listens, the error says where and why, after all tries."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        error = failure(rt.APIConnectionError, lambda: tries.rest(base_url=url).calls.accept("rtc_1"))
    assert str(error).startswith(f"could not connect to {url[7:-3]}: [Errno")
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert error.__context__ in (None, error.__cause__)
    assert len(tries.pauses) == 2


def test_a_silent_server(open_client: Open) -> None:
    """A server that doesn't answer is given up after the time that it has."""

    def script(caller: Caller) -> None:
        read_http(caller)
        assert caller.sock.recv(1) == b""

    with ScriptedServer(script) as server:
        client = open_client(base_url=server.url, timeout=SHORT)
        error = failure(rt.APITimeoutError, client.client_secrets.create)
    assert str(error) == (
        f"no answer in 0.2 s from localhost:{server.port}; the request may have been carried out"
    )
    assert isinstance(error.__cause__, TimeoutError)


def test_a_server_that_stops(open_client: Open) -> None:
    """A server that stops in the middle of its answer is given up, too."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        assert caller.sock.recv(1) == b""

    with ScriptedServer(script) as server:
        client = open_client(base_url=server.url, timeout=SHORT)
        failure(rt.APITimeoutError, client.client_secrets.create)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-" + API_KEY.encode() + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n{  }",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    ],
)
def test_a_broken_answer(data: bytes, open_client: Open) -> None:
    """An answer that breaks off, or is no HTTP, is a connection that failed; nothing else is raised."""

    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(data)

    with ScriptedServer(script) as server:
        error = failure(rt.APIConnectionError, open_client(base_url=server.url).client_secrets.create)
    assert str(error).startswith(f"no answer from localhost:{server.port}: ")
    assert error.__cause__ is not None


def test_a_real_redirect(open_client: Open) -> None:
    """A server that is redirected to hears nothing."""
    with ScriptedServer(http_server()) as other:

        def script(caller: Caller) -> None:
            read_http(caller)
            head = f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{other.port}/v1\r\n"
            caller.raw(f"{head}Content-Length: 0\r\n\r\n".encode())

        with ScriptedServer(script) as server:
            error = failure(rt.APIError, open_client(base_url=server.url).client_secrets.create)
        assert "redirects to 127.0.0.1, which is not followed" in str(error)
        assert not other.callers


# --- TLS --------------------------------------------------------------------------------------------


def server_context(authority: trustme.CA, host: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_tls(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """The user's TLS context is what is used, and it is left as it was."""
    before = (client_tls.cert_store_stats(), client_tls.verify_mode, client_tls.check_hostname)
    chosen: list[str | None] = []

    def script(caller: Caller) -> None:
        read_http(caller)
        chosen.append(caller.sock.selected_alpn_protocol())  # type: ignore[attr-defined]
        answer(caller)

    context = server_context(authority)
    context.set_alpn_protocols(["http/1.1"])
    with ScriptedServer(script, context) as server:
        client = open_client(base_url=server.url, ssl_context=client_tls)
        client.client_secrets.create()
        client.close()
    assert (client_tls.cert_store_stats(), client_tls.verify_mode, client_tls.check_hostname) == before
    assert chosen == [None]


def test_a_file_of_certificates(authority: trustme.CA, open_client: Open, tmp_path: Path) -> None:
    """Certificates from a file are trusted."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(http_server(), server_context(authority)) as server:
        client = open_client(base_url=server.url, ca_file=tmp_path / "ca.pem")
        client.client_secrets.create()
        client.close()


def test_the_systems_certificates(
    authority: trustme.CA, open_client: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a setting the system's certificates are trusted, not those that came with requests."""
    with ScriptedServer(http_server(), server_context(authority)) as server:
        error = failure(rt.APIConnectionError, open_client(base_url=server.url).client_secrets.create)
        assert str(error).startswith("the certificate of localhost was refused: ")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        client = open_client(base_url=server.url)
        client.client_secrets.create()
        client.close()


def test_another_authority(client_tls: ssl.SSLContext, tries: Tries) -> None:
    """A certificate of another authority is refused at once, as is one for another host."""
    stranger = trustme.CA()
    rest = tries.rest
    with ScriptedServer(http_server(), server_context(stranger)) as server:
        one = rest(base_url=server.url, ssl_context=client_tls)
        error = failure(rt.APIConnectionError, one.client_secrets.create)
    assert str(error).startswith("the certificate of localhost was refused: ")
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert tries.pauses == []


def test_another_host(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """A certificate for another host is refused, unless the context doesn't look at that."""
    with ScriptedServer(http_server(), server_context(authority, "other.example")) as server:
        client = open_client(base_url=server.url, ssl_context=client_tls)
        error = failure(rt.APIConnectionError, client.client_secrets.create)
        assert "was refused" in str(error)
        client_tls.check_hostname = False
        client = open_client(base_url=server.url, ssl_context=client_tls)
        client.client_secrets.create()
        client.close()
        assert client_tls.verify_mode == ssl.CERT_REQUIRED


def test_a_client_certificate(authority: trustme.CA, open_client: Open, tmp_path: Path) -> None:
    """The client's certificate is shown to a server that asks for it."""
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    shown: list[Any] = []

    def script(caller: Caller) -> None:
        read_http(caller)
        shown.append(caller.sock.getpeercert())  # type: ignore[attr-defined]
        answer(caller)

    authority.issue_cert("me@example.org").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(script, context) as server:
        client = open_client(
            base_url=server.url, ca_file=tmp_path / "ca.pem", client_cert=str(tmp_path / "me.pem")
        )
        client.client_secrets.create()
        client.close()
        client = open_client(base_url=server.url, ca_file=tmp_path / "ca.pem")
        failure(rt.APIConnectionError, client.client_secrets.create)
    assert shown[0]["subjectAltName"] == (("email", "me@example.org"),)


def test_the_adapter_is_requests_own() -> None:
    """Other tests replace `HTTPAdapter.send`, so it must be the one that is used."""
    rest = Tries().rest()
    assert isinstance(rest._requester._http.adapters["https://"], HTTPAdapter)
    assert "send" not in vars(type(rest._requester._http.adapters["https://"]))


# --- Proxies ----------------------------------------------------------------------------------------


def both_ways(port: int, seen: list[bytes]) -> Script:
    """A proxy that makes tunnels and passes plain requests on, to one server whatever it is asked for."""

    def script(caller: Caller) -> None:
        body = read_http(caller)
        seen.append(caller.request)
        if caller.request.startswith(b"CONNECT "):
            relay(caller, port, b"HTTP/1.1 200 OK\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as upstream:
            head, _, rest = caller.request.partition(b"\r\n")
            upstream.sendall(head + b"\r\nConnection: close\r\n" + rest + body)
            pump(upstream, caller.sock)

    return script


def proxy_url(server: ScriptedServer, login: str = PROXY_LOGIN) -> str:
    return f"http://{login and login + '@'}127.0.0.1:{server.port}"


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_proxy_for_both_halves(
    by_environment: bool, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and sessions take the same proxy, and give it the same credentials."""
    seen: list[bytes] = []
    with LocalServer(api_key=API_KEY) as local, ScriptedServer(both_ways(local.port, seen)) as proxy:
        monkeypatch.setenv("http_proxy", proxy_url(proxy))
        setting = "env" if by_environment else proxy_url(proxy)
        client = open_client(base_url="http://server.example/v1", allow_insecure=True, proxy=setting)
        secret = client.client_secrets.create()
        client.connect(client_secret=secret.value).close()
        client.close()
    post, tunnel = seen
    assert post.startswith(b"POST http://server.example/v1/realtime/client_secrets HTTP/1.1\r\n")
    assert tunnel.startswith(b"CONNECT server.example:80 HTTP/1.1\r\n")
    for request in seen:
        assert f"Proxy-Authorization: Basic {PROXY_TOKEN}\r\n".encode() in request


def test_a_tunnel(authority: trustme.CA, client_tls: ssl.SSLContext, open_client: Open) -> None:
    """With TLS a request goes through a tunnel: the proxy gets its password, the server the key."""
    seen: list[bytes] = []
    bodies: list[bytes] = []
    context = server_context(authority, "server.example")
    with (
        ScriptedServer(http_server(bodies), context) as server,
        ScriptedServer(both_ways(server.port, seen)) as proxy,
    ):
        client = open_client(
            base_url="https://server.example/v1", proxy=proxy_url(proxy), ssl_context=client_tls
        )
        client.client_secrets.create()
        client.client_secrets.create()
        client.close()
    assert len(seen) == 1
    assert seen[0].startswith(b"CONNECT server.example:443 HTTP/1.")
    assert f"Proxy-Authorization: Basic {PROXY_TOKEN}\r\n".encode() in seen[0]
    assert API_KEY.encode() not in seen[0]
    assert f"Authorization: Bearer {API_KEY}".encode() in bodies[0]
    assert b"Proxy-Authorization" not in bodies[0]


def test_a_proxy_without_login(open_client: Open) -> None:
    """A proxy without credentials is sent none."""
    seen: list[bytes] = []
    with (
        ScriptedServer(http_server()) as server,
        ScriptedServer(both_ways(server.port, seen)) as proxy,
    ):
        client = open_client(
            base_url="http://server.example/v1", allow_insecure=True, proxy=proxy_url(proxy, "")
        )
        client.client_secrets.create()
        client.close()
    assert b"Proxy-Authorization" not in seen[0]


def refuse(status_line: str) -> Script:
    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(f"{status_line}\r\nContent-Length: 0\r\nX-You-Sent: Basic {PROXY_TOKEN}\r\n\r\n".encode())

    return script


@pytest.mark.parametrize(
    ("status_line", "pauses"),
    [
        (f"HTTP/1.1 407 {PROXY_PASSWORD} is wrong", []),
        (f"HTTP/1.1 403 ask {PROXY_LOGIN}", []),
        (f"HTTP/1.1 502 Bad {PROXY_TOKEN}", [0.5]),
    ],
)
def test_a_proxy_that_refuses(status_line: str, pauses: list[float], tries: Tries) -> None:
    """A proxy that refuses is named, without the credentials that it repeats; only trouble is retried."""
    with ScriptedServer(refuse(status_line)) as proxy:
        rest = tries.rest(1, base_url="https://server.example/v1", proxy=proxy_url(proxy))
        error = failure(rt.APIConnectionError, lambda: rest.calls.accept("rtc_1"))
    start = f"could not connect to server.example through the proxy 127.0.0.1:{proxy.port}: "
    assert str(error).startswith(f"{start}Tunnel connection failed: {status_line[9:12]} ")
    assert "***" in str(error)
    assert tries.pauses == pauses
    assert error.__cause__ is not None


def test_a_proxy_that_refuses_a_plain_request(open_client: Open) -> None:
    """Without TLS the proxy's refusal is an answer like a server's."""
    with ScriptedServer(refuse("HTTP/1.1 407 No")) as proxy:
        client = open_client(base_url="http://server.example/v1", allow_insecure=True, proxy=proxy_url(proxy))
        error = failure(rt.APIError, client.client_secrets.create)
    assert error.status == 407
    assert error.headers["x-you-sent"] == "Basic ***"


def test_no_proxy_there(tries: Tries) -> None:
    """A proxy that can't be reached is named, without its credentials."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{sock.getsockname()[1]}"
        rest = tries.rest(base_url="https://server.example/v1", proxy=f"http://{PROXY_LOGIN}@{place}")
        error = failure(rt.APIConnectionError, rest.client_secrets.create)
    start = f"could not connect to server.example through the proxy {place}: [Errno"
    assert str(error).startswith(start)
    assert len(tries.pauses) == 2


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
def test_socks(scheme: str, open_client: Open) -> None:
    """A SOCKS proxy is used by both halves."""
    pytest.importorskip("socks")
    pytest.importorskip("python_socks")
    with LocalServer() as local:
        script = SocksProxy(local.port)
        with ScriptedServer(script) as proxy:
            url = f"{scheme}://127.0.0.1:{proxy.port}"
            client = open_client(base_url="http://server.example/v1", allow_insecure=True, proxy=url)
            secret = client.client_secrets.create()
            client.connect(client_secret=secret.value).close()
            client.close()
        assert script.asked == [("name", "server.example")] * 2


def test_socks_refused(tries: Tries) -> None:
    """What a SOCKS proxy refuses is an error without its credentials."""
    pytest.importorskip("socks")
    with ScriptedServer(SocksProxy(login=("ann", "other"))) as proxy:
        url = f"socks5h://{PROXY_LOGIN}@127.0.0.1:{proxy.port}"
        rest = tries.rest(1, base_url="http://127.0.0.2/v1", proxy=url, allow_insecure=True)
        error = failure(rt.APIConnectionError, rest.client_secrets.create)
    assert f"through the proxy 127.0.0.1:{proxy.port}" in str(error)


def test_socks_is_optional(tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package for SOCKS, the error says what to install."""

    def missing(*args: Any, **options: Any) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    pytest.importorskip("python_socks")
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    rest = tries.rest(base_url="http://server.example/v1", proxy=f"socks5://{PROXY_LOGIN}@p:1", api_key="")
    with pytest.raises(ValueError, match=r'pip install "realtime-sync\[socks\]"') as caught:
        rest.client_secrets.create()
    check_silent(caught.value)


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
        (lambda r: r.client_secrets.create(idempotency_key=" "), ValueError, "idempotency_key is empty"),
        (lambda r: r.client_secrets.create(timeout=0), ValueError, "timeout must be more than 0"),
        (lambda r: r.client_secrets.create(timeout=float("nan")), ValueError, "timeout must be more than 0"),
        (lambda r: r.translations.client_secrets.create(), ValueError, "translation needs a model"),
        (lambda r: r.translations.client_secrets.create("t", session={}), TypeError, "not both"),
    ],
)
def test_bad_arguments(
    call: Callable[[Any], object], kind: type[Exception], says: str, api: responses.RequestsMock, rest: Rest
) -> None:
    """What can't be meant is refused before anything is sent, with what is wrong about it."""
    with pytest.raises(kind, match=says.replace("(", r"\(")):
        call(rest)
    assert not api.calls


def test_no_key(api: responses.RequestsMock) -> None:
    """Without a key OpenAI is not asked, and the error names the variable."""
    with pytest.raises(ValueError, match="OPENAI_API_KEY"), rt.Client() as client:
        client.client_secrets.create()
    assert not api.calls


def test_a_struct_that_is_not_changed(api: responses.RequestsMock, rest: Rest) -> None:
    """The settings that are given are not written to."""
    api.post(SECRETS, json=CREATED)
    rest.client_secrets.create(session=STRUCT)
    assert STRUCT.type is msgspec.UNSET
