"""What a peer says is shown without secrets, control characters and endless lines, wherever it surfaces."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import call
from hostile_text import HOSTILE, KEY, LATIN, MARK, shown, tainted, tainted_frames, unfit
from http_api import read_http, refusal
from scripted import CREATED, DEADLINE, Caller, Script, ScriptedServer, error
from transcripts import INPUT, RESPONSE, completed, event_frame, response, turn, updated, wav, words

import realtime_sync as rt
from realtime_sync import voice
from realtime_sync.cli.cues import FORMATS

FRAMES = tainted_frames()
END = '{"type":"the.end","event_id":"e"}'
DIRECTIONS = "\u061c\u200e\u200f\u202e\u2066\U000e0041"  # which a player of subtitles knows
PROGRESS = re.compile(r"\ra\.wav: [^\r\n]*?\]|\r +\r")  # of tqdm, on a terminal
REASON = ("tainted \x1b[2J\x07\u202e " + KEY)[:120]


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log at its most talkative, which may be shown."""
    caplog.set_level(logging.DEBUG, "realtime_sync")
    yield caplog
    assert unfit(caplog.text) == []


def connected(server: ScriptedServer, **options: Any) -> rt.Session:
    return rt.connect(
        base_url=server.url, api_key=KEY, log_payloads=True, connect_timeout=DEADLINE, **options
    )


def closing(*frames: str) -> Script:
    """Sends these frames, and goodbye once it is sent something that is not about a tool."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, *frames, END)
        while caller.read_event()["type"] != "input_audio_buffer.clear":
            pass
        caller.close(1008, REASON)

    return script


def called(number: int, name: str, arguments: str) -> list[str]:
    """A response that calls a function."""
    call = {"type": "function_call", "id": f"f{number}", "call_id": f"c{number}", "status": "completed"}
    item = {**call, "name": name, "arguments": arguments}
    place = {"response_id": f"r{number}", "output_index": 0, "item": item}
    return [
        response("created", f"r{number}"),
        event_frame("response.output_item.added", **place),
        event_frame("response.output_item.done", **place),
        response("done", f"r{number}", output=[item]),
    ]


# --- Sessions ----------------------------------------------------------------------------------------

CALLS = [
    *called(1, HOSTILE[:900], "{}"),  # a longer name is no name
    *called(2, "weather", HOSTILE),
    *called(3, "weather", json.dumps({HOSTILE: 1})),
    *called(4, "weather", json.dumps({"city": HOSTILE.replace("\ud83d", "")})),
]


def test_every_text_of_every_event(lines: pytest.LogCaptureFixture) -> None:
    """Wherever in an event the text is: neither the log nor any repr shows what it may not."""

    def weather(city: str) -> str:
        """Return the weather."""
        raise ValueError(f"no weather in {city}")

    reprs: list[str] = []
    with ScriptedServer(closing(*CALLS, *FRAMES)) as server, connected(server) as session:
        conversation = voice.Conversation(session)
        with voice.ToolRunner(session, voice.Tools(weather)) as tools:
            for event in session:
                reprs.append(repr(event))
                conversation.visit(event)
                tools.visit(event)
                if event.type == "the.end":
                    break
        session.input_audio_buffer.clear()
        with pytest.raises(rt.ConnectionClosed) as closed:
            session.next_event(DEADLINE)
        reprs += map(repr, [session, *conversation.items, *conversation.responses])
    assert len(reprs) > len(FRAMES)
    assert [found for text in reprs for found in unfit(text, content=True)] == []
    assert unfit(shown(closed.value)) == []
    assert lines.text.count(MARK) > len(FRAMES)
    assert r"the model called 'tainted \x00" in lines.text
    assert r"ValueError: no weather in tainted \x00" in lines.text


@pytest.mark.parametrize("field", ["type", "code", "message", "param", "event_id"])
def test_an_error_in_place_of_a_session(field: str) -> None:
    """An error in place of a session is told of in one line, whatever it says and where."""
    frame = json.dumps(
        {"type": "error", "event_id": "e", "error": {"type": "", "message": "", field: HOSTILE}}
    )

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(frame)
        caller.serve_until_closed()

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionFailed) as failed:
        connected(server)
    assert unfit(shown(failed.value)) == []


def test_closed_in_place_of_a_session() -> None:
    """So is the reason of a close frame."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.close(1008, REASON)

    with ScriptedServer(script) as server, pytest.raises(rt.ConnectionFailed) as failed:
        connected(server)
    assert unfit(shown(failed.value)) == []
    assert MARK in str(failed.value)


# --- HTTP --------------------------------------------------------------------------------------------

