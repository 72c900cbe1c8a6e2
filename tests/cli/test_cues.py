"""Transcripts on stdout: text, SRT, WebVTT and JSON."""

import io
import json

import pytest
from command import Terminal, streams

from realtime_sync import events as ev
from realtime_sync.cli.cues import FORMATS, Cue, clock
from realtime_sync.cli.turns import Turns

Printed = pytest.CaptureFixture[str]


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


@pytest.mark.parametrize(
    ("cue", "times"),
    [
        (Cue(1.5, 2.6, "Hi."), "00:00:01.500 --> 00:00:02.000"),
        (Cue(2.5, 2.6, "Hi."), "00:00:01.999 --> 00:00:02.000"),
        (Cue(2.0, 2.0, "Hi."), "00:00:01.999 --> 00:00:02.000"),
    ],
)
def test_no_cue_reaches_into_the_next_file(cue: Cue, times: str, capsys: Printed) -> None:
    """A cue that ends after the end of its file ends there, where those of the next one begin."""
    writer = FORMATS["vtt"](True)
    writer.add("a.wav", [cue], 2.0)
    writer.add("b.wav", [Cue(0.0, 1.0, "Ho.")], 5)
    writer.end()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "-->" in line] == [times, "00:00:02.000 --> 00:00:03.000"]


def test_json_of_no_file(capsys: Printed) -> None:
    """JSON is written only if a file was transcribed, and is a list even if nothing was said in it."""
    writer = FORMATS["json"](False)
    writer.end()
    assert capsys.readouterr().out == ""
    writer.add("a.wav", [Cue(0.0, 1.0, "Hi.", "A", complete=False), Cue(1.0, 1.0, "")], 2.0)
    writer.end()
    [cue] = json.loads(capsys.readouterr().out)
    assert cue == {
        "file": "a.wav",
        "start": 0.0,
        "end": 1.0,
        "text": "Hi.",
        "speaker": "A",
        "complete": False,
    }


NASTY = "a\x1b\n\x9bb \u202ec\u200f"


@pytest.mark.parametrize(
    ("wanted", "file", "terminal"),
    [
        ("text", "a b \u202ec\u200f", r"a\x1b \x9bb \u202ec\u200f"),
        ("srt", "a b \u202ec\u200f", r"a\x1b \x9bb \u202ec\u200f"),
        ("vtt", "a b \u202ec\u200f", r"a\x1b \x9bb \u202ec\u200f"),
        ("json", r'"text": "a b \u202ec\u200f"', r'"text": "a\\x1b \\x9bb \\u202ec\\u200f"'),
    ],
)
def test_control_characters(wanted: str, file: str, terminal: str) -> None:
    """A terminal is shown escapes; a file has no control character, and keeps what orders the letters."""
    for kind, shown in ((io.TextIOWrapper, file), (Terminal, terminal)):
        stream = kind(io.BytesIO(), encoding="utf-8")
        with streams(stdout=stream):
            writer = FORMATS[wanted](False)
            writer.add("a.wav", [Cue(0, 1, NASTY)], 1.0)
            writer.end()
        stream.seek(0)
        assert shown in stream.read()


def test_json_loses_nothing(capsys: Printed) -> None:
    """What a terminal may not be sent is an escape of JSON, so a program reads what was said."""
    writer = FORMATS["json"](False)
    writer.add("a.wav", [Cue(0, 1, "\u202e\U000e0041\ud800")], 1.0)
    writer.end()
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed)[0]["text"] == "\u202e\U000e0041\ud800"
