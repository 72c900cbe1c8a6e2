"""`Client` and `connect`: where and who, and a session that has begun."""

import itertools
import signal
import ssl
import sys
import threading
from types import FrameType
from typing import Any

import pytest
from handshakes import asked, headers_of, keep_request, opens, request_of
from leftovers import nothing_left
from reopened import Connections, Peer, opened, refuses
from scripted import DEADLINE, Caller, Open, ScriptedServer, collect, idle

import realtime_sync as rt
from realtime_sync.local import LocalServer


def test_environment(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given comes from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-env")
    headers = headers_of(request_of(open_session))
    assert headers["authorization"] == "Bearer sk-env"
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-env", "proj-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "ws://127.0.0.1:9/there")
    assert "127.0.0.1:9/there" in repr(rt.Client())


@pytest.mark.parametrize(
    "options",
    [
        {"model": "gpt\r\nX: y"},
        {"model": "gpt\n"},
        {"query": {"a": "b\n"}},
        {"query": {"a\n": "b"}},
        {"headers": {"X": "y\r\nZ: a"}},
        {"headers": {"X": "y\n"}},
        {"headers": {"X": "ключ"}},
        {"headers": {"X: y": "z"}},
        {"headers": {"": "z"}},
        {"headers": {"X\n": "z"}},
        {"dialect": "alpha"},
        {"connect_timeout": 0},
        {"send_timeout": -1},
        {"close_timeout": float("nan")},
        {"ping_interval": 0},
        {"ping_timeout": 0},
        {"max_message_size": 0},
        {"max_buffered": 0},
    ],
)
def test_bad_settings(options: dict[str, Any]) -> None:
    """A setting that can't be used is a `ValueError`, and no connection is made."""

    def script(caller: Caller) -> None:
        raise AssertionError("contacted")

    with ScriptedServer(script) as server, pytest.raises(ValueError, match=r"."):
        rt.connect(base_url=server.url, **options)


def test_the_key_is_not_shown(open_session: Open) -> None:
    """The key is in no repr."""
    client = rt.Client(api_key="sk-secret", base_url="wss://host/v1")
    assert repr(client) == "<Client for wss://host/v1>"
    assert repr(rt.Client(base_url="wss://host/v1?api-key=sk-secret")) == "<Client for wss://host/v1>"
    with ScriptedServer(idle) as server:
        session = open_session(server, api_key="sk-secret")
        assert "sk-secret" not in repr(session) + repr(vars(session))
        session.close()


# --- Where people run --------------------------------------------------------------------------------


def test_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's GA API has the deployment as the model, and its key in a header of its own."""
    requests: list[str] = []
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-azure")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-not-for-azure")
    with ScriptedServer(keep_request(requests)) as server:
        endpoint = server.url.removesuffix("/v1")
        client = rt.Client.azure(endpoint + "/", "my-deployment", api_key="azure-key")
        request = asked(client, server, requests)
        assert request.startswith("GET /openai/v1/realtime?model=my-deployment HTTP/1.1\r\n")
        headers = headers_of(request)
        assert headers["api-key"] == "azure-key"
        assert not {"authorization", "openai-organization", "openai-beta"} & set(headers)
        assert "not-for-azure" not in request
        request = asked(rt.Client.azure(endpoint, api_key="k"), server, requests, model="other")
        assert request.startswith("GET /openai/v1/realtime?model=other HTTP/1.1\r\n")
        request = asked(client, server, requests, call_id="rtc_1")
        assert request.startswith("GET /openai/v1/realtime?call_id=rtc_1 HTTP/1.1\r\n")


def test_azure_preview() -> None:
    """Azure's preview API has version and deployment in the query, and speaks the Beta dialect."""
    requests: list[str] = []
    tokens = iter(["token-1", "token-2"])
    with ScriptedServer(keep_request(requests)) as server:
        client = rt.Client.azure(
            server.url.removesuffix("/v1"),
            "my-deployment",
            token_provider=lambda: next(tokens),
            api_version="2025-04-01-preview",
        )
        request = asked(client, server, requests)
        assert request.startswith(
            "GET /openai/realtime?api-version=2025-04-01-preview&deployment=my-deployment HTTP/1.1\r\n"
        )
        assert headers_of(request)["authorization"] == "Bearer token-1"
        assert "api-key" not in headers_of(request)
        assert headers_of(asked(client, server, requests))["authorization"] == "Bearer token-2"


