"""Every wait ends soon after Ctrl-C, whatever the network, the server or a device does: a table of all.

`ROWS` are the calls that wait, as a program makes them, each with what never goes on. `WAITS` are the places
in the package at which a thread can wait, and how each of these waits ends: the test that compares them with
the code fails for a place that nobody has thought about.
"""

import ast
import contextlib
import io
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import TIMEOUT, Terminal, start, streams
from fake_devices import Fake
from fake_ffmpeg import replace_ffmpeg
from reopened import Connections, Peer
from scripted import DEADLINE, Caller, ScriptedServer
from stuck import Pressed, Stalled, ctrl_c_when_stuck, fill, wait_until_stuck
from threads import wait_until
from tones import silence
from transcripts import event_frame, response, updated, wav

import realtime_sync as rt
from realtime_sync import voice
from realtime_sync.cli.main import main
from realtime_sync.local import LocalServer, Request, Say, ScriptedResponder
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import Conversation, audio

SOON = 3.0  # seconds; the promise is 1 on a machine that has nothing else to do


class Place:
    """What the rows need: servers that stall, devices that get stuck, files that give nothing.

    Attributes:
        fake: The devices.
        path: A folder.
    """

    def __init__(self, fake: Fake, path: Path, monkeypatch: pytest.MonkeyPatch, stack: contextlib.ExitStack):
        self.fake = fake
        self.path = path
        self.monkeypatch = monkeypatch
        self.stack = stack
        stack.callback(fake.released.set)

    def server(self, *answers: str) -> str:
        """The address of a server that says these, and stalls."""
        script = Stalled(*answers)
        server = self.stack.enter_context(ScriptedServer(script))
        self.stack.callback(script.released.set)
        return server.url

    def session(self, *answers: str, full: bool = False) -> rt.Session:
        """A session with such a server, whose link takes nothing any more if ``full``."""
        session = rt.connect(base_url=self.server(*answers), close_timeout=60)
        self.stack.callback(session.close, timeout=0)
        assert isinstance(session.next_event(DEADLINE), rt.events.SessionCreated)
        if full:
            fill(session)
        return session

    def silent_port(self) -> int:
        """A port at which connections are taken, and nothing is said."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.stack.callback(listener.close)
        port: int = listener.getsockname()[1]
        return port

    def pipe(self) -> str:
        """The name of a pipe that somebody has opened for writing, and writes nothing to."""
        path = str(self.path / "pipe.wav")
        os.mkfifo(path)
        self.stack.callback(os.close, os.open(path, os.O_RDWR))
        return path

    def recording(self, seconds: float = 60) -> str:
        return wav(self.path / "long.wav", silence(round(seconds * 1000)))

    def thread(self, work: Callable[[], object]) -> threading.Thread:
        """A thread that does this, and is stuck in it."""

        def run() -> None:
            with contextlib.suppress(rt.RealtimeError):
                work()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        wait_until_stuck(thread)
        return thread


def says_nothing(caller: Caller) -> None:
    """Agree to a connection, and begin no session."""
    caller.accept()
    caller.read()


Call = Callable[[], object]
ROWS: dict[str, tuple[Callable[[Place], Call], int]] = {}
"""For each name: what prepares the call and returns it, and how often Ctrl-C has to be pressed."""


def row(name: str, presses: int = 1) -> Callable[[Callable[[Place], Call]], Callable[[Place], Call]]:
    def add(prepare: Callable[[Place], Call]) -> Callable[[Place], Call]:
        assert name not in ROWS
        ROWS[name] = prepare, presses
        return prepare

    return add


def inside(session: rt.Session, call: Call) -> Call:
    """The call in ``with session``, so that the way out leads through its end."""

    def run() -> None:
        with session:
            call()

    return run


# --- Receiving: the server says nothing -----------------------------------------------------------------


def _receiving(name: str, call: Callable[[rt.Session], object]) -> None:
    @row(name)
    def prepare(place: Place) -> Call:
        session = place.session()
        return lambda: call(session)


_receiving("Session.next_event", lambda session: session.next_event())
_receiving("Session.__iter__", list)
_receiving("Session.wait_until", lambda session: session.wait_until(lambda: False, rt.Visitor()))
_receiving("Conversation.wait_for_item", lambda session: Conversation(session).wait_for_item())
_receiving("Conversation.wait_for_transcript", lambda session: Conversation(session).wait_for_transcript())
_receiving("Conversation.wait_for_answer", lambda session: Conversation(session).wait_for_answer())
_receiving("Conversation.wait_for_response", lambda session: Conversation(session).wait_for_response())
_receiving("Assistant.run", lambda session: voice.Assistant(session).run())


@row("with Session, Session.run")
def _(place: Place) -> Call:
    session = place.session()
    return inside(session, lambda: session.run(rt.Visitor()))


@row("Session.wait_until, run by another thread")
def _(place: Place) -> Call:
    session = place.session()
    place.thread(lambda: session.run(rt.Visitor()))
    return inside(session, lambda: session.wait_until(lambda: False, rt.Visitor()))


@row("Session.wait_for_first_event")
def _(place: Place) -> Call:
    server = place.stack.enter_context(ScriptedServer(says_nothing))
    session = rt.connect(base_url=server.url, wait=False)
    return inside(session, lambda: session.wait_for_first_event(60))


# --- Sending: the server reads nothing, and another thread is blocked in `send` ---------------------------


def _sending(name: str, call: Callable[[rt.Session], object]) -> None:
    @row(name)
    def prepare(place: Place) -> Call:
        session = place.session(full=True)
        return lambda: call(session)


_sending("Session.send", lambda session: session.send({"type": "input_audio_buffer.clear"}))
_sending("Session.update", lambda session: session.update(instructions="Be brief."))
_sending("input_audio_buffer.append", lambda session: session.input_audio_buffer.append(bytes(960)))
_sending("conversation.item.create", lambda session: session.conversation.item.create("Hi."))
_sending("response.create", lambda session: session.response.create())
_sending("response.create, when idle", lambda session: session.response.create(when_idle=True))
_sending("Assistant", lambda session: voice.Assistant(session))


@row("with Session, Session.send")
def _(place: Place) -> Call:
    session = place.session(full=True)
    return inside(session, lambda: session.send({"type": "input_audio_buffer.clear"}))


@row("Session.send, alone")
def _(place: Place) -> Call:
    session = place.session()
    return inside(session, lambda: session.input_audio_buffer.append(bytes(8_000_000)))


@row("input_audio_buffer.append, while reconnecting")
def _(place: Place) -> Call:
    server = place.stack.enter_context(ScriptedServer(Connections(Peer(), says_nothing)))
    policy = rt.Reconnect(audio_buffer=0.1)
    session = rt.connect(base_url=server.url, reconnect=policy, connect_timeout=60, close_timeout=60)
    place.stack.callback(session.close, timeout=0)
    server.callers[0].drop()
    wait_until(lambda: len(server.callers) == 2)

    def append() -> None:
        while True:
            session.input_audio_buffer.append(bytes(960))

    return inside(session, append)


@row("Playback.interrupt")
def _(place: Place) -> Call:
    session = place.session(response("created"))
    session.response.create()
    session.next_event(DEADLINE)
    fill(session)
    playback = voice.Playback(session, voice.ClockedSpeaker())
    return inside(session, playback.interrupt)


@row("stream_file, fast")
def _(place: Place) -> Call:
    session, path = place.session(), place.recording()
    return inside(session, lambda: audio.stream_file(session, path))


@row("stream_file, of a pipe")
def _(place: Place) -> Call:
    session, path = place.session(), place.pipe()
    return inside(session, lambda: audio.stream_file(session, path))


@row("stream_file, at its pace")
def _(place: Place) -> Call:
    session, path = place.session(), place.recording(1)
    return inside(
        session, lambda: audio.stream_file(session, path, "realtime", chunk_ms=60_000, end_with_silence=60.0)
    )


# --- Closing ----------------------------------------------------------------------------------------------


@row("Session.close")
def _(place: Place) -> Call:
    return place.session().close


@row("Session.close, full")
def _(place: Place) -> Call:
    return place.session(full=True).close


@row("Session.close, while another thread does")
def _(place: Place) -> Call:
    session = place.session(full=True)
    place.thread(session.close)
    return session.close


# --- Connecting -------------------------------------------------------------------------------------------


@row("connect, name server silent")
def _(place: Place) -> Call:
    place.monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: place.fake.released.wait())
    return lambda: rt.connect(
        base_url="ws://stuck.example/v1", api_key="", allow_insecure=True, connect_timeout=60
    )


@row("connect, handshake silent")
def _(place: Place) -> Call:
    url = f"ws://127.0.0.1:{place.silent_port()}/v1"
    return lambda: rt.connect(base_url=url, connect_timeout=60)


@row("connect, TLS silent")
def _(place: Place) -> Call:
    url = f"wss://127.0.0.1:{place.silent_port()}/v1"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return lambda: rt.connect(base_url=url, ssl_context=context, connect_timeout=60)


@row("connect, proxy silent")
def _(place: Place) -> Call:
    proxy = f"http://127.0.0.1:{place.silent_port()}"
    return lambda: rt.connect(base_url="ws://127.0.0.2:9/v1", proxy=proxy, connect_timeout=60)


@row("connect, SOCKS proxy silent")
def _(place: Place) -> Call:
    proxy = f"socks5://127.0.0.1:{place.silent_port()}"
    return lambda: rt.connect(base_url="ws://127.0.0.2:9/v1", proxy=proxy, connect_timeout=60)


@row("connect, no first event")
def _(place: Place) -> Call:
    server = place.stack.enter_context(ScriptedServer(says_nothing))
    return lambda: rt.connect(base_url=server.url, connect_timeout=60)


@row("Client.client_secrets.create")
def _(place: Place) -> Call:
    client = rt.Client(base_url=f"http://127.0.0.1:{place.silent_port()}/v1", api_key="any", timeout=60)
    place.stack.callback(client.close)
    return client.client_secrets.create


# --- Devices: one call of PortAudio's does not return, nor does Ctrl-C reach it ---------------------------


def _stuck_at(call: str, name: str, prepare: Callable[[Place], Call]) -> None:
    @row(name)
    def prepare_stuck(place: Place) -> Call:
        run = prepare(place)
        place.fake.stuck = call
        return run


def _microphone(place: Place, *, full: bool = False, started: bool = True) -> voice.Microphone:
    """A microphone, with something to send behind what the link does not take."""
    session = place.session(full=full)
    microphone = voice.Microphone(session)
    if started:
        microphone.start()
        place.fake.stream.hear(bytes(960))
    return microphone


_stuck_at("query", "list_devices", lambda place: voice.list_devices)
_stuck_at("query", "Speaker", lambda place: voice.Speaker)
_stuck_at("open", "Speaker, opening", lambda place: voice.Speaker)
_stuck_at("stop", "Speaker.stop", lambda place: voice.Speaker().stop)
_stuck_at("close", "Speaker.close", lambda place: voice.Speaker().close)
_stuck_at("query", "Microphone", lambda place: lambda: voice.Microphone(place.session()))
_stuck_at("start", "Microphone.start", lambda place: _microphone(place, started=False).start)
_stuck_at("close", "Microphone.stop", lambda place: _microphone(place).stop)


@row("Speaker.start")
def _(place: Place) -> Call:
    speaker = voice.Speaker()
    speaker.stop()
    place.fake.stuck = "start"
    return speaker.start


@row("Microphone.stop, full")
def _(place: Place) -> Call:
    return _microphone(place, full=True).stop


@row("FileMicrophone.start, of a pipe")
def _(place: Place) -> Call:
    return voice.FileMicrophone(place.session(), place.pipe()).start


@row("FileMicrophone.stop, full")
def _(place: Place) -> Call:
    microphone = voice.FileMicrophone(place.session(full=True), place.recording())
    microphone.start()
    return microphone.stop


@row("with Microphone, full")
def _(place: Place) -> Call:
    session = place.session(full=True)

    def run() -> None:
        with session, voice.Microphone(session):
            place.fake.stream.hear(bytes(960))
            session.run(rt.Visitor())

    return run


@row("with FileMicrophone, full")
def _(place: Place) -> Call:
    session, path = place.session(full=True), place.recording()

    def run() -> None:
        with session, voice.FileMicrophone(session, path):
            session.run(rt.Visitor())

    return run


@row("with Speaker, Session, Assistant.run, full and the devices stuck")
def _(place: Place) -> Call:
    session, speaker = place.session(), voice.Speaker()
    assistant = voice.Assistant(session, microphone=voice.Microphone(session), speaker=speaker)
    fill(session)
    place.fake.stuck = "close"

    def run() -> None:
        with speaker, session:
            assistant.run()

    return run


# --- Files, playing, tools, servers -----------------------------------------------------------------------


@row("read_audio, of a pipe")
def _(place: Place) -> Call:
    path = place.pipe()
    return lambda: audio.read_audio(path)


@row("read_audio, by ffmpeg")
def _(place: Place) -> Call:
    replace_ffmpeg(place.path, place.monkeypatch, "import time; time.sleep(600)")
    path = place.path / "recording.flac"
    path.write_bytes(b"fLaC")
    return lambda: audio.read_audio(path)


@row("Playback.wait_played")
def _(place: Place) -> Call:
    delta = event_frame(
        "response.output_audio.delta", response_id="r", item_id="m", output_index=0, delta="AAAA" * 99
    )
    session = place.session(response("created"), delta)
    session.response.create()
    session.response.create()
    playback = voice.Playback(session, voice.ClockedSpeaker(clock=lambda: 0.0))
    session.run(playback, until=rt.events.ResponseOutputAudioDelta, timeout=DEADLINE)
    assert playback.pending_ms
    return inside(session, playback.wait_played)


@row("ToolRunner.wait")
def _(place: Place) -> Call:
    tools = voice.Tools(timeout=None)
    tools.function(lambda: place.fake.released.wait(), name="hang")
    call = event_frame(
        "response.output_item.done",
        response_id="r",
        output_index=0,
        item={"type": "function_call", "id": "i", "call_id": "c", "name": "hang", "arguments": "{}"},
    )
    session = place.session(call)
    session.response.create()
    runner = voice.ToolRunner(session, tools)
    session.run(runner, until=rt.events.ResponseOutputItemDone, timeout=DEADLINE)
    return inside(session, runner.wait)


@row("RealtimeServer.wait_for")
def _(place: Place) -> Call:
    server = place.stack.enter_context(RealtimeServer())
    return lambda: server.wait_for(rt.events.ResponseCreate, 60)


class Stuck:
    """A responder that does not return."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.began = threading.Event()

    def respond(self, request: Request) -> Iterator[Say]:
        self.began.set()
        self._place.fake.released.wait()
        yield Say("At last.")


