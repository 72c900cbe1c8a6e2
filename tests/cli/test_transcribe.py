"""``transcribe``: what is printed, and which session it is."""

import json
from pathlib import Path

import pytest
from command import AtTerminal, call, press_ctrl_c
from leftovers import nothing_left
from scripted import CREATED, Caller, ScriptedServer, error
from tones import silence, tone
from transcripts import BUFFER, INPUT, Says, Transcriber, completed, event_frame, turn, updated, wav

from realtime_sync import events as ev
from realtime_sync.cli import transcribe
from realtime_sync.cli.main import main
from realtime_sync.local import Segment
from realtime_sync.testing import RealtimeServer

Printed = pytest.CaptureFixture[str]

# --- What it prints ----------------------------------------------------------------------------------


def test_local() -> None:
    """`transcribe --local FILE` prints what is said, at a terminal behind a bar of progress."""
    shown = AtTerminal("transcribe", "--local", "--no-speech", "tests/data/question.wav").end()
    assert (shown[0], shown[1].splitlines()[-1]) == (0, "One point nine seconds of audio.")


def test_one_line_a_turn(calm: None, two_turns: str, capsys: Printed) -> None:
    """Each turn is a line, also the one that goes on to the end of the file."""
    with RealtimeServer(transcriber=Says("Hello.", "Good\nbye.")) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns]) == 0
    assert capsys.readouterr() == ("Hello.\nGood bye.\n", "")


def test_each_file_has_its_session(calm: None, two_turns: str, tmp_path: Path, capsys: Printed) -> None:
    """Several files have headings, and each is transcribed in a session of its own."""
    other = wav(tmp_path / "other.wav", tone(200))
    with RealtimeServer(transcriber=Says("One.", "Two.", "Three.")) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns, other]) == 0
        assert len(server.sessions) == 2
    assert capsys.readouterr() == (f"==> {two_turns} <==\nOne.\nTwo.\n\n==> {other} <==\nThree.\n", "")


OUT_OF_ORDER = [
    completed("b", "and --> this\n\n<b>&\x1b[2J"),
    *turn("a", 100, 900),
    *turn("b", 1000, 61_001),
    updated(),
    completed("a", " Hello. "),
]


SRT = "1\n00:00:00,100 --> 00:00:00,900\nHello.\n\n2\n00:00:01,000 --> 00:00:01,400\n{}\n\n"
VTT = "WEBVTT\n\n00:00:00.100 --> 00:00:00.900\nHello.\n\n00:00:01.000 --> 00:00:01.400\n{}\n\n"


@pytest.mark.parametrize(
    ("wanted", "printed"),
    [
        ("text", "Hello.\nand --> this <b>& [2J\n"),
        ("srt", SRT.format("and -> this <b>& [2J")),
        ("vtt", VTT.format("and --&gt; this &lt;b&gt;&amp; [2J")),
    ],
)
def test_formats(wanted: str, printed: str, calm: None, two_turns: str, capsys: Printed) -> None:
    """Turns come in the order of the audio, within the file, and no text can break a format."""
    with Transcriber(*OUT_OF_ORDER) as server:
        assert server.transcribes("--format", wanted, two_turns) == 0
    assert capsys.readouterr() == (printed, "")


def test_json(calm: None, two_turns: str, capsys: Printed) -> None:
    """JSON is one list for all files, with the times in each of them."""
    with Transcriber(*OUT_OF_ORDER) as server:
        assert server.transcribes("--format", "json", two_turns) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (
        [
            {"file": two_turns, "start": 0.1, "end": 0.9, "text": "Hello."},
            {"file": two_turns, "start": 1.0, "end": 1.4, "text": "and --> this <b>& [2J"},
        ],
        "",
    )