def test_azure_preview_speaks_beta() -> None:
    """An update of the preview API has no type, which only GA knows."""
    events: list[Any] = []
    with ScriptedServer(collect(events)) as server:
        client = rt.Client.azure(
            server.url.removesuffix("/v1"), "mine", api_key="k", api_version="2025-04-01-preview"
        )
        with client.connect(wait=False) as session:
            session.update(instructions="Be brief.")
    assert [event["session"] for event in events] == [{"instructions": "Be brief."}]


def test_azure_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and key of Azure come from its own variables; what is missing is named."""
    with pytest.raises(ValueError, match="AZURE_OPENAI_ENDPOINT"):
        rt.Client.azure()
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://name.openai.azure.com")
    with pytest.raises(ValueError, match="AZURE_OPENAI_API_KEY"):
        rt.Client.azure()
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    assert repr(rt.Client.azure()) == "<Client for https://name.openai.azure.com/openai/v1>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "name.openai.azure.com"}, "must be like"),
        ({"endpoint": "https://name.openai.azure.com/openai/v1"}, "must end after the host"),
        ({"endpoint": "https://name.openai.azure.com?x=1"}, "must end after the host"),
        ({"endpoint": "https://u:p@name.openai.azure.com"}, "user name or password"),
        ({"endpoint": "http://name.openai.azure.com"}, "unencrypted"),
        ({"token_provider": lambda: "t"}, "not both"),
        ({"api_version": "2025-04-01-preview"}, "needs a deployment"),
    ],
)
def test_bad_azure_settings(options: dict[str, Any], message: str) -> None:
    """What can't be an Azure resource is rejected before anything is sent."""
    settings = {"endpoint": "https://name.openai.azure.com", "api_key": "k", **options}
    with pytest.raises(ValueError, match=message):
        rt.Client.azure(**settings)


def test_close_a_client() -> None:
    """A client gives its HTTP connections back when it is closed, and can be used again."""
    with LocalServer() as server, rt.Client(base_url=server.url) as client:
        client.close()
        for _ in range(2):
            assert client.client_secrets.create().value.startswith("ek_")
            client.close()


def waits_in(function: str) -> bool:
    """Whether the main thread is in this function."""
    frame: FrameType | None = sys._current_frames()[threading.main_thread().ident or 0]
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back
    return frame is not None


@pytest.mark.parametrize("reconnect", [False, True])
def test_ctrl_c_while_waiting(reconnect: bool) -> None:
    """Ctrl-C while `connect` waits for the session closes the connection."""
    ended = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        pause = threading.Event()
        while not waits_in("wait_for_first_event"):
            pause.wait(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            caller.serve_until_closed()
        finally:
            ended.set()

    with ScriptedServer(script) as server:
        with pytest.raises(KeyboardInterrupt):
            rt.connect(base_url=server.url, connect_timeout=DEADLINE, reconnect=reconnect)
        assert ended.wait(DEADLINE)
    assert len(server.callers) == 1


def test_two_names_for_one_thing() -> None:
    """A deployment and a model, or a call and a model, contradict each other."""
    client = rt.Client.azure("https://name.openai.azure.com", "mine", api_key="k")
    with pytest.raises(ValueError, match="deployment or model"):
        client.connect("gpt-realtime")
    with pytest.raises(ValueError, match="model or call_id"):
        rt.Client(api_key="k").connect("gpt-realtime", call_id="rtc_1")


def test_local() -> None:
    """`Client.local` is the server that ``serve`` runs, whatever the environment says."""
    with LocalServer() as server, rt.Client.local(server.port).connect() as session:
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)
    assert repr(rt.Client.local()) == "<Client for http://127.0.0.1:8765/v1>"


