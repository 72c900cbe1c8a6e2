"""A file on its way to a server: how its end is found, whatever the server can do."""

import os
from pathlib import Path
from typing import Any

import pytest
from command import TIMEOUT
from scripted import CREATED, Caller, ScriptedServer
from tones import tone
from transcripts import (
    COMMITTED,
    NO_DETECTION,
    Says,
    Transcriber,
    completed,
    event_frame,
    feed,
    turn,
    updated,
    wav,
)

from realtime_sync.cli import transcribe
from realtime_sync.cli.main import main
from realtime_sync.testing import RealtimeServer

Printed = pytest.CaptureFixture[str]


def test_no_turn_detection(two_turns: str, capsys: Printed) -> None:
    """Where the server says that it detects no turns, the file is committed as one."""
    with Transcriber(*COMMITTED, settings=NO_DETECTION) as server:
        assert server.transcribes("--format", "srt", two_turns) == 0
        assert server.received[-1]["type"] == "input_audio_buffer.commit"
    assert capsys.readouterr().out == "1\n00:00:00,000 --> 00:00:01,400\nAll of it.\n\n"


def test_turn_detection_is_rejected(two_turns: str, capsys: Printed) -> None:
    """A model that can't be used with turn detection is used without."""
    settings: list[Any] = []

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        settings.append(caller.read_event()["session"]["audio"]["input"]["turn_detection"])
        caller.text(
            event_frame("error", error={"message": "no", "param": "session.audio.input.turn_detection"})
        )
        settings.append(caller.read_event()["session"]["audio"]["input"]["turn_detection"])
        caller.text(NO_DETECTION)
        while caller.read_event()["type"] != "input_audio_buffer.commit":
            pass
        caller.text(*COMMITTED)
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns]) == 0
    assert (settings[0]["type"], settings[1]) == ("server_vad", None)
    assert capsys.readouterr() == ("All of it.\n", "")


def test_turn_detection_that_is_not_spoken_of(
    monkeypatch: pytest.MonkeyPatch, two_turns: str, capsys: Printed
) -> None:
    """Where the server says nothing of turn detection, and finds no speech, the file is committed."""
    monkeypatch.setattr(transcribe, "_OPEN_END", 0.1)

    def wait(caller: Caller) -> None:
        server.until(caller, "input_audio_buffer.commit")
        caller.text(*COMMITTED)
        caller.serve_until_closed()

    with Transcriber(updated(), then=wait) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("All of it.\n", "")


def test_the_commit_is_rejected(monkeypatch: pytest.MonkeyPatch, two_turns: str, capsys: Printed) -> None:
    """If the server has nothing to commit then, there was no speech, which is no error."""
    monkeypatch.setattr(transcribe, "_OPEN_END", 0.1)

    def reject(caller: Caller) -> None:
        server.until(caller, "input_audio_buffer.commit")
        details = {"message": "buffer empty", "event_id": server.received[-1]["event_id"]}
        caller.text(event_frame("error", error=details))
        caller.serve_until_closed()

    with Transcriber(updated(), then=reject) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("", f"realtime-sync: {two_turns}: the server has heard no speech\n")


def test_silence_ends_the_last_turn(calm: None, two_turns: str) -> None:
    """Behind the file comes a second of silence, by which the server finds the end of the last turn."""
    transcriber = Says("Hello.", "Bye.")
    with RealtimeServer(transcriber=transcriber) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns]) == 0
    assert [heard.seconds for heard in transcriber.heard] == [pytest.approx(0.9, abs=0.1)] * 2


def test_the_question_is_rejected(calm: None, two_turns: str, capsys: Printed) -> None:
    """A server that rejects the question whether it has heard all has answered it."""

    def reject(caller: Caller) -> None:
        event_id = server.received[-1]["event_id"]
        caller.text(
            *turn("a", 100, 900),
            completed("a", "Hello."),
            event_frame("error", error={"message": "not now", "event_id": event_id}),
        )
        caller.serve_until_closed()

    with Transcriber(then=reject) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("Hello.\n", "")


def test_it_is_lost_while_the_file_is_sent(tmp_path: Path, capsys: Printed) -> None:
    """The same, when the file was not sent to its end."""
    path = wav(tmp_path / "long.wav", tone(1000) * 60)

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "input_audio_buffer.append":
            caller.text(updated())
        caller.text(*turn("a", 100, 900), completed("a", "Hello."))
        caller.close(1011, "overloaded")

    with ScriptedServer(script) as server:
        assert main(["transcribe", "--pace", "realtime", "--base-url", server.url, path]) == 1
    out, err = capsys.readouterr()
    assert out == "Hello.\n"
    assert "1011: overloaded; the transcript ends at 00:00:00.900" in err


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    return path


def test_a_pipe(calm: None, pipe: Path, two_turns: str, capsys: Printed) -> None:
    """A pipe is read once, from its beginning."""
    thread = feed(pipe, Path(two_turns).read_bytes())
    with RealtimeServer(transcriber=Says("Hello.", "Bye.")) as server:
        assert main(["transcribe", "--base-url", server.url, str(pipe)]) == 0
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert capsys.readouterr() == ("Hello.\nBye.\n", "")


def test_what_turns_out_to_be_no_audio(calm: None, pipe: Path, capsys: Printed) -> None:
    """What can't be read while it is sent is said on stderr."""
    thread = feed(pipe, b"RIFF1234WAVEdata")
    with RealtimeServer() as server:
        assert main(["transcribe", "--base-url", server.url, str(pipe)]) == 1
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "WAV" in err