def test_speakers(calm: None, two_turns: str, capsys: Printed) -> None:
    """A model that tells speakers apart gives a cue for each, at its own time."""
    transcriber = Says(
        [Segment("Hi.", "A", 0.0, 0.3), Segment("Ho.", "B", 0.3, 0.5)], [Segment("Bye.", "A", 0.0, 0.2)]
    )
    with RealtimeServer(transcriber=transcriber) as server:
        assert main(["transcribe", "--base-url", server.url, "--format", "json", two_turns]) == 0
    assert [(cue["speaker"], cue["text"], cue["start"]) for cue in json.loads(capsys.readouterr().out)] == [
        ("A", "Hi.", 0.0),
        ("B", "Ho.", 0.3),
        ("A", "Bye.", 0.9),
    ]


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
def test_cues_of_two_files_do_not_overlap(
    wanted: str, calm: None, two_turns: str, tmp_path: Path, capsys: Printed
) -> None:
    """A speaker's segment that a server ends behind the end of its file doesn't reach into the next one."""
    path = wav(tmp_path / "short.wav", silence(300) + tone(700))
    transcriber = Says([Segment("Hi.", "A", 0.0, 1.9)], [Segment("Ho.", "B", 0.0, 0.3)], "Bye.")
    with RealtimeServer(transcriber=transcriber) as server:
        assert main(["transcribe", "--base-url", server.url, "--format", wanted, path, two_turns]) == 0
    times = [line for line in capsys.readouterr().out.replace(",", ".").splitlines() if "-->" in line]
    assert times[0].endswith("--> 00:00:01.000")
    assert times[1].startswith("00:00:01.000 -->")


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt", "json"])
def test_utf_8(wanted: str, calm: None, two_turns: str) -> None:
    """In files and pipes, every format is UTF-8, whatever the locale says."""
    with RealtimeServer(transcriber=Says("你好", "déjà")) as server:
        arguments = ["--base-url", server.url, "--format", wanted, two_turns]
        status, out, err = call("transcribe", *arguments, encoding="cp1252")
    assert (status, err) == (0, "")
    assert "你好" in out
    assert "déjà" in out


def test_nothing_is_said(calm: None, tmp_path: Path, capsys: Printed) -> None:
    """A file without speech has an empty transcript, which is remarked on."""
    path = wav(tmp_path / "quiet.wav", silence(500))
    with RealtimeServer() as server:
        assert main(["transcribe", "--base-url", server.url, "--format", "json", path]) == 0
    assert capsys.readouterr() == ("[]\n", f"realtime-sync: {path}: the server has heard no speech\n")


# --- The session -------------------------------------------------------------------------------------


def test_ordinary_session(calm: None, two_turns: str) -> None:
    """By default it is an ordinary session, which is told to listen and not to answer."""
    transcriber = Says("a", "b")
    with RealtimeServer(transcriber=transcriber) as server:
        arguments = ["--model", "whisper-1", "--language", "de", "--session-model", "mine"]
        assert main(["transcribe", "--base-url", server.url, *arguments, two_turns]) == 0
        assert not server.sent_of(ev.ResponseCreated)
        [created] = server.sent_of(ev.SessionCreated)
    assert (created.session.type, created.session.model) == ("realtime", "mine")
    assert {(heard.model, heard.language) for heard in transcriber.heard} == {("whisper-1", "de")}


def test_transcription_session(calm: None, two_turns: str, capsys: Printed) -> None:
    """`--intent transcription` opens a session of that type, without a model of its own."""
    with RealtimeServer(transcriber=Says("a", "b")) as server:
        assert main(["transcribe", "--intent", "transcription", "--base-url", server.url, two_turns]) == 0
        [created] = server.sent_of(ev.SessionCreated)
        assert not server.sent_of(ev.ErrorEvent)
    assert created.session.type == "transcription"
    assert capsys.readouterr().out == "a\nb\n"