HTML = b"<html><p>" + LATIN + b"</p></html>"
BODIES = [
    HOSTILE.encode("utf-8", "replace"),
    HTML,
    *(json.dumps(changed).encode() for changed in tainted(refusal(code="c", param="p"))),
    json.dumps({"error": HOSTILE}).encode(),
    json.dumps({"detail": HOSTILE}).encode(),
    HOSTILE.encode("utf-8", "replace") * 300,
]
ANSWERS = [
    *(
        b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        for body in BODIES
        for status in (200, 400)
    ),
    b"HTTP/1.1 500 " + LATIN + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 " + LATIN + b"\r\n\r\n",
    b"HTTP/1.1 404 No\r\nX-Request-Id: " + LATIN + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 No\r\n" + LATIN + b": x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 No\r\n" + LATIN + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 Yes\r\nContent-Length: " + LATIN + b"\r\n\r\n{}",
    b"HTTP/1.1 200 Yes\r\nTransfer-Encoding: chunked\r\n\r\n" + LATIN + b"\r\n",
    b"HTTP/1.1 200 Yes\r\nContent-Encoding: " + LATIN + b"\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 307 Go\r\nLocation: https://" + LATIN + b"/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 No\r\nRetry-After: " + LATIN + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: " + LATIN + b"\r\n\r\n",
    b"HTTP/1.1 101 Yes\r\nUpgrade: " + LATIN + b"\r\nSec-WebSocket-Extensions: " + LATIN + b"\r\n\r\n",
    LATIN,
    LATIN + b"\r\n\r\n",
]


def answering(data: bytes) -> Script:
    def script(caller: Caller) -> None:
        read_http(caller)
        caller.raw(data)

    return script


@pytest.mark.parametrize("data", ANSWERS, ids=range(len(ANSWERS)))
def test_an_http_answer(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an answer says and where, its error is a few lines; also in the logs of the libraries."""
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(answering(data)) as server:
        client = rt.Client(base_url=server.url, api_key=KEY, max_retries=0, timeout=DEADLINE)
        with client, pytest.raises(rt.APIError) as failed:
            client.client_secrets.create()
    assert unfit(shown(failed.value)) == []


@pytest.mark.parametrize("data", ANSWERS, ids=range(len(ANSWERS)))
def test_a_rejected_handshake(data: bytes) -> None:
    """So is that of a handshake."""
    with ScriptedServer(answering(data)) as server, pytest.raises(rt.ConnectionFailed) as failed:
        connected(server)
    assert unfit(shown(failed.value)) == []


@pytest.mark.parametrize("data", [answer for answer in ANSWERS if b" 200 " not in answer])
def test_a_proxy(data: bytes) -> None:
    """And that of a proxy."""
    with ScriptedServer(answering(data)) as proxy:
        options: Any = {"proxy": f"http://127.0.0.1:{proxy.port}", "api_key": KEY, "max_retries": 0}
        with rt.Client(base_url="https://server.example/v1", timeout=DEADLINE, **options) as client:
            with pytest.raises(rt.APIError) as failed:
                client.client_secrets.create()
            with pytest.raises(rt.ConnectionFailed) as rejected:
                client.connect()
    assert unfit(shown(failed.value)) == []
    assert unfit(shown(rejected.value)) == []


# --- Commands ----------------------------------------------------------------------------------------

FAILED = {"type": "failed", "error": {"type": HOSTILE, "message": HOSTILE, "code": HOSTILE}}
SAID = [
    *turn("a", 0, 400),
    completed("a", HOSTILE),
    *turn("b", 400, 800),
    event_frame(f"{INPUT}delta", item_id="b", delta=HOSTILE),
    event_frame(f"{INPUT}failed", item_id="b", error={"message": HOSTILE, "code": HOSTILE}),
    response("created"),
    event_frame("response.output_text.delta", delta=HOSTILE, **RESPONSE),
    words(HOSTILE),
    error(HOSTILE, HOSTILE),
    *FRAMES[::7],
    response("done", status="failed", status_details=FAILED),
]


def after(kind: str, *frames: str) -> ScriptedServer:
    """A server that takes settings, and says this, and goodbye, when it is sent such an event."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while (event := caller.read_event()["type"]) != kind:
            if event == "session.update":
                caller.text(updated())
        caller.text(*frames)
        caller.close(1008, REASON)

    return ScriptedServer(script)


@pytest.mark.parametrize("terminal", ["", "stdout stderr"])
@pytest.mark.parametrize(
    "command",
    [
        ["chat", "hello"],
        ["talk", "--pace", "fast", "--input", "{file}", "--output", "{output}"],
        *(["transcribe", "--format", kind, "{file}"] for kind in FORMATS),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_commands(command: list[str], terminal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command writes what it may not, on a terminal or elsewhere, however talkative it is."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file = wav(tmp_path / "a.wav", bytes(48_000))
    arguments = [word.format(file=file, output=tmp_path / "b.wav") for word in command]
    begins = "response.create" if command[0] == "chat" else "input_audio_buffer.append"
    with after(begins, *SAID) as server:
        _, out, err = call(*arguments, "-vv", "--base-url", server.url, terminal=terminal)
    assert unfit(PROGRESS.sub("", err)) == []
    for_players = command[0] == "transcribe" and not terminal
    assert (
        unfit("".join(char for char in out if not (for_players and char in DIRECTIONS)), content=True) == []
    )
    assert MARK in out
    assert MARK in err