@row("LocalServer.stop")
def _(place: Place) -> Call:
    responder = Stuck(place)
    server = LocalServer(responder=responder).start()
    place.stack.callback(server.stop)
    place.stack.callback(place.fake.released.set)
    session = rt.connect(base_url=server.url, api_key="any")
    place.stack.callback(session.close, timeout=0)
    session.response.create()
    assert responder.began.wait(DEADLINE)
    return server.stop


@row("LocalServer.restart")
def _(place: Place) -> Call:
    server = place.stack.enter_context(LocalServer())
    return lambda: server.restart(down=60)


# --- The commands -----------------------------------------------------------------------------------------


def _command(name: str, *arguments: str, presses: int = 1, status: int = 130) -> None:
    @row(name, presses)
    def prepare(place: Place) -> Call:
        out = str(place.path / "out.wav")
        where = {"URL": place.server(updated()), "IN": place.recording(), "PIPE": place.pipe(), "OUT": out}
        words = [where.get(word, word) for word in arguments]

        def run() -> None:
            with streams(stdin=io.TextIOWrapper(io.BytesIO())):
                assert main(words) == status
            raise KeyboardInterrupt

        return run


_command("chat", "chat", "--base-url", "URL", "Hi", presses=2)
_command("talk", "talk", "--base-url", "URL", "--pace", "fast", "--input", "IN", "--output", "OUT")
_command("talk, of a pipe", "talk", "--base-url", "URL", "--input", "PIPE", "--output", "OUT")
_command("transcribe", "transcribe", "--base-url", "URL", "IN")
_command("transcribe, of a pipe", "transcribe", "--base-url", "URL", "PIPE")
_command("serve", "serve", "--port", "0", status=0)


