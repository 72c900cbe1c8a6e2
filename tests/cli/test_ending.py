"""When a talk is over."""

import json
from pathlib import Path

import pytest
from scripted import CREATED, Caller, ScriptedServer, error
from tones import silence
from transcripts import (
    BUFFER,
    Says,
    completed,
    event_frame,
    response,
    says,
    talks,
    turn,
    updated,
    wav,
    words,
)

from realtime_sync import events as ev
from realtime_sync.cli import ending
from realtime_sync.local import ScriptedResponder
from realtime_sync.testing import RealtimeServer

Printed = pytest.CaptureFixture[str]


def test_nothing_is_heard(impatient: None, tmp_path: Path, output: str, capsys: Printed) -> None:
    """When the server hears no speech, it doesn't take for ever."""
    path = wav(tmp_path / "quiet.wav", silence(300))
    with RealtimeServer() as server:
        assert talks(server.url, path, output) == 1
    assert capsys.readouterr() == ("", "realtime-sync: the server has heard no speech\n")


def test_no_answer(impatient: None, question: str, output: str, capsys: Printed) -> None:
    """When the server hears and does not answer, neither."""
    with says(*turn("a", 0, 900), completed("a", "Hi.")) as server:
        assert talks(server.url, question, output) == 1
    assert capsys.readouterr() == ("you: Hi.\n", "realtime-sync: the server has not answered\n")


def test_a_response_without_end(
    monkeypatch: pytest.MonkeyPatch, question: str, output: str, capsys: Printed
) -> None:
    """Nor when it begins to answer, and never ends."""
    monkeypatch.setattr(ending, "_THINKING", 0.2)
    with says(*turn("a", 0, 900), completed("a", "Hi."), response("created"), words("Er")) as server:
        assert talks(server.url, question, output) == 1
    assert capsys.readouterr() == ("you: Hi.\nmodel: Er\n", "realtime-sync: the server has not answered\n")


def pushed(received: list[str], said: str, *answer: str) -> ScriptedServer:
    """A server that hears a turn when it is committed, and answers when asked.

    Args:
        received: Gets the types of the events that it is sent, but for the audio.
        said: What ``session.created`` says of the settings.
        answer: The frames by which it answers a commit.
    """

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED.replace('"model"', f'{said}"model"'))
        answers = {
            "session.update": [updated()],
            "input_audio_buffer.commit": answer,
            "response.create": [response("created"), words("Yes."), response("done")],
        }
        while True:
            opcode, payload = caller.read_message()
            if opcode != 1:
                caller.frame(8, payload)
                return
            kind = json.loads(payload)["type"]
            if kind != "input_audio_buffer.append":
                received.append(kind)
            caller.text(*answers.get(kind, ()))

    return ScriptedServer(script)


HEARD = [event_frame(BUFFER + "committed", item_id="a"), completed("a", "Hi.")]
NULL = '"audio":{"input":{"turn_detection":null}},'


@pytest.mark.parametrize("said", [NULL, '"turn_detection":null,', ""])
def test_no_turn_detection(
    said: str, question: str, output: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a server that detects no turns, whether it says so or not, the file is committed, then answered."""
    monkeypatch.setattr(ending, "_UNHEARD", 0.2)
    received: list[str] = []
    with pushed(received, said, *HEARD) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr() == ("you: Hi.\nmodel: Yes.\n", "")
    assert received == ["session.update", "input_audio_buffer.commit", "response.create"]


def test_nothing_to_answer(impatient: None, question: str, output: str, capsys: Printed) -> None:
    """If the server does not take the file, no response is asked for."""
    received: list[str] = []
    with pushed(received, NULL, error("buffer too small")) as server:
        assert talks(server.url, question, output) == 1
    assert received[-1] == "input_audio_buffer.commit"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "realtime-sync: buffer too small",
        "realtime-sync: the server has heard no speech",
    ]


def test_silence_ends_the_last_turn(question: str, output: str) -> None:
    """Where turns are detected, silence behind the file ends the last one, and nothing is committed."""
    with RealtimeServer(responder=ScriptedResponder(["Yes."]), transcriber=Says("Hi.")) as server:
        assert talks(server.url, question, output) == 0
        assert len(server.sent_of(ev.InputAudioBufferCommitted)) == 1
        assert not server.received_of(ev.InputAudioBufferCommit)
