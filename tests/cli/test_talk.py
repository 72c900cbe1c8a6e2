"""``talk``: a conversation by voice, shown on the screen as it goes."""

import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import TIMEOUT, run, start
from fake_devices import Fake, Stream
from leftovers import nothing_left
from scripted import CREATED, Caller, ScriptedServer, error
from tones import silence, tone
from transcripts import Says, completed, event_frame, feed, turn, updated, wav

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.__main__ import main
from realtime_sync.cli import talk
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import read_wav

Printed = pytest.CaptureFixture[str]
ANSWER = tone(300, -30)
RESPONSE = {"response_id": "r", "item_id": "m", "output_index": 0}


@pytest.fixture
def question(tmp_path: Path) -> str:
    return wav(tmp_path / "question.wav", tone(300))


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "answer.wav")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "_PATIENCE", 0.2)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Devices that do nothing by themselves."""
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def words(text: str, **others: Any) -> str:
    return event_frame("response.output_audio_transcript.delta", delta=text, **{**RESPONSE, **others})


def response(kind: str, response_id: str = "r", **fields: Any) -> str:
    fields = {"id": response_id, "status": "in_progress" if kind == "created" else "completed", **fields}
    return event_frame(f"response.{kind}", response=fields)


def says(*frames: str, then: Callable[[Caller], object] = Caller.serve_until_closed) -> ScriptedServer:
    """A server that takes settings and the file, and then says this."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "input_audio_buffer.append":
            caller.text(updated())
        caller.text(*frames)
        then(caller)

    return ScriptedServer(script)


def talks(url: str, question: str, output: str, *arguments: str) -> int:
    """Talk with a server by files."""
    files = ["--input", question, "--output", output]
    return main(["talk", "--base-url", url, "--pace", "fast", *files, *arguments])


# --- With files --------------------------------------------------------------------------------------


def test_file_to_file(question: str, output: str, capsys: Printed) -> None:
    """A file is answered into a file, both sides are shown, and it ends when all was played."""
    responder = ScriptedResponder([Say("Fine, thanks.", audio=ANSWER)])
    with nothing_left(), RealtimeServer(responder=responder, transcriber=Says("How are you?")) as server:
        arguments = ["--instructions", "Be brief.", "--voice", "cedar", "--pace", "fast"]
        files = ["--input", question, "--output", output]
        assert main(["talk", "--base-url", server.url, *files, *arguments]) == 0
        [settings] = [event.session for event in server.sent_of(ev.SessionUpdated)]
    assert capsys.readouterr() == ("you: How are you?\nmodel: Fine, thanks.\n", "")
    assert read_wav(output) == ANSWER
    assert settings.audio
    assert settings.audio.output
    assert (settings.instructions, settings.audio.output.voice) == ("Be brief.", "cedar")


def test_local(output: str) -> None:
    """`talk --local` talks with a server of its own, at the pace of a conversation."""
    status, out, err = run(
        "talk", "--local", "--pace", "fast", "--input", "tests/data/question.wav", "--output", output
    )
    assert (status, err) == (0, "")
    assert out == "you: One point nine seconds of audio.\nmodel: I heard 1.9 seconds of audio.\n"
    assert read_wav(output)


def test_interruption(tmp_path: Path, output: str, capsys: Printed) -> None:
    """What the user interrupts is marked, with what was heard of it; no more of it is in the output."""
    path = wav(tmp_path / "both.wav", tone(200) + silence(1000) + tone(200))
    responder = ScriptedResponder([Say("A long story", audio=tone(5000, -30)), Say("Yes?", audio=ANSWER)])
    with RealtimeServer(responder=responder, transcriber=Says("Tell me.", "Stop.")) as server:
        assert main(["talk", "--base-url", server.url, "--input", path, "--output", output]) == 0
        [truncate] = server.received_of(ev.ConversationItemTruncate)
        assert not server.sent_of(ev.ErrorEvent)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [lines[0], *lines[2:], err] == ["you: Tell me.", "you: Stop.", "model: Yes?", ""]
    shown = re.fullmatch(r"model: A long story — \[interrupted after (\d\.\d) s\]", lines[1])
    assert shown
    heard_ms = truncate.audio_end_ms
    assert float(shown[1]) == pytest.approx(heard_ms / 1000, abs=0.051)
    assert len(read_wav(output)) // 48 == pytest.approx(heard_ms + 300, abs=2)