@row("chat, nobody reads its output", 2)
def _(place: Place) -> Call:
    reading, writing = os.pipe()
    place.stack.callback(os.close, reading)
    server = place.stack.enter_context(LocalServer(responder=ScriptedResponder([Say("word " * 40_000)])))

    def run() -> None:
        with (
            open(writing, "w", encoding="utf-8") as out,
            streams(stdout=out, stdin=io.TextIOWrapper(io.BytesIO())),
        ):
            assert main(["chat", "--base-url", server.url, "Hi"]) == 130
        raise KeyboardInterrupt

    return run


def _asking(name: str, kind: type[io.TextIOWrapper], *prompt: str) -> None:
    @row(name)
    def prepare(place: Place) -> Call:
        url = place.server(updated())
        stdin = place.stack.enter_context(kind(open(place.pipe(), "rb")))  # noqa: SIM115 (closed by `kind`)

        def run() -> None:
            with streams(stdin=stdin):
                assert main(["chat", "--base-url", url, *prompt]) == 130
            raise KeyboardInterrupt

        return run


_asking("chat, nothing is typed", Terminal)
_asking("chat, no lines come", io.TextIOWrapper)
_asking("chat, no text comes", io.TextIOWrapper, "review this")


# --- The tests --------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with contextlib.ExitStack() as stack:
        yield Place(fake, tmp_path, monkeypatch, stack)


