"""``talk``: a conversation by voice, with files or with devices."""

import os
import pty
import re
import signal
import sys
from pathlib import Path

import pytest
from command import TIMEOUT, AtTerminal, call, start, streams
from fake_devices import Fake, Stream
from leftovers import nothing_left
from threads import in_thread
from tones import silence, tone
from transcripts import RESPONSE, Says, completed, event_frame, feed, response, says, talks, turn, wav, words

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.cli import talk
from realtime_sync.cli.main import main
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import read_wav

Printed = pytest.CaptureFixture[str]
ANSWER = tone(300, -30)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Devices that do nothing by themselves."""
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


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
    """`talk --local` talks with a server of its own, at the pace of a conversation, at a terminal."""
    spoken = "tests/data/question.wav"
    shown = AtTerminal(
        "talk", "--local", "--no-speech", "--pace", "fast", "--input", spoken, "--output", output
    )
    assert shown.end() == (
        0,
        "you: One point nine seconds of audio.\nmodel: I heard 1.9 seconds of audio.\n",
    )
    assert read_wav(output)


def test_interruption(tmp_path: Path, output: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user interrupts is marked, with what was heard of it; no more of it is in the output."""
    monkeypatch.setattr(talk, "_TAIL", 0.8)
    path = wav(tmp_path / "both.wav", tone(200) + silence(1000) + tone(200))
    responder = ScriptedResponder([Say("A long story", audio=tone(1000, -30) * 5), Say("Yes?", audio=ANSWER)])
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


def test_without_transcription(question: str, output: str, capsys: Printed) -> None:
    """What writes down the user's words can be chosen, and left out."""
    files = ["--pace", "fast", "--input", question, "--output", output]
    with RealtimeServer(responder=ScriptedResponder(["Yes."] * 2)) as server:
        assert main(["talk", "--base-url", server.url, *files, "--transcription", ""]) == 0
        assert not server.received_of(ev.SessionUpdate)
        assert main(["talk", "--base-url", server.url, *files, "--transcription", "whisper-1"]) == 0
        [update] = server.received_of(ev.SessionUpdate)
    assert '"transcription":{"model":"whisper-1"}' in rt.encode(update).decode()
    assert capsys.readouterr().out == "model: Yes.\nyou: Zero point eight seconds of audio.\nmodel: Yes.\n"


def test_settings_are_rejected(question: str, output: str, capsys: Printed) -> None:
    """A server that rejects the settings is quoted once."""
    files = ["--input", question, "--output", output]
    with RealtimeServer() as server:
        assert main(["talk", "--base-url", server.url, *files, "--voice", "nobody"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "the assistant's settings: " in err


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


def test_ctrl_c(tmp_path: Path, output: str) -> None:
    """Ctrl-C ends it at once, which is marked; the output holds what was heard until then."""
    path = wav(tmp_path / "question.wav", tone(200) + silence(60_000))
    responder = ScriptedResponder([Say("A long story", audio=tone(1000, -30) * 60)])
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


def test_the_input_turns_out_to_be_no_audio(tmp_path: Path, output: str, capsys: Printed) -> None:
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
    assert "WAV" in err


# --- With devices ------------------------------------------------------------------------------------


class Unplugged(Stream):
    """A stream that ends as soon as it begins."""

    def start(self) -> None:
        super().start()
        self.unplug()


@pytest.mark.parametrize("broken", ["RawInputStream", "RawOutputStream"])
def test_devices(broken: str, fake: Fake) -> None:
    """Without files it is microphone and speaker, by name or number; it ends when one is unplugged."""
    setattr(fake, broken, lambda **options: Unplugged(fake, **options))
    with RealtimeServer() as server:
        arguments = ["--input-device", "webcam, alsa", "--output-device", "2"]
        shown = [call("talk", "--base-url", server.url, *arguments, terminal=on) for on in ("", "stdout")]
    assert [(status, out.partition(".")[0]) for status, out, _ in shown] == [(1, ""), (1, "Speak")]
    assert all("has stopped by itself" in err for _, _, err in shown)
    assert [stream.options["device"] for stream in fake.streams] == [2, 3] * 2


def test_at_a_terminal(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """There it shows how loud it is, and Enter stops the model; in the end only what was said is left."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    responder = ScriptedResponder([Say("A long story", audio=tone(1000, -30) * 30)])
    ours, theirs = pty.openpty()
    shown = b""

    def wait_for(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(ours, 65_536)

    def use() -> None:
        """Say something, stop the answer, and pull the plug."""
        wait_for(b"listening")
        microphone = fake.streams[1]
        microphone.hear(tone(600) + silence(1000))
        wait_for(b"model speaks")
        os.write(ours, b"\n")
        wait_for("— [interrupted".encode())
        microphone.unplug()
        wait_for(b"unplugged")

    user = in_thread(use)
    with (
        RealtimeServer(responder=responder) as server,
        open(theirs, encoding="utf-8", closefd=False) as stdin,
        open(theirs, "w", encoding="utf-8", closefd=False) as screen,
        streams(stdin=stdin, stdout=screen, stderr=screen),
    ):
        arguments = ["--transcription", "", "--echo", "off"]
        assert main(["talk", "--base-url", server.url, *arguments]) == 1
    user.join(TIMEOUT)
    os.close(theirs)
    os.close(ours)
    text = shown.decode()
    assert "[----------] listening" in text
    assert re.search(r"\x1b\[Jmodel: A long story", text)
    assert re.search(r"— \[interrupted (after|before)[^\n]*\]\r\n", text)
    assert text.rindex("\x1b[J") < text.rindex("realtime-sync: the input device")


@pytest.mark.parametrize(
    ("options", "installed", "hint"),
    [
        ([], True, "echo is cancelled"),
        ([], False, "Without headphones"),
        (["--echo", "off"], True, "Without headphones"),
        (["--echo", "half-duplex"], False, "Enter stops it"),
        (["--echo", "cancel"], False, "realtime-sync[aec]"),
        (["--noise-suppression"], False, "realtime-sync[aec]"),
    ],
)
def test_echo(
    options: list[str], installed: bool, hint: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The echo is cancelled if that can be done; what is asked for and can't be is said in one line."""
    if installed:
        pytest.importorskip("pywebrtc_audio")
    else:
        monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    setattr(fake, "RawInputStream", lambda **options: Unplugged(fake, **options))  # noqa: B010
    with RealtimeServer() as server:
        status, out, err = call("talk", "--base-url", server.url, *options, terminal="stdout")
    assert hint in out + err
    assert (status, len(err.splitlines())) == (2 if "aec" in hint else 1, 1)


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
    assert capsys.readouterr() == ("", "realtime-sync: this machine has no audio devices\n")


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
