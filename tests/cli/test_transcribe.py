"""``transcribe``: what people get on stdout, and what they are told on stderr."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from command import TIMEOUT, run, start
from leftovers import nothing_left
from scripted import CREATED, Caller, ScriptedServer, error
from tones import silence, tone
from transcripts import BUFFER, INPUT, Says, completed, event_frame, feed, turn, updated, wav

from realtime_sync import events as ev
from realtime_sync.__main__ import main
from realtime_sync.cli import transcribe
from realtime_sync.cli.cues import FORMATS, Cue, clock
from realtime_sync.cli.turns import Turns
from realtime_sync.local import Segment
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice.audio import write_wav

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that say all they have to say in order."""
    monkeypatch.setattr(transcribe, "GRACE", 0.0)


@pytest.fixture
def two_turns(tmp_path: Path) -> str:
    """A file in which somebody speaks twice: from 0.1 to 0.4 s, and from 1.2 to 1.4 s."""
    return wav(tmp_path / "two.wav", silence(100) + tone(300) + silence(800) + tone(200))


class Transcriber:
    """A server that takes settings, hears a file, and then says what it is told to."""

    def __init__(self, *frames: str, settings: str | None = None, then: Any = None) -> None:
        self.received: list[dict[str, Any]] = []
        self._frames = frames
        self._settings = settings or updated()
        self._then = then or Caller.serve_until_closed
        self.server = ScriptedServer(self._serve)

    def _serve(self, caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        self.until(caller, "session.update")
        caller.text(self._settings)
        self.until(caller, "session.update", "input_audio_buffer.commit")
        caller.text(*self._frames)
        self._then(caller)

    def until(self, caller: Caller, *kinds: str) -> None:
        while True:
            event = caller.read_event()
            self.received.append(event)
            if event["type"] in kinds:
                return

    def __enter__(self) -> "Transcriber":
        self.server.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.server.__exit__(*exception)

    def transcribes(self, *arguments: str) -> int:
        return main(["transcribe", "--base-url", self.server.url, *arguments])


# --- What it prints ----------------------------------------------------------------------------------


def test_local() -> None:
    """`transcribe --local FILE` prints what is said, and nothing else."""
    status, out, err = run("transcribe", "--local", "tests/data/question.wav")
    assert (status, out, err) == (0, "One point nine seconds of audio.\n", "")


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


@pytest.mark.parametrize(
    ("wanted", "printed"),
    [
        ("text", "A: Hi.\nyes\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nA: Hi.\n\n2\n00:00:02,000 --> 00:00:02,001\nyes\n\n"),
        (
            "vtt",
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n<v A>Hi.\n\n00:00:02.000 --> 00:00:02.001\nyes\n\n",
        ),
    ],
)
def test_writers(wanted: str, printed: str, capsys: Printed) -> None:
    """Speakers are named, what is empty is left out, and no cue is without length or before the beginning."""
    writer = FORMATS[wanted](False)
    writer.add("a.wav", [Cue(-1, 1, "Hi.", "A"), Cue(1, 2, " \n"), Cue(2, 2, "yes")], 3.0)
    writer.end()
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(("wanted", "printed"), [("text", "A: Hi\nB: And […]\n"), ("vtt", "<v B>And […]\n")])
def test_a_part_of_a_turn(wanted: str, printed: str, capsys: Printed) -> None:
    """Where the rest of a turn is missing is marked, behind the last of its speakers."""
    turns = Turns()
    for begin, speaker, text in [(0.5, "B", "And"), (0.0, "A", "Hi")]:
        turns.visit(
            ev.ConversationItemInputAudioTranscriptionSegment(
                event_id="",
                item_id="a",
                content_index=0,
                text=text,
                id="s",
                speaker=speaker,
                start=begin,
                end=1,
            )
        )
    FORMATS[wanted](False).add("a.wav", turns.cues(3.0), 3.0)
    assert capsys.readouterr().out.rstrip("\n").endswith(printed.rstrip("\n"))


def test_several_files_are_one_film(capsys: Printed) -> None:
    """In subtitles each file begins where the last one ended, so that the whole is valid."""
    writer = FORMATS["vtt"](True)
    writer.add("a.wav", [], 3599.5)
    writer.add("b.wav", [Cue(0.4996, 1, "Hi.")], 5)
    writer.end()
    assert capsys.readouterr().out == "WEBVTT\n\n01:00:00.000 --> 01:00:00.500\nHi.\n\n"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "00:00:00.000"),
        (-1, "00:00:00.000"),
        (3599.9996, "01:00:00.000"),
        (59.9994, "00:00:59.999"),
        (360_000, "100:00:00.000"),
    ],
)
def test_clock(seconds: float, shown: str) -> None:
    """Times are rounded to milliseconds, with all that follows from it, and hours may have three digits."""
    assert clock(seconds) == shown


