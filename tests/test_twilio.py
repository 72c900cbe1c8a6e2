"""The Twilio example: a caller who plays Twilio, the bridge in Flask threads, and the local server."""

import base64
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from scripted import DEADLINE
from secrets_watch import API_KEY
from websocket import ABNF, WebSocket, WebSocketTimeoutException, create_connection
from werkzeug.serving import make_server

from realtime_sync import events as ev
from realtime_sync.local import Say
from realtime_sync.sound.formats import PCMU, bytes_of, input_format, output_format, samples_of
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import read_wav

EXAMPLE = Path(__file__).parent.parent / "examples" / "twilio_bridge.py"
SPEECH = bytes_of(samples_of(read_wav(Path(__file__).parent / "data" / "interrupt.wav"))[::3], PCMU)
SILENCE = bytes_of([0], PCMU) * 8000  # a second: the turn is over
EVERY_BYTE = bytes(range(256)) * 20
STREAM = "MZ18ad3ab5a668481ce02b83e7395059f0"


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture
def bridge(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, imported with the local server in its environment."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.http_url)
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    spec = importlib.util.spec_from_file_location("twilio_bridge", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def address(bridge: ModuleType) -> Iterator[str]:
    """Where the bridge listens.  When the test is over, no thread of it is left."""
    before = set(threading.enumerate())
    web = make_server("127.0.0.1", 0, bridge.app, threaded=True)
    # Accepts the calls, each of which gets a thread of Werkzeug's.
    threading.Thread(target=web.serve_forever).start()
    yield f"127.0.0.1:{web.port}"
    web.shutdown()
    web.server_close()
    for thread in set(threading.enumerate()) - before:  # not files: Werkzeug and flask-sock leave some to gc
        thread.join(DEADLINE)
        assert not thread.is_alive(), thread


class Call:
    """A call, as Twilio streams it.

    Attributes:
        heard: The sound that the caller got.
        over: The bridge has hung up.
        cleared: How often what had not been played yet was thrown away.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.heard = b""
        self.over = False
        self.cleared = 0
        socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        self.send("start", start={"streamSid": STREAM, "tracks": ["inbound"], "mediaFormat": media})

    def send(self, event: str, **content: Any) -> None:
        self.socket.send(json.dumps({"event": event, "streamSid": STREAM, **content}))

    def say(self, audio: bytes) -> None:
        """Speak, in chunks of 20 ms."""
        for start in range(0, len(audio), 160):
            payload = base64.b64encode(audio[start : start + 160]).decode()
            self.send("media", media={"track": "inbound", "timestamp": str(start // 8), "payload": payload})

    def listen(self, enough: Callable[[], bool]) -> None:
        """Take what the bridge sends until it is enough."""
        while not enough():
            opcode, payload = self.socket.recv_data()
            if opcode == ABNF.OPCODE_CLOSE:
                self.over = True
                continue
            message = json.loads(payload)
            assert message["streamSid"] == STREAM
            if message["event"] == "media":
                self.heard += base64.b64decode(message["media"]["payload"], validate=True)
            else:
                assert message["event"] == "clear"
                self.cleared += 1


@contextmanager
def calling(address: str) -> Iterator[Call]:
    """Ring, and in the end be gone without a word."""
    socket = create_connection(f"ws://{address}/sound", timeout=DEADLINE)
    try:
        yield Call(socket)
    finally:
        socket.shutdown()  # type: ignore[no-untyped-call]


def test_the_answer_to_the_call(bridge: ModuleType) -> None:
    """Twilio is told to stream the audio both ways, to the host that it has asked."""
    answer = bridge.app.test_client().post("/call", headers={"Host": "phone.example.com"})
    assert answer.mimetype == "text/xml"
    response = ElementTree.fromstring(answer.text)
    assert [element.tag for element in response.iter()] == ["Response", "Connect", "Stream"]
    assert response[0][0].attrib == {"url": "wss://phone.example.com/sound"}


@pytest.mark.parametrize("host", ['a"/><Say>hello</Say>', "a&b", "{{ config }}", "a'b"])
def test_a_forged_host(bridge: ModuleType, host: str) -> None:
    """What somebody else puts into the request can't become a command."""
    answer = bridge.app.test_client().post("/call", headers={"Host": host})
    # Werkzeug may have refused the name; the template doesn't rely on that.
    template = bridge.app.jinja_env.from_string(bridge.TWIML)
    for text in (answer.text, template.render(request=SimpleNamespace(host=host))):
        tags = [element.tag for element in ElementTree.fromstring(text).iter()]
        assert tags == ["Response", "Connect", "Stream"]


def test_sound_passes_unchanged(server: RealtimeServer, address: str) -> None:
    """What the caller says reaches the model byte by byte, and what the model says the caller."""
    server.expects(instructions="Greet the caller").replies(Say("Hello!", audio=EVERY_BYTE))
    with calling(address) as call:
        call.listen(lambda: len(call.heard) >= len(EVERY_BYTE))
        call.say(EVERY_BYTE)
        server.wait_until(lambda: len(server.audio_received) >= len(EVERY_BYTE))
    assert call.heard == EVERY_BYTE
    assert server.audio_received == EVERY_BYTE
    [updated] = server.sent_of(ev.SessionUpdated)
    assert input_format(updated.session) == output_format(updated.session) == PCMU


@pytest.mark.parametrize(
    "respelt",
    [
        lambda payload: payload.rstrip("="),
        lambda payload: payload.replace("+", "-").replace("/", "_"),
        lambda payload: f" {payload[:50]}\r\n{payload[50:]}\n",
    ],
    ids=["no padding", "url-safe", "line breaks"],
)
def test_base64_as_others_write_it(
    server: RealtimeServer, address: str, respelt: Callable[[str], str]
) -> None:
    """What the caller says is taken however its base64 is written."""
    chunk = bytes(range(256))[:-1] + b"\xfe"
    with calling(address) as call:
        call.listen(lambda: len(call.heard) > 0)
        for size in (256, 255, 254):  # with every padding that there is
            call.send("media", media={"payload": respelt(base64.b64encode(chunk[-size:]).decode())})
        server.wait_until(lambda: len(server.audio_received) >= 256 + 255 + 254)
    assert server.audio_received == chunk + chunk[-255:] + chunk[-254:]


@pytest.mark.parametrize("payload", ["A", "no base64!", "\u00fc", "AAAA=AAA"])
def test_what_is_not_base64(
    server: RealtimeServer, address: str, payload: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A chunk that is not base64 is skipped with a line in the log, and the call goes on."""
    with calling(address) as call:
        call.listen(lambda: len(call.heard) > 0)
        call.send("media", media={"payload": payload})
        call.say(EVERY_BYTE)
        server.wait_until(lambda: len(server.audio_received) >= len(EVERY_BYTE))
        assert not call.over
    assert server.audio_received == EVERY_BYTE
    assert not server.sent_of(ev.ErrorEvent)
    [line] = [record for record in caplog.records if record.name == "twilio_bridge"]
    assert line.levelname == "WARNING"
    assert "audio" in line.getMessage()


def test_an_interruption(server: RealtimeServer, address: str) -> None:
    """When the caller speaks, Twilio throws the rest away, and the server knows how much was heard."""
    server.expects().replies(Say("Once upon a time.", audio=bytes(800_000)))
    server.expects(audio=lambda seconds: seconds > 1).replies(Say("Yes?", audio=EVERY_BYTE))
    with calling(address) as call:
        call.listen(lambda: len(call.heard) >= 8_000)
        call.say(SPEECH + SILENCE)
        call.listen(lambda: call.cleared > 0)
        call.heard = b""
        call.listen(lambda: len(call.heard) >= len(EVERY_BYTE))
    assert call.heard == EVERY_BYTE  # and nothing more of what was cut off
    assert call.cleared == 1
    [truncated] = server.sent_of(ev.ConversationItemTruncated)
    assert 0 < truncated.audio_end_ms < 100_000
    assert not server.sent_of(ev.ErrorEvent)


@pytest.mark.parametrize("says_so", [True, False])
def test_hanging_up(server: RealtimeServer, address: str, says_so: bool) -> None:
    """When the caller hangs up, the session is closed, whether Twilio says so or is just gone."""
    with calling(address) as call:
        call.listen(lambda: len(call.heard) > 0)
        if says_so:
            call.send("stop", stop={"callSid": "CA1"})
            call.listen(lambda: call.over)
    server.wait_closed()
    assert list(server.closed.values()) == [1000]


def test_the_end_of_the_session(server: RealtimeServer, address: str) -> None:
    """When the session ends, so does the call."""
    server.expects().replies(Say("Hello!", audio=EVERY_BYTE))
    with calling(address) as call:
        call.listen(lambda: len(call.heard) >= len(EVERY_BYTE))
        server.stop()
        server.wait_closed()
        while not call.over:  # sound comes all the time, also when nobody speaks
            call.say(SILENCE[:160])
            call.socket.settimeout(0.01)
            with suppress(WebSocketTimeoutException):
                call.listen(lambda: call.over)