@pytest.mark.parametrize("name", ROWS)
def test_ctrl_c(name: str, place: Place, record_property: Callable[[str, object], None]) -> None:
    """Ctrl-C ends the call within a second, and so does the ``with`` around it."""
    prepare, presses = ROWS[name]
    call = prepare(place)
    pressed = Pressed()
    with pytest.raises(KeyboardInterrupt), ctrl_c_when_stuck(pressed, presses):
        call()
    record_property("seconds", round(pressed.seconds, 3))
    assert pressed.at, "it has not waited"
    assert pressed.seconds < SOON


@pytest.mark.slow
def test_a_server_that_is_stopped(tmp_path: Path) -> None:
    """Ctrl-C ends the program `talk` within a second, also when SIGSTOP has stopped the server's process."""
    server = start("serve", "--port", "0")
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        path, out = wav(tmp_path / "long.wav", silence(180_000)), str(tmp_path / "out.wav")
        arguments = ["--pace", "fast", "--input", path, "--output", out, "-v"]
        process = start("talk", "--base-url", url, *arguments)
        assert process.stderr is not None
        assert "opened" in process.stderr.readline()
        server.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):  # it sends as much as the system takes, and is stuck
            process.wait(2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 130
        assert time.monotonic() - began < SOON
    finally:
        server.kill()
        server.communicate(timeout=TIMEOUT)


# --- Where the package waits ------------------------------------------------------------------------------

ITSELF = "on a thread of ours; what waits for that thread is in the table too"
MOMENT = "for a moment only: it asks without waiting, or what it waits for is about to end"

# The names of functions and methods that wait.  Locks in ``with`` are held for moments: each says so.
WAITING = {
    "accept",
    "acquire",
    "communicate",
    "connect",
    "do_handshake",
    "getaddrinfo",
    "input",
    "iter_content",
    "join",
    "poll",
    "readline",
    "recv",
    "recv_into",
    "select",
    "sendall",
    "sleep",
    "wait",
    "wait_for",
}

WAITS: dict[str, str | tuple[str, ...]] = {
    # the command line
    "cli/chat:_ask_a_person": ("chat, nothing is typed",),
    "cli/ending:Ending.__exit__": ("talk", "talk, of a pipe"),
    "cli/ending:Ending._watch": ITSELF,
    "cli/sending:Sending.join": ("transcribe", "transcribe, of a pipe"),
    "cli/streams:_takes": MOMENT,
    "cli/streams:lines": ("chat, no lines come",),
    "cli/streams:text": ("chat, no text comes",),
    "cli/whole_events:WholeEvents.ctrl_c": MOMENT,
    # connecting and HTTP
    "cli/opening:_connect": ("connect, handshake silent",),
    "client:connect": ("connect, handshake silent", "connect, no first event"),
    "wire/dial:_connect_one": ("connect, name server silent",),  # the same system call as in the handshake
    "wire/dial:_in_time": ("connect, name server silent", "connect, SOCKS proxy silent"),
    "wire/dial:_read_head": ("connect, proxy silent",),
    "wire/dial:_resolve.ask": ITSELF,
    "wire/dial:_through_http": ("connect, proxy silent",),
    "wire/dial:_through_socks.connect": ITSELF,
    "wire/handshake:_HandshakeSocket.recv": MOMENT,
    "wire/handshake:_HandshakeSocket._read_answer": ("connect, handshake silent",),
    "wire/handshake:_HandshakeSocket._read_body": ("connect, handshake silent",),
    "wire/handshake:_handshake": ("connect, handshake silent",),
    "wire/link:Link.start_tls": ("connect, TLS silent",),
    "rest/adapter:_Direct._new_conn": ("Client.client_secrets.create",),
    "rest/adapter:_left": MOMENT,
    "rest/requester:_read": ("Client.client_secrets.create",),
    # a session
    "session/gate:Gate.wait_for_room": ("input_audio_buffer.append, while reconnecting",),
    "session/inbox:Inbox.wait_for_room": ITSELF,
    "session/inbox:_wait_for": ("Session.next_event", "with Session, Session.run"),
    "session/pump:Pump._watch": ("Session.wait_until, run by another thread",),
    "session/reader:Reader.__init__": MOMENT,
    "session/reader:Reader._reopen": ITSELF,
    "session/reader:Reader.close": ("Session.close", "Session.close, while another thread does"),
    "session/reader:Reader.wait_for_first_event": ("Session.wait_for_first_event",),
    "session/sending:Sender._closed_error": MOMENT,
    "session/sending:Sender._send": ("with Session, Session.send",),
    "session/watch:Watch._roll_over": ITSELF,
    "session/watch:Watch._run": ITSELF,
    "wire/link:Link._receive": ITSELF,
    "wire/link:Link.complete": ("Session.send", "Session.close, full"),
    "wire/link:Link.flush": MOMENT,
    "wire/link:Link._takes_turn": ("Session.send", "Session.close, full"),
    "wire/link:_reading_waiter": MOMENT,
    "wire/link:_reading_waiter.wait": ITSELF,
    "wire/link:_ready": ("Session.send, alone",),
    "wire/transport:Transport._read": ITSELF,
    # voice and files
    "sound/ffmpeg:_cut_short": MOMENT,
    "sound/ffmpeg:_end_of": MOMENT,
    "sound/ffmpeg:by_ffmpeg": ("read_audio, by ffmpeg",),
    "sound/wav_header:_skip": ("read_audio, of a pipe",),
    "sound/wav_header:read_up_to": ("read_audio, of a pipe", "stream_file, of a pipe"),
    "voice/audio:_send": ("stream_file, at its pace",),
    "voice/devices:_Calls._run": ITSELF,
    "voice/devices:_Calls.make": ("Speaker, opening", "Speaker.stop", "Microphone.start", "list_devices"),
    "voice/microphones:FileMicrophone._send": ITSELF,
    "voice/microphones:FileMicrophone.stop": ("FileMicrophone.stop, full",),
    "voice/microphones:Microphone._next": ITSELF,
    "voice/microphones:Microphone.abandon": ("with Microphone, full",),
    "voice/microphones:Microphone.stop": ("Microphone.stop", "Microphone.stop, full"),
    "voice/playback:Playback.wait_played": ("Playback.wait_played",),
    "voice/speakers:Speaker._take_kept": MOMENT,
    "voice/tool_runner:ToolRunner.wait": ("ToolRunner.wait",),
    # the local server, and its sibling for tests
    "cli/demo:run": MOMENT,
    "cli/keys:_read": ITSELF,
    "cli/meter:Meter._run": ITSELF,
    "voice/echo:Canceller.process": MOMENT,
    # what the local server lets run beside a session, which ends it
    "local/chat/exchange:Exchange._connect": ITSELF,
    "local/chat/exchange:Exchange._shake_hands": ITSELF,
    "local/chat/exchange:Exchange.post": ITSELF,
    "local/chat/exchange:Exchange.receive_into": ITSELF,
    "local/chat/responder:_Reply._beginning": ITSELF,
    "local/chat/responder:_Reply._reason": ITSELF,
    "local/chat/responder:_Reply._rest": ITSELF,
    "speech/espeak:EspeakVoice.speak": ITSELF,
    "speech/espeak:_audio": ITSELF,
    "speech/pool:Pool.borrowed": ITSELF,
    "local/background:Background.close": ITSELF,
    "local/background:Background.drain": MOMENT,
    "local/background:_Worker._put": ITSELF,
    "local/background:_Worker.take": MOMENT,
    "local/connections:HttpServer._accept": ITSELF,
    "local/connections:HttpServer._accept_one": ITSELF,
    "local/connections:HttpServer._join": ("LocalServer.stop",),
    "local/connections:HttpServer._reopen": ITSELF,
    "local/connections:HttpServer.end": ("LocalServer.stop", "serve"),
    "local/connections:HttpServer.finish_request": ITSELF,
    "local/connections:HttpServer.restart": ("LocalServer.restart",),
    "local/connections:Handler._linger": ITSELF,
    "local/http/reading:_exactly": ITSELF,
    "local/http/reading:_in_chunks": ITSELF,
    "local/http/api:_accept": MOMENT,
    "local/loop:Loop.run": ITSELF,
    "local/server:LocalServer.serve_forever": ("serve",),
    "local/websocket:WebSocket._read": ITSELF,
    "local/websocket:_poll": ITSELF,
    "testing/plugin:realtime_session": ("connect, no first event",),
    "testing/record:Recorder.wait": ("RealtimeServer.wait_for",),
    "testing/server:RealtimeServer._wait": ("RealtimeServer.wait_for",),
}
"""For each function that waits, the rows that try it, or what ends the wait."""


def waits(tree: ast.AST, inside: str = "") -> Iterator[str]:
    """The functions in which something is called that waits."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        name = (
            f"{inside}.{node.name}".lstrip(".")
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else inside
        )
        if isinstance(node, ast.Call) and is_waiting(node):
            yield inside
        yield from waits(node, name if named else inside)


def is_waiting(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    of = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if name == "join":  # texts and paths are joined too
        return "thread" in of or of in ("acceptor", "sender", "self._acceptor", "self._timer")
    takes = name == "get" and (not call.args or any(word.arg == "timeout" for word in call.keywords))
    reads = name == "read" and of not in ("self._tls", "self._outgoing", "self._usage", "tool.signature")
    return name in WAITING or takes or reads


def test_every_wait_is_in_the_table() -> None:
    """No place in the package waits without being in the table, with a row that tries it or another end."""
    package = Path(rt.__file__).parent
    found = {
        f"{file.relative_to(package).with_suffix('')}:{name}"
        for file in package.rglob("*.py")
        for name in waits(ast.parse(file.read_text("utf-8")))
    }
    assert found == set(WAITS)
    assert {name for rows in WAITS.values() if isinstance(rows, tuple) for name in rows} <= set(ROWS)