def test_nothing_is_said(calm: None, tmp_path: Path, capsys: Printed) -> None:
    """A file without speech has an empty transcript, which is remarked on."""
    path = wav(tmp_path / "quiet.wav", silence(500))
    with RealtimeServer() as server:
        assert main(["transcribe", "--base-url", server.url, "--format", "json", path]) == 0
    assert capsys.readouterr() == ("[]\n", f"realtime-sync: {path}: the server hears nobody speak\n")


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


NO_DETECTION = updated(audio={"input": {"turn_detection": None}})
COMMITTED = [event_frame(BUFFER + "committed", item_id="a"), completed("a", "All of it.")]


def test_no_turn_detection(two_turns: str, capsys: Printed) -> None:
    """Where the server says that it detects no turns, the file is committed as one."""
    with Transcriber(*COMMITTED, settings=NO_DETECTION) as server:
        assert server.transcribes("--format", "srt", two_turns) == 0
        assert server.received[-1]["type"] == "input_audio_buffer.commit"
    assert capsys.readouterr().out == "1\n00:00:00,000 --> 00:00:01,400\nAll of it.\n\n"


def test_turn_detection_is_refused(two_turns: str, capsys: Printed) -> None:
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


def test_settings_are_refused(two_turns: str, capsys: Printed) -> None:
    """A server that refuses the settings is quoted, and hears nothing."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.read_event()
        caller.text(error("no such\nmodel"))
        assert caller.read()[0] == 8

    with ScriptedServer(script) as server:
        assert main(["transcribe", "--base-url", server.url, two_turns]) == 2
    assert capsys.readouterr() == ("", "realtime-sync: the server refused the settings: no such model\n")


def test_more_after_the_answer(two_turns: str, capsys: Printed) -> None:
    """A server that looks for speech beside its other work is given some time at the end."""
    with Transcriber(updated(), *turn("a", 100, 900), completed("a", "Late.")) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("Late.\n", "")


def test_the_question_is_refused(calm: None, two_turns: str, capsys: Printed) -> None:
    """A server that refuses to be asked whether it has heard all has answered."""

    def refuse(caller: Caller) -> None:
        event_id = server.received[-1]["event_id"]
        caller.text(
            *turn("a", 100, 900),
            completed("a", "Hello."),
            event_frame("error", error={"message": "not now", "event_id": event_id}),
        )
        caller.serve_until_closed()

    with Transcriber(then=refuse) as server:
        assert server.transcribes(two_turns) == 0
    assert capsys.readouterr() == ("Hello.\n", "")


def test_an_open_end(monkeypatch: pytest.MonkeyPatch, two_turns: str, capsys: Printed) -> None:
    """A turn that the server does not end is committed."""
    monkeypatch.setattr(transcribe, "OPEN_END", 0.1)

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


def test_it_is_lost_while_the_file_is_sent(tmp_path: Path, capsys: Printed) -> None:
    """The same, when the file was not sent to its end."""
    path = wav(tmp_path / "long.wav", tone(60_000))

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


def test_silence_of_the_server(monkeypatch: pytest.MonkeyPatch, two_turns: str, capsys: Printed) -> None:
    """A server that owes transcripts and says nothing is not waited for for ever."""
    monkeypatch.setattr(transcribe, "PATIENCE", 0.2)
    with Transcriber(*turn("a", 0, 900), completed("a", "Hi."), *turn("b", 900, 1300), updated()) as server:
        assert server.transcribes(two_turns) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("Hi.\n", 1)
    assert "transcripts missing: 1" in err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.wav", None, "No such file"),
        ("notes.txt", b"Dear diary", "notes.txt"),
        ("empty.wav", b"", "empty"),
        ("quiet.wav", 0, "no sound"),
        ("nothing", "directory", "Is a directory"),
    ],
)
def test_not_sound(
    name: str, content: Any, says: str, two_turns: str, tmp_path: Path, capsys: Printed
) -> None:
    """A file that is not there, or is no sound: one line, before anybody is connected to."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == 0:
        write_wav(path, b"")
    elif content:
        path.mkdir()
    assert main(["transcribe", "--base-url", "ws://127.0.0.1:1/v1", two_turns, str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert says in err
    assert str(path) in err


def test_no_server(two_turns: str, capsys: Printed) -> None:
    """Without a server nothing is printed, in no format."""
    assert main(["transcribe", "--format", "json", "--base-url", "ws://127.0.0.1:1/v1", two_turns]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


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


def test_what_turns_out_to_be_no_sound(calm: None, pipe: Path, capsys: Printed) -> None:
    """What can't be read while it is sent is said on stderr."""
    thread = feed(pipe, b"RIFF1234WAVEdata")
    with RealtimeServer() as server:
        assert main(["transcribe", "--base-url", server.url, str(pipe)]) == 1
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "WAV file without sound" in err


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends it, and what there is of the transcript is printed."""
    path = wav(tmp_path / "long.wav", tone(60_000))
    heard = threading.Event()

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "input_audio_buffer.append":
            caller.text(updated())
        caller.text(*turn("a", 100, 900), completed("a", "Hello."))
        caller.read_event()
        caller.read_event()  # a tenth of a second later
        heard.set()
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        arguments = ["--pace", "realtime", "--format", "json", "--base-url", server.url]
        process = start("transcribe", *arguments, path)
        assert heard.wait(TIMEOUT)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, err) == (130, "")
    assert json.loads(out) == [{"file": path, "start": 0.1, "end": 0.9, "text": "Hello."}]


def test_nobody_reads() -> None:
    """When stdout is closed early, as by `head`, it ends without a word, as programs do."""
    for arguments in (["transcribe", "--local", "tests/data/question.wav"], ["chat", "--local", "hello"]):
        process = start(*arguments)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait(TIMEOUT)) == ("", 141)
        assert process.stdin is not None
        process.stdin.close()
        process.stderr.close()


def test_nothing_is_left(calm: None, two_turns: str) -> None:
    """It leaves no thread behind."""
    with nothing_left():
        assert main(["transcribe", "--local", two_turns]) == 0


# --- Turns -------------------------------------------------------------------------------------------


def test_times_of_segments() -> None:
    """Whether a segment's time counts from the beginning of its turn or of the audio is found out."""
    turns = Turns()
    turns.visit(ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=10_000, item_id="a"))
    turns.visit(ev.InputAudioBufferSpeechStopped(event_id="", audio_end_ms=12_000, item_id="a"))
    for begin in (10.5, 10.0):
        segment = ev.ConversationItemInputAudioTranscriptionSegment(
            event_id="", item_id="a", content_index=0, text="x", id="s", speaker="A", start=begin, end=11.0
        )
        turns.visit(segment)
    assert [(cue.start, cue.end) for cue in turns.cues(60.0)] == [(10.0, 11.0), (10.5, 11.0)]


def test_turns_without_times() -> None:
    """A turn that was committed begins where the last one ended; the last one ends with the file."""
    turns = Turns()
    turns.visit(ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=0, item_id="a"))
    turns.visit(ev.InputAudioBufferSpeechStopped(event_id="", audio_end_ms=1500, item_id="a"))
    turns.visit(ev.InputAudioBufferCommitted(event_id="", item_id="b"))
    assert [(turn.start, turn.end) for turn in turns.in_order(4.0)] == [(0.0, 1.5), (1.5, 4.0)]
