"""Every example runs, as written, against the local server."""

import importlib.util
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from scripted import CREATED, DEADLINE, Caller, ScriptedServer, error
from secrets_watch import API_KEY, WEBHOOK_SECRET

from realtime_sync import webhooks
from realtime_sync.events import ResponseDone
from realtime_sync.local import LocalServer
from realtime_sync.local.faults import Drop, Reset
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import wav_duration

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = Path(__file__).parent / "data"
QUESTION, INTERRUPT = str(DATA / "question.wav"), str(DATA / "interrupt.wav")

PRINTS = {
    "audio_next_event": ["I heard 2.0 seconds of audio.", "s of speech received"],
    "audio_visitor": ["Say hello.", "answer.wav: "],
    "function_call_next_event": ["roll_dice({})", '{"rolled": 4}'],
    "function_call_visitor": ["get_weather('Oslo')", "Rain in Oslo, 7 degrees."],
    "interruption": ["audio_end_ms=", "Assistant: You said", "[cut off after "],
    "local_server": ["it said: One moment.", 'it called: hang_up {"politely": true}'],
    "log_events": [
        "session.created",
        "response.output_audio.delta              <4800 bytes>",
        'You said "Hello"',
    ],
    "long_talk": ['Model: You said "Hi"', "0 reconnects, 1 notes", "-> 1 notes", "\nUser: And now?\n"],
    "push_to_talk": ["I heard 1.8 seconds of audio."],
    "text_chat": ['You: Model: You said "Hi"', "\nUser: Hi\n", "\nUser: And now?\n", "tokens in all."],
    "text_next_event": ["Why is the sky blue?", "And at sunset?"],
    "text_visitor": ["Why is the sky blue?", "tokens"],
    "tool_use": ['get_weather({"city": "Oslo"}) -> {"city":"Oslo","unit":"celsius","forecast":[7]}'],
    "transcription": [f"{QUESTION}: One point eight seconds of audio.\n{INTERRUPT}: One point eight"],
    "translation": ["(is) One point eight seconds of audio."],
    "voice_assistant": ["User: One point nine seconds of audio.\nAssistant: I heard 1.9 seconds of audio."],
    "voice_to_file": ["User: One point eight seconds", "Assistant: I heard 1.8 seconds", "answer.wav: 1.7 s"],
    "weather_line": ["I heard 2.0 seconds of audio."],
}
WEB_SERVERS = {"phone_call", "twilio_bridge"}  # have tests of their own, below and in test_twilio.py
ARGUMENTS = {
    "log_events": ["Hello"],
    "push_to_talk": [QUESTION, "answer.wav"],
    "tool_use": ['call get_weather {"city": "Oslo"}'],
    "transcription": [QUESTION, INTERRUPT],
    "translation": [QUESTION, "is"],
    "voice_assistant": [QUESTION, "answer.wav"],
    "voice_to_file": [QUESTION, "answer.wav"],
}
TYPED = {
    "long_talk": 'Hi\ncall write_down {"note": "milk"}\nAnd now?\n\n',
    "text_chat": "Hi\nAnd now?\n\n",
}
WRITES = {
    "audio_visitor": ["answer.wav"],
    "interruption": ["played.wav"],
    "push_to_talk": ["answer.wav"],
    "translation": ["translation.wav"],
    "voice_assistant": ["answer.wav"],
    "voice_to_file": ["answer.wav"],
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalServer() as server:
        yield server.url


def test_all_examples_are_run() -> None:
    """No example is left out here, and each is 20 to 55 lines long."""
    files = sorted(EXAMPLES.glob("*.py"))
    programs = [file.stem for file in files if not file.stem.startswith("test_")]
    assert programs == sorted({*PRINTS, *WEB_SERVERS})
    assert all(20 <= len(file.read_text().splitlines()) <= 55 for file in files)


def environment(address: str, *path: Path) -> dict[str, str]:
    """Where an example finds its server, and this package."""
    folders = os.pathsep.join(map(str, [*path, EXAMPLES.parent]))
    return {**os.environ, "OPENAI_BASE_URL": address, "PYTHONPATH": folders}


@dataclass
class Ended:
    """How an example ended: its exit status, and what it printed."""

    status: object
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture
def run(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs an example as `python name.py arguments` does, but in this process: a new one takes seconds."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str, server: str = address) -> Ended:
        path = str(EXAMPLES / f"{name}.py")
        monkeypatch.setenv("OPENAI_BASE_URL", server)
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(TYPED.get(name, "")))
        status: object = 0
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as error:
            status = error.code
        if isinstance(status, str):  # as Python does
            print(status, file=sys.stderr)
            status = 1
        return Ended(status, *capsys.readouterr())

    return run


@pytest.mark.parametrize("name", PRINTS)
def test_example(name: str, run: Run, tmp_path: Path) -> None:
    """The example ends well, prints what it promises, and writes the audio it promises, and nothing else."""
    ended = run(name, *ARGUMENTS.get(name, []))
    assert (ended.status, ended.stderr) == (0, "")
    for words in PRINTS[name]:
        assert words in ended.stdout
    assert [file.name for file in tmp_path.iterdir()] == WRITES.get(name, [])
    assert all(wav_duration(file) > 1 for file in tmp_path.iterdir())


def test_a_long_talk(run: Run) -> None:
    """A talk whose connection is lost three times is the same as one whose is not, and no tool runs twice."""
    drops = [Drop(received=4, connection=1), Reset(received=7, connection=2), Drop(events=14, connection=3)]
    with LocalServer(faults=drops) as server:
        ended = run("long_talk", server=server.url)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.count("[reconnected after ") == 3
    assert ended.stdout.count("lost: nothing]") == 3
    talk = ended.stdout.partition("3 reconnects, 1 notes; the whole conversation:\n")[2]
    assert [line.partition(":")[0] for line in talk.splitlines()] == [
        *("User", "Assistant", "User", "Tool", "Assistant", "User", "Assistant")
    ]


@pytest.mark.parametrize("name", ["transcription", "translation", "voice_to_file"])
def test_how_to_run_it(name: str, run: Run) -> None:
    """An example that needs a file says so."""
    ended = run(name)
    assert ended.status == 1
    assert f"python {name}.py" in ended.stderr


def test_as_a_program(address: str, tmp_path: Path) -> None:
    """An example runs as a program of its own, too, with nothing but the package on its path."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / "text_chat.py")],
        env=environment(address),
        cwd=tmp_path,
        input=TYPED["text_chat"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert all(words in ended.stdout for words in PRINTS["text_chat"])


@pytest.mark.parametrize(
    "name",
    [
        "audio_next_event",
        "audio_visitor",
        "function_call_next_event",
        "text_next_event",
        "text_visitor",
        "translation",
    ],
)
def test_errors_end_it(name: str, run: Run) -> None:
    """Where the server sends an error, the example ends with its message, and doesn't wait for more."""

    def refuse(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, error("out of order"))
        caller.serve_until_closed()

    with ScriptedServer(refuse) as server:
        ended = run(name, *ARGUMENTS.get(name, []), server=server.url)
    assert (ended.status, ended.stderr) == (1, "error: out of order\n")


def test_what_was_played(run: Run, tmp_path: Path) -> None:
    """The file has the audio that was played before the interruption, as long as the server was told."""
    truncated = re.search(r"audio_end_ms=(\d+)", run("interruption").stdout)
    assert truncated
    assert 0 <= round(wav_duration(tmp_path / "played.wav") * 1000, 6) - int(truncated[1]) < 1


def test_log_of_what_is_unknown(run: Run) -> None:
    """Every event has one line, including an unknown one and a frame that is no event."""
    with LocalServer(faults=["unknown:every=5", "malformed:every=3"]) as server:
        ended = run("log_events", "Hello", server=server.url)
    lines = ended.stdout.splitlines()
    assert any("realtime_sync.unknown" in line and "unknown: b'{" in line for line in lines)
    assert any("(no type)" in line and "not JSON" in line for line in lines)
    assert all(re.match(r" +\d+\.\d{3} s  \S|\d+ deviations from the protocol: ", line) for line in lines)


# --- With microphone and speaker -----------------------------------------------------------------------

SOUND_DEVICE = '''
"""A made-up sounddevice: its microphone hears a file and a second of silence, its speaker plays quickly."""

import os, threading, types, wave

PortAudioError = OSError
default = types.SimpleNamespace(hostapi=0)
status = types.SimpleNamespace(input_overflow=False, output_underflow=False)
times = types.SimpleNamespace(currentTime=1.0, outputBufferDacTime=1.0)

def query_devices(device=None, kind=None):
    return {"index": 0, "name": "made up", "hostapi": 0, "max_input_channels": 1, "max_output_channels": 1,
            "default_samplerate": 48000.0}

def query_hostapis(index):
    return {"name": "made up"}

def check_input_settings(**settings): ...
def check_output_settings(**settings): ...

class RawInputStream:
    latency = 0.0

    def __init__(self, callback, **options):
        self.callback, self.closed = callback, threading.Event()

    def start(self):
        with wave.open(os.environ["QUESTION"]) as file:
            sound = file.readframes(file.getnframes()) + bytes(48_000)
        for start in range(0, len(sound), 960):
            block = sound[start : start + 960]
            self.callback(block, len(block) // 2, times, status)

    def stop(self): ...

    def close(self):
        self.closed.set()

class RawOutputStream(RawInputStream):
    def start(self):
        threading.Thread(target=self.play, daemon=True).start()

    def play(self):
        while not self.closed.wait(0.001):
            self.callback(bytearray(960), 480, times, status)
'''


@pytest.fixture
def talk(address: str, tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Starts an example that talks by a microphone and a speaker, which are made up."""
    (tmp_path / "sounddevice.py").write_text(SOUND_DEVICE)
    started: list[subprocess.Popen[str]] = []

    def talk(name: str) -> "subprocess.Popen[str]":
        program = subprocess.Popen(
            [sys.executable, "-u", str(EXAMPLES / f"{name}.py")],
            env={**environment(address, tmp_path), "QUESTION": QUESTION},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield talk
    for program in started:
        program.kill()
        program.communicate()


def test_push_to_talk(talk: Callable[[str], "subprocess.Popen[str]"]) -> None:
    """Enter starts and stops the microphone, and the model answers what was said in between."""
    program = talk("push_to_talk")
    printed, errors = program.communicate("\n\n\n\n", timeout=60)
    assert (program.returncode, errors) == (0, "")
    assert printed.count("Enter for the answer... I heard 2.8 seconds of audio.\n") == 2


def test_voice_assistant(talk: Callable[[str], "subprocess.Popen[str]"]) -> None:
    """It answers what the microphone hears, and Ctrl-C ends it with the whole conversation."""
    program = talk("voice_assistant")
    assert program.stdout is not None
    assert program.stdout.readline() == "Assistant: I heard 1.9 seconds of audio.\n"
    program.send_signal(signal.SIGINT)
    printed, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (0, "")
    assert "User: One point nine seconds of audio.\nAssistant: I heard 1.9 seconds of audio." in printed


# --- The phone ---------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture
def phone_call(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, imported with the local server in its environment."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.http_url)
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", WEBHOOK_SECRET)
    spec = importlib.util.spec_from_file_location("phone_call", EXAMPLES / "phone_call.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ring(module: ModuleType, call_id: str, secret: str = WEBHOOK_SECRET) -> tuple[int, str]:
    """Post the webhook of a call, and return status and text of the answer."""
    data = {"call_id": call_id, "sip_headers": [{"name": "From", "value": "sip:+1@sip.example.com"}]}
    event = {"id": "evt_1", "type": "realtime.call.incoming", "created_at": 1, "data": data}
    body = json.dumps(event)
    answer = module.app.test_client().post("/webhook", data=body, headers=webhooks.sign(body, secret))
    return answer.status_code, answer.text


def thread_of(call_id: str) -> threading.Thread | None:
    return next((thread for thread in threading.enumerate() if thread.name == call_id), None)


def test_phone_call(
    server: RealtimeServer, phone_call: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """The web server accepts a call that rings, joins it, greets, and ends when the caller hangs up."""
    server.expects(instructions="Greet the caller").replies("Hello! What can I do for you?")
    call = server.call(server.create_call())
    assert ring(phone_call, call.id) == (200, "")
    talk = thread_of(call.id)
    assert talk is not None
    assert call.settings is not None
    assert (call.settings.model, call.settings.instructions) == ("gpt-realtime-2.1", "Be brief.")
    server.wait_until(lambda: server.sent_of(ResponseDone))
    call.hang_up()
    talk.join(DEADLINE)
    assert not talk.is_alive()
    assert capsys.readouterr().out == "the model said: Hello! What can I do for you?\n"
    assert len(server.sessions) == 1


def test_a_forged_phone_call(server: RealtimeServer, phone_call: ModuleType) -> None:
    """A webhook with a wrong signature is rejected, and the call keeps ringing."""
    call = server.call(server.create_call())
    status, text = ring(phone_call, call.id, "whsec_AAAA")
    assert status == 400
    assert "signature is wrong" in text
    assert (call.state, thread_of(call.id)) == ("ringing", None)


def test_a_phone_call_that_is_over(
    server: RealtimeServer, phone_call: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """A caller who hung up at once is no error that OpenAI should hear of, and try again."""
    call = server.call(server.create_call())
    call.hang_up()
    assert ring(phone_call, call.id) == (200, "")
    assert f"{call.id} " in capsys.readouterr().out
    assert thread_of(call.id) is None


def test_phone_call_without_flask(
    server: RealtimeServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Where Flask is missing, the example says what to install."""
    monkeypatch.setitem(sys.modules, "flask", None)
    with pytest.raises(SystemExit, match="pip install flask"):
        request.getfixturevalue("phone_call")


# Plugins of pytest that the examples don't use, and that take seconds to load.
QUICKER = ["-p", "no:hypothesispytest", "-p", "no:xdist"]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("test_*.py")), ids=lambda file: file.stem)
def test_example_of_a_test(file: Path, tmp_path: Path) -> None:
    """The tests among the examples pass, with nothing but what the package brings."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-Werror", "-p", "no:cacheprovider", *QUICKER, str(file)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