def test_settings_are_rejected(two_turns: str, capsys: Printed) -> None:
    """A server that rejects the settings is quoted, and hears nothing."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.read_event()
        caller.text(error("no such\nmodel"))
        assert caller.read()[0] == 8

    with ScriptedServer(script) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns]) == 2
    assert capsys.readouterr() == ("", "realtime-sync: the server rejected the settings: no such\\nmodel\n")


def test_more_after_the_answer(two_turns: str, capsys: Printed) -> None:
    """A server that looks for speech beside its other work is given some time at the end."""
    with Transcriber(updated(), *turn("a", 100, 900), completed("a", "Late.")) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("Late.\n", "")


def test_an_open_end(monkeypatch: pytest.MonkeyPatch, two_turns: str, capsys: Printed) -> None:
    """A turn that the server does not end is committed."""
    monkeypatch.setattr(transcribe, "_OPEN_END", 0.1)

    def wait(caller: Caller) -> None:
        server.until(caller, "input_audio_buffer.commit")
        caller.text(event_frame(BUFFER + "committed", item_id="a"), completed("a", "At last."))
        caller.serve_until_closed()

    begun = event_frame(BUFFER + "speech_started", item_id="a", audio_start_ms=100)
    with Transcriber(begun, updated(), then=wait) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("At last.\n", "")


# --- What goes wrong ---------------------------------------------------------------------------------


def test_a_failed_transcription(calm: None, two_turns: str, capsys: Printed) -> None:
    """What could not be transcribed is said on stderr, and the rest is printed."""
    with RealtimeServer(transcriber=Says(ValueError("too noisy"), "Bye.")) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns]) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("Bye.\n", 1)
    assert f"{two_turns}: 00:00:00.000 to 00:00:00.900 could not be transcribed: " in err
    assert "too noisy" in err


def test_an_error(calm: None, two_turns: str, capsys: Printed) -> None:
    """An error of the server is said once on stderr, and what it hears is printed all the same."""
    problem = event_frame("error", error={"message": "too loud", "event_id": "mine"})
    with Transcriber(problem, problem, *turn("a", 0, 900), completed("a", "Hi."), updated()) as server:
        assert server.transcribes(two_turns) == 1
    assert capsys.readouterr() == ("Hi.\n", f"realtime-sync: {two_turns}: too loud\n")


@pytest.mark.parametrize("wanted", ["text", "json"])
def test_the_connection_is_lost(wanted: str, two_turns: str, capsys: Printed) -> None:
    """When the session ends too early, what there is of the transcript is printed, and its end is named."""
    pieces = event_frame(INPUT + "delta", item_id="b", delta="And th")
    frames = [*turn("a", 100, 900), completed("a", "Hello."), *turn("b", 1000, 1300), pieces]
    expired = event_frame("error", error={"code": "session_expired", "message": "An hour is over."})
    with Transcriber(*frames, expired, then=lambda caller: caller.close(1001)) as server:
        assert server.transcribes("--format", wanted, two_turns) == 1
    out, err = capsys.readouterr()
    said = [cue["text"] for cue in json.loads(out)] if wanted == "json" else out.splitlines()
    assert said == (["Hello.", "And th"] if wanted == "json" else ["Hello.", "And th […]"])
    if wanted == "json":
        assert [cue.get("complete") for cue in json.loads(out)] == [None, False]
    assert len(err.splitlines()) == 1
    assert "An hour is over.; the transcript ends at 00:00:00.900" in err


def test_it_is_lost_before_a_transcript(two_turns: str, capsys: Printed) -> None:
    """Speech that was found is not said to be transcribed."""
    with Transcriber(*turn("a", 100, 900), then=lambda caller: caller.close(1011)) as server:
        assert server.transcribes(two_turns) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.endswith("; nothing was transcribed\n")


def test_it_is_lost_in_the_middle_of_the_first_turn(two_turns: str, capsys: Printed) -> None:
    """What is printed of a turn is not said to be nothing."""
    pieces = event_frame(INPUT + "delta", item_id="a", delta="And th")
    with Transcriber(*turn("a", 100, 900), pieces, then=lambda caller: caller.close(1011)) as server:
        assert server.transcribes(two_turns) == 1
    out, err = capsys.readouterr()
    assert out == "And th […]\n"
    assert err.endswith("; no turn was transcribed to its end\n")


def test_it_is_lost_when_all_is_transcribed(two_turns: str, capsys: Printed) -> None:
    """A whole transcript is not said to end early, when the session ends behind it."""
    frames = [*turn("a", 100, 900), completed("a", "Hello."), updated()]
    with Transcriber(*frames, then=lambda caller: caller.close(1011, "so long")) as server:
        assert server.transcribes(two_turns) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("Hello.\n", 1)
    assert err.endswith("so long\n")


def test_silence_of_the_server(monkeypatch: pytest.MonkeyPatch, two_turns: str, capsys: Printed) -> None:
    """A server that owes transcripts and says nothing is not waited for for ever."""
    monkeypatch.setattr(transcribe, "_PATIENCE", 0.2)
    with Transcriber(*turn("a", 0, 900), completed("a", "Hi."), *turn("b", 900, 1300), updated()) as server:
        assert server.transcribes(two_turns) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("Hi.\n", 1)
    assert "transcripts missing: 1" in err


def test_no_server(two_turns: str, capsys: Printed) -> None:
    """Without a server nothing is printed, in no format."""
    assert main(["transcribe", "--format", "json", "--base-url", "ws://127.0.0.1:1/v1", two_turns]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends it, and what there is of the transcript is printed."""
    path = wav(tmp_path / "long.wav", tone(1000) * 60)

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "input_audio_buffer.append":
            caller.text(updated())
        caller.text(*turn("a", 100, 900), completed("a", "Hello."))
        caller.read_event()
        caller.read_event()  # a tenth of a second later
        press_ctrl_c()
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        arguments = ["--pace", "realtime", "--format", "json", "--base-url", server.url]
        status, out, err = call("transcribe", *arguments, path)
    assert (status, err) == (130, "")
    assert json.loads(out) == [{"file": path, "start": 0.1, "end": 0.9, "text": "Hello."}]


def test_nothing_is_left(calm: None, two_turns: str) -> None:
    """It leaves no thread behind."""
    with nothing_left():
        assert main(["transcribe", "--local", two_turns]) == 0
