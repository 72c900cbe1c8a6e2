"""`requester`: how a request is sent, and when it is sent again."""

import json
import os
import re
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import requests
import responses
from http_api import (
    BETA,
    CREATED,
    OFFER,
    SECRETS,
    Open,
    Tries,
    answer,
    check_silent,
    failure,
    http_server,
    read_http,
    refusal,
)
from scripted import DEADLINE, Caller, ScriptedServer
from secrets_watch import API_KEY, CLIENT_SECRET

import realtime_sync as rt
from realtime_sync.rest.resources import Rest

SHORT = 0.2  # seconds, for times that are meant to pass


# --- Each call --------------------------------------------------------------------------------------


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


def test_idempotency_keys(api: responses.RequestsMock, rest: Rest) -> None:
    """Each request has a key, the same in all its tries; another request has another."""
    api.post(SECRETS, status=500)
    api.post(SECRETS, json=CREATED)
    rest.client_secrets.create()
    rest.client_secrets.create()
    first, again, other = (call.request.headers["Idempotency-Key"] for call in api.calls)
    assert first == again != other
    assert len(first) >= 32


def test_too_long(api: responses.RequestsMock, tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that doesn't end is not read to its end, and not asked for again."""
    monkeypatch.setattr("realtime_sync.rest.requester._MOST_ANSWER", 100_000)
    api.post(SECRETS, body=b"x" * 1_000_000)
    error = failure(rt.APIError, tries.rest().client_secrets.create)
    assert error.message == "the answer has more than 100000 bytes"
    assert len(error.body) == 65536
    assert len(api.calls) == 1


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
    """A repeatable request is retried, with growing pauses, and then fails."""
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
    """A request that was rejected before it did anything is retried, whatever it is."""
    api.post(ANY, status=429, json=refusal())
    failure(rt.RateLimitError, lambda: call(tries.rest()))
    assert len(api.calls) == 3


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
    assert "POST /realtime/client_secrets: HTTP 503: Busy.; retrying in 0.5 s" in caplog.text


def test_jitter(api: responses.RequestsMock) -> None:
    """Clients that failed together don't come back together: a pause is up to a quarter shorter."""
    tries = Tries(random=1.0)
    api.post(SECRETS, status=500)
    failure(rt.ServerError, tries.rest().client_secrets.create)
    assert tries.pauses == [0.375, 0.75]


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
    assert str(error) == "could not connect to api.openai.com: timed out after 60 s"
    assert len(api.calls) == 3


def test_a_host_that_is_none(rest: Rest, tries: Tries) -> None:
    """A host that can't be is a ValueError, however late requests finds it."""
    for host in ("*.example", "a" * 70 + ".example"):
        with pytest.raises(ValueError, match=f"^{host.replace('*', '.')} can't be connected to: ") as caught:
            tries.rest(base_url=f"https://{host}/v1").client_secrets.create()
        check_silent(caught.value)


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
    """If no server listens, the error says where and why, after all retries."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        error = failure(rt.APIConnectionError, lambda: tries.rest(base_url=url).calls.accept("rtc_1"))
    assert str(error).startswith(f"could not connect to {url[7:-3]}: [Errno")
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert error.__context__ in (None, error.__cause__)
    assert len(tries.pauses) == 2


def test_a_silent_server(open_client: Open) -> None:
    """A request to a server that doesn't answer ends with its timeout."""

    def script(caller: Caller) -> None:
        read_http(caller)
        assert caller.sock.recv(1) == b""

    with ScriptedServer(script) as server:
        client = open_client(base_url=server.url, timeout=SHORT)
        error = failure(rt.APITimeoutError, client.client_secrets.create)
    assert str(error) == (
        f"no answer from localhost:{server.port} within 0.2 s; the request may have been carried out"
    )
    assert isinstance(error.__cause__, TimeoutError)


def test_a_server_that_stops(open_client: Open) -> None:
    """So does one to a server that stops in the middle of its answer."""

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
        b"HTTP/1.1 200 OK\r\nContent-Length: 100,1\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-15\r\n{",
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


def test_no_key(api: responses.RequestsMock) -> None:
    """Without a key OpenAI is not asked, and the error names the variable."""
    with pytest.raises(ValueError, match="OPENAI_API_KEY"), rt.Client() as client:
        client.client_secrets.create()
    assert not api.calls
