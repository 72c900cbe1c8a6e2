"""A talk on the screen."""

from typing import Any

import pytest
from scripted import CREATED, Caller, ScriptedServer, error
from transcripts import RESPONSE, completed, event_frame, response, says, talks, turn, updated, words

from realtime_sync.cli import dialogue

Printed = pytest.CaptureFixture[str]


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
        "you: Is it?\nmodel: Well, no.\nyou: [not transcribed: noise]\nmodel: What?\\x07 Sorry.\n",
        "",
    )


def test_words_do_not_wait_for_ever(
    question: str, output: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    """Words are shown after a while when there is no transcript, and at the latest at the end."""
    monkeypatch.setattr(dialogue, "_HOLD", 0.0)
    text = event_frame("response.output_text.delta", delta="Hm.", **RESPONSE)
    late = [text, completed("a", "Late."), response("done")]
    with says(*turn("a", 0, 900), response("created"), *late) as server:
        assert talks(server.url, question, output) == 0
    assert capsys.readouterr().out == "model: Hm.\nyou: Late.\n"
    monkeypatch.setattr(dialogue, "_HOLD", 60.0)
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
        assert talks(server.url, question, output) == 1
    assert capsys.readouterr() == ("you: Hi.\n", "realtime-sync: rate limit ahead\n")


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


def test_an_error_without_settings(question: str, output: str, capsys: Printed) -> None:
    """An error is shown, at the latest at the end, also by a server that never says it took the settings."""

    def script(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        while caller.read_event()["type"] != "input_audio_buffer.append":
            pass
        caller.text(error("odd"), *turn("a", 0, 900), completed("a", "Hi."))
        caller.text(response("created"), response("done"))
        caller.serve_until_closed()

    with ScriptedServer(script) as server:
        assert talks(server.url, question, output) == 1
    assert capsys.readouterr() == ("you: Hi.\n", "realtime-sync: odd\n")
