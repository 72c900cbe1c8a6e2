"""Every example runs, as written, against the local server."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from scripted import DEADLINE
from secrets_watch import API_KEY, WEBHOOK_SECRET

from realtime_sync import webhooks
from realtime_sync.events import ResponseDone
from realtime_sync.local import LocalServer
from realtime_sync.testing import RealtimeServer

EXAMPLES = Path(__file__).parent.parent / "examples"

PRINTS = {
    "audio_next_event": ["I heard 2.0 seconds of audio.", "s of speech received"],
    "audio_visitor": ["Say hello.", "answer.wav: "],
    "function_call_next_event": ["roll_dice({})", '{"rolled": 4}'],
    "function_call_visitor": ["get_weather('Oslo')", "Rain in Oslo, 7 degrees."],
    "local_server": ["it said: One moment.", 'it called: hang_up {"politely": true}'],
    "text_next_event": ["Why is the sky blue?", "And at sunset?"],
    "text_visitor": ["Why is the sky blue?", "tokens"],
    "weather_line": ["I heard 2.0 seconds of audio."],
}
WEB_SERVERS = {"phone_call"}  # have tests of their own, below


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalServer() as server:
        yield server.url


def test_all_examples_are_run() -> None:
    """No example is left out here, and each is 20 to 50 lines long."""
    files = sorted(EXAMPLES.glob("*.py"))
    programs = [file.stem for file in files if not file.stem.startswith("test_")]
    assert programs == sorted({*PRINTS, *WEB_SERVERS})
    assert all(20 <= len(file.read_text().splitlines()) <= 50 for file in files)


@pytest.mark.parametrize("name", PRINTS)
def test_example(name: str, address: str, tmp_path: Path) -> None:
    """The example ends well and prints what it promises."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={**os.environ, "OPENAI_BASE_URL": address, "PYTHONPATH": str(EXAMPLES.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    for words in PRINTS[name]:
        assert words in ended.stdout


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
    """A webhook that somebody else signed is turned away, and the call rings on."""
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


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("test_*.py")), ids=lambda file: file.stem)
def test_example_of_a_test(file: Path, tmp_path: Path) -> None:
    """The tests among the examples pass, with nothing but what the package brings."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-Werror", "-p", "no:cacheprovider", str(file)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