def test_kinds_of_sessions() -> None:
    """Transcription, translation and a call are asked for where the API wants it."""
    with LocalServer() as server:
        client = rt.Client(base_url=server.url)
        with client.connect(intent="transcription") as session:
            assert session.config
            assert session.config.type == "transcription"
        with client.connect("gpt-realtime-translate", translation=True) as session:
            assert session.config
            assert session.config.type == "translation"
        call_id = server.create_call()
        client.calls.accept(call_id, instructions="Answer the phone.")
        with client.connect(call_id=call_id) as session:
            assert session.config
            assert session.config.instructions == "Answer the phone."


# --- A session that has begun ------------------------------------------------------------------------


def test_connect_waits_for_the_session(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext | None) -> None:
    """When `connect` returns, the session has begun; its first event is still there to be taken."""
    with (
        ScriptedServer(opens, server_tls) as server,
        rt.connect(base_url=server.url, ssl_context=client_tls) as session,
    ):
        assert session.config is not None
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)


def test_refused_after_the_upgrade() -> None:
    """An error in place of a session is a `ConnectionFailed` with the server's words, without the key."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(
            '{"type":"error","event_id":"e","error":{"type":"invalid_request_error","code":"invalid_api_key",'
            '"message":"Incorrect API key provided: sk-secret-1."}}'
        )
        caller.close(3000)

    with (
        ScriptedServer(script) as server,
        pytest.raises(rt.ConnectionFailed, match="rejected the session") as e,
    ):
        rt.connect(base_url=server.url, api_key="sk-secret-1")
    assert e.value.error.code == "invalid_api_key"
    assert "Incorrect API key provided: ***." in str(e.value)
    assert "sk-secret-1" not in repr(vars(e.value))


def test_beta_has_been_switched_off() -> None:
    """A server without the Beta dialect says so, and `connect` passes it on."""
    with LocalServer(sunset_beta=True) as server, pytest.raises(rt.ConnectionFailed) as caught:
        rt.connect(base_url=server.url, dialect="beta")
    assert caught.value.error.code == "beta_api_shape_disabled"


def test_ended_at_once() -> None:
    """The error for a server that closes in place of beginning has code and reason."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.close(4001, "no room")

    with (
        ScriptedServer(script) as server,
        pytest.raises(rt.ConnectionFailed, match="4001: no room") as caught,
    ):
        rt.connect(base_url=server.url)
    assert isinstance(caught.value.__cause__, rt.ConnectionClosed)


def test_a_server_that_says_nothing() -> None:
    """If a server begins no session within the timeout, the connection is closed."""
    with (
        ScriptedServer(idle) as server,
        pytest.raises(rt.ConnectionFailed, match="sent no event in the connect timeout"),
    ):
        rt.connect(base_url=server.url, connect_timeout=0.2)


# --- An earlier conversation -------------------------------------------------------------------------


@pytest.mark.parametrize("reconnect", [False, True])
def test_an_item_that_can_not_be_sent(reconnect: bool) -> None:
    """When an item of an earlier conversation can't be sent, no session is left."""
    good = rt.events.Message(role="user", content=[rt.events.InputText(text="one")])
    wrong: Any = rt.events.Message(role="user", content=[object()])  # type: ignore[list-item]
    peers = Peer(), Peer()
    with nothing_left(), ScriptedServer(Connections(*peers)) as server:
        with pytest.raises(TypeError):
            opened(server.url, reconnect=reconnect, conversation=[good, wrong])
        assert len(server.callers) == 1
    assert [text for _, text, _ in peers[0].items] == ["one"]


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_link_that_is_lost_with_the_first_item(reconnect: bool) -> None:
    """When the connection is lost while `connect` sends an earlier conversation, no session is left."""

    def ends(event: Any) -> list[str]:
        raise ConnectionError

    item = rt.events.Message(role="user", content=[rt.events.InputText(text="one")])
    with nothing_left(), ScriptedServer(Connections(Peer(ends), refuses(401))) as server:
        with pytest.raises(rt.ConnectionClosed) as caught:
            opened(server.url, reconnect=reconnect, conversation=itertools.repeat(item))
        assert len(server.callers) == 1 + reconnect
    assert len(caught.value.attempts) == reconnect