def test_the_users_words_come_first(question: str, output: str, capsys: Printed) -> None:
    """The model's words wait for the transcript of what they answer."""
    answer = [response("created"), words(" Well,"), words(" no.")]
    heard = event_frame(
        "conversation.item.input_audio_transcription.failed", item_id="b", error={"code": "noise"}
    )
    with says(
        completed("a", "Is\nit?"),
        *turn("a", 0, 900),
        *answer,
        response("done"),
        *turn("b", 1000, 1500),
        response("created", "s"),
        words("What?\x07", response_id="s", item_id="n"),
        heard,
        words(" Sorry.", response_id="s", item_id="n"),
        response("done", "s"),
    ) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr() == (
        "you: Is it?\nmodel: Well, no.\nyou: [not transcribed: noise]\nmodel: What?  Sorry.\n",
        "",
    )


def test_words_do_not_wait_for_ever(
    question: str, output: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    """Words are shown after a while when there is no transcript, and at the latest at the end."""
    monkeypatch.setattr(talk, "_HOLD", 0.0)
    text = event_frame("response.output_text.delta", delta="Hm.", **RESPONSE)
    late = [text, completed("a", "Late."), response("done")]
    with says(*turn("a", 0, 900), response("created"), *late) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr().out == "model: Hm.\nyou: Late.\n"
    monkeypatch.setattr(talk, "_HOLD", 60.0)
    with says(*turn("a", 0, 900), response("created"), words("Hm."), response("done")) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr().out == "model: Hm.\n"


@pytest.mark.parametrize(
    ("frames", "shown"),
    [
        ([response("created")], ""),
        (
            [response("created"), words("Well")],
            "model: Well — [interrupted before it was heard]\n",
        ),
        (
            [
                response("created"),
                words("Well"),
                event_frame("response.output_audio.delta", delta="AAAA" * 64_000, **RESPONSE),
                response("done"),
                response("created", "s"),
                words("Next", response_id="s", item_id="n"),
            ],
            "model: Well\nmodel: Next\n— [interrupted",
        ),
    ],
)
def test_marks(frames: list[str], shown: str, question: str, output: str, capsys: Printed) -> None:
    """What was neither seen nor heard is not marked; what is not on the last line is on a line of its own."""
    begin = [*turn("a", 0, 900), completed("a", ""), *frames]
    with says(
        *begin,
        *turn("b", 900, 1200),
        completed("b", ""),
        words(" late"),
        response("created", "t"),
        response("done", "t"),
    ) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr().out.startswith(shown)


# --- What goes wrong ---------------------------------------------------------------------------------


def test_a_failed_response(question: str, output: str, capsys: Printed) -> None:
    """Errors, and responses that fail, are said on stderr."""
    failed: dict[str, Any] = {
        "status": "failed",
        "status_details": {"type": "failed", "error": {"message": "overloaded"}},
    }
    answer = [response("created"), words("So"), error("be quiet"), response("done", **failed)]
    with says(*turn("a", 0, 900), completed("a", "Hi."), *answer) as server:
        assert talks(server.url, question, output) == 1
    out, err = capsys.readouterr()
    assert out == "you: Hi.\nmodel: So\n"
    assert err == "realtime-sync: be quiet\nrealtime-sync: the response is failed: overloaded\n"


def test_without_transcription(question: str, output: str, capsys: Printed) -> None:
    """What writes down the user's words can be chosen, and left out."""
    files = ["--pace", "fast", "--input", question, "--output", output]
    with RealtimeServer() as server:
        assert main(["talk", "--base-url", server.url, *files, "--transcription", ""]) == 0
        assert not server.received_of(ev.SessionUpdate)
        assert main(["talk", "--base-url", server.url, *files, "--transcription", "whisper-1"]) == 0
        [update] = server.received_of(ev.SessionUpdate)
    assert '"transcription":{"model":"whisper-1"}' in rt.encode(update).decode()
    assert "model: I heard" in capsys.readouterr().out


def test_settings_are_refused(question: str, output: str, capsys: Printed) -> None:
    """A server that refuses the settings is quoted once."""
    files = ["--input", question, "--output", output]
    with RealtimeServer() as server:
        assert main(["talk", "--base-url", server.url, *files, "--voice", "nobody"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "refused the assistant's settings: " in err


def test_an_error_before_the_settings_are_taken(question: str, output: str, capsys: Printed) -> None:
    """An error that comes early and is about something else is shown."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED, error("rate limit ahead"), updated())
        while caller.read_event()["type"] != "input_audio_buffer.append":
            pass
        caller.text(*turn("a", 0, 900), completed("a", "Hi."), response("created"), response("done"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        files = ["--input", question, "--output", output]
        assert main(["talk", "--base-url", server.url, "--pace", "fast", *files]) == 1
    assert capsys.readouterr() == ("you: Hi.\n", "realtime-sync: rate limit ahead\n")


def test_nothing_is_heard(impatient: None, tmp_path: Path, output: str, capsys: Printed) -> None:
    """When the server hears nobody, it doesn't take for ever."""
    path = wav(tmp_path / "quiet.wav", silence(300))
    with RealtimeServer() as server:
        arguments = ["--pace", "fast", "--input", path, "--output", output]
        assert main(["talk", "--base-url", server.url, *arguments]) == 1
    assert capsys.readouterr() == ("", "realtime-sync: the server has heard nobody speak\n")


def test_no_answer(impatient: None, question: str, output: str, capsys: Printed) -> None:
    """When the server hears and does not answer, neither."""
    with says(*turn("a", 0, 900), completed("a", "Hi.")) as server:
        assert talks(server.url, question, output) == 1
    assert capsys.readouterr() == ("you: Hi.\n", "realtime-sync: the server has not answered\n")


def test_a_response_without_end(
    monkeypatch: pytest.MonkeyPatch, question: str, output: str, capsys: Printed
) -> None:
    """Nor when it begins to answer, and never ends."""
    monkeypatch.setattr(talk, "_THINKING", 0.2)
    with says(*turn("a", 0, 900), completed("a", "Hi."), response("created"), words("Er")) as server:
        assert talks(server.url, question, output) == 1
    assert capsys.readouterr() == ("you: Hi.\nmodel: Er\n", "realtime-sync: the server has not answered\n")


@pytest.mark.parametrize(("code", "status"), [(1000, 1), (1011, 2)])
def test_the_server_leaves(code: int, status: int, question: str, output: str, capsys: Printed) -> None:
    """When the server ends the session, that is said in one line, and what was heard is in the output."""
    frames = [*turn("a", 0, 900), completed("a", "Hi."), response("created"), words("Er")]
    audio = event_frame("response.output_audio.delta", delta="AAAA" * 1600, **RESPONSE)
    with says(*frames, audio, then=lambda caller: caller.close(code, "so long")) as server:
        assert talks(server.url, question, output) == status
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("you: Hi.\nmodel: Er\n", 1)
    assert ("the server ended the session" if code == 1000 else "so long") in err
    assert read_wav(output) == bytes(4800)


def test_files_that_can_not_be_used(question: str, output: str, tmp_path: Path, capsys: Printed) -> None:
    """A missing input, an impossible output: one line, before anybody is connected to."""
    elsewhere = str(tmp_path / "nowhere" / "x.wav")
    for files in (["--input", elsewhere, "--output", output], ["--input", question, "--output", elsewhere]):
        assert main(["talk", "--base-url", "ws://127.0.0.1:1/v1", *files]) == 2
        assert capsys.readouterr() == ("", f"realtime-sync: {elsewhere}: No such file or directory\n")


@pytest.mark.parametrize("name", ["question.wav", "link.wav", "answer.mp3", "folder.wav"])
def test_outputs_that_are_refused(name: str, question: str, tmp_path: Path, capsys: Printed) -> None:
    """The input itself, and what is no WAV file, are not written to, and nobody is connected to."""
    before = Path(question).read_bytes()
    (tmp_path / "link.wav").symlink_to(question)
    (tmp_path / "folder.wav").mkdir()
    assert talks("ws://127.0.0.1:1/v1", question, str(tmp_path / name)) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert name in err
    assert "127.0.0.1" not in err
    assert Path(question).read_bytes() == before


def test_an_output_that_is_there(question: str, output: str, capsys: Printed) -> None:
    """A file that is there is kept when there is no talk, and overwritten when there is one."""
    Path(output).write_bytes(b"precious")
    assert talks("ws://127.0.0.1:1/v1", question, output) == 2
    with RealtimeServer() as server:
        assert talks(server.url, question, output, "--voice", "nobody") == 2
    assert Path(output).read_bytes() == b"precious"
    responder = ScriptedResponder([Say("Yes.", audio=ANSWER)])
    with RealtimeServer(responder=responder, transcriber=Says("Well?")) as server:
        assert talks(server.url, question, output) == 0
    assert read_wav(output) == ANSWER
    assert capsys.readouterr().out == "you: Well?\nmodel: Yes.\n"


def test_no_talk_leaves_no_output(question: str, output: str) -> None:
    """Without a talk there is no file where there was none."""
    assert talks("ws://127.0.0.1:1/v1", question, output) == 2
    assert not Path(output).exists()


def test_events_that_come_twice(question: str, output: str, capsys: Printed) -> None:
    """An event that is delivered twice is shown once."""
    word, other = words("no ", event_id="e1"), words("no ", event_id="e2")
    with says(
        *turn("a", 0, 900),
        *[completed("a", "Hi.")] * 2,
        response("created"),
        *[word, word, other, other],
        response("done"),
    ) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr().out == "you: Hi.\nmodel: no no \n"


def test_ctrl_c(tmp_path: Path, output: str) -> None:
    """Ctrl-C ends it at once, which is marked; the output holds what was heard until then."""
    path = wav(tmp_path / "question.wav", tone(200) + silence(60_000))
    responder = ScriptedResponder([Say("A long story", audio=tone(60_000, -30))])
    with RealtimeServer(responder=responder, transcriber=Says("Hi.")) as server:
        process = start("talk", "--base-url", server.url, "--input", path, "--output", output)
        assert process.stdout is not None
        assert process.stdout.readline() == "you: Hi.\n"
        assert process.stdout.read(19) == "model: A long story"  # so some of the sound has come
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        _, err = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, err) == (130, "")
        assert re.fullmatch(r" — \[stopped (after \d+\.\d s|before it was heard)\]\n", out)
        assert len(read_wav(output)) < 48_000 * 59
        server.wait_closed()


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_the_middle_of_a_word(
    presses: int, question: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is being shown is shown once; only a second Ctrl-C doesn't wait for that."""
    shown: list[str] = []
    left = [signal.SIGINT] * presses

    class Stdout(io.StringIO):
        def write(self, text: str) -> int:
            shown.append(text)
            while text == " long" and left:
                signal.raise_signal(left.pop())
            return len(text)

    responder = ScriptedResponder([Say("A long story", audio=tone(60_000, -30))])
    with RealtimeServer(responder=responder, transcriber=Says("Hi.")) as server:
        monkeypatch.setattr(sys, "stdout", Stdout())
        arguments = ["--input", question, "--output", output]
        assert main(["talk", "--base-url", server.url, *arguments]) == 130
    assert re.fullmatch(rf"you: Hi.\nmodel: A( long){{{presses}}} — \[stopped .*\]\n", "".join(shown))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_ctrl_c_of_somebody_else(handler: Any, question: str, output: str) -> None:
    """A program that sees to Ctrl-C by itself still does."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        with RealtimeServer(responder=ScriptedResponder(["Fine."]), transcriber=Says("Hi.")) as server:
            arguments = ["--input", question, "--output", output]
            assert main(["talk", "--base-url", server.url, *arguments]) == 0
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_input_turns_out_to_be_no_sound(tmp_path: Path, output: str, capsys: Printed) -> None:
    """What can't be read once it is sent: one line."""
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    thread = feed(pipe, b"RIFF1234WAVEdata")
    with RealtimeServer() as server:
        assert main(["talk", "--base-url", server.url, "--input", str(pipe), "--output", output]) == 2
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "WAV file without sound" in err


# --- With devices ------------------------------------------------------------------------------------


class Unplugged(Stream):
    """A stream that ends as soon as it begins."""

    def start(self) -> None:
        super().start()
        self.unplug()


@pytest.mark.parametrize("broken", ["RawInputStream", "RawOutputStream"])
def test_devices(broken: str, fake: Fake, capsys: Printed) -> None:
    """Without files it is microphone and speaker, by name or number; it ends when one is unplugged."""
    setattr(fake, broken, lambda **options: Unplugged(fake, **options))
    with RealtimeServer() as server:
        arguments = ["--input-device", "webcam, alsa", "--output-device", "2"]
        assert main(["talk", "--base-url", server.url, *arguments]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("Speak.")
    assert "has stopped by itself" in err
    assert [stream.options["device"] for stream in fake.streams] == [2, 3]


def test_a_file_to_the_speaker(fake: Fake, question: str, capsys: Printed) -> None:
    """Files and devices can be mixed."""
    frames = [*turn("a", 0, 900), completed("a", "Hi."), response("created"), response("done")]
    with says(*frames) as server:
        assert main(["talk", "--base-url", server.url, "--pace", "fast", "--input", question]) == 0
    assert capsys.readouterr() == ("you: Hi.\n", "")


def test_list_devices(fake: Fake, capsys: Printed) -> None:
    """`--list-devices` lists them, or says that there are none."""
    assert main(["talk", "--list-devices"]) == 0
    assert "[1] USB Headset (ALSA; 1 in, 2 out)" in capsys.readouterr().out
    fake.devices.clear()
    assert main(["talk", "--list-devices"]) == 1
    assert capsys.readouterr() == ("", "realtime-sync: this machine has no sound devices\n")


def test_without_devices(fake: Fake, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without devices, or without what is needed to use them: one line that says so."""
    fake.devices.clear()
    assert main(["talk", "--local"]) == 2
    assert "no default output device" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # as if it were not installed
    assert main(["talk", "--local"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "realtime-sync[audio]" in err
