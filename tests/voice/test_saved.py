"""A conversation in a file: whatever happens to the program, it can go on tomorrow."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import saver
from conversation_events import added, call, created, message, sound, spoken, told, truncated
from hypothesis import given
from hypothesis import strategies as st
from scripted import DEADLINE
from talkers import Talkers

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ServerEvent, UnknownObject
from realtime_sync.local import LocalServer, ScriptedResponder
from realtime_sync.voice import Conversation
from realtime_sync.voice.saved import Saved, save_items

SOUND = bytes(range(250)) * 96  # half a second
DIALECTS = ["ga", "beta"]
HELLO = told(added(message("u", "Hello")))
ITEMS: list[ev.Item] = [ev.Message(role="user", content=[ev.InputText(text="Hello")])]


def document(*items: Any, **fields: Any) -> bytes:
    """A file as somebody else may write it."""
    return json.dumps(
        {"realtime_sync": 1, "kind": "conversation", "dialect": "ga", "items": items, **fields}
    ).encode()


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text, **fields}],
        **fields,
    }


def filled(conversation: Conversation, items: list[ev.Item], session: rt.Session) -> Conversation:
    """The conversation of a session in which these items were created."""
    for item in items:
        session.conversation.item.create(item)
    for _ in items:
        conversation.wait_for_item(timeout=DEADLINE)
    return conversation


# --- A program that was killed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "moment", "by", "turns"),
    [
        ("ga", "writing", signal.SIGXFSZ, 1),
        ("beta", "replacing", signal.SIGKILL, 1),
        ("ga", "saved", signal.SIGKILL, 2),
        ("beta", "saved", signal.SIGKILL, 2),
    ],
)
def test_killed(talk: Talkers, tmp_path: Path, dialect: str, moment: str, by: int, turns: int) -> None:
    """A program that is killed during a save leaves the old file or the new one, and another goes on."""
    path = tmp_path / "talk.json"
    with LocalServer(
        responder=ScriptedResponder(["Air scatters light. " * 20, "Then it is dark."])
    ) as server:
        program = [sys.executable, saver.__file__, server.url, dialect, str(path), moment]
        ended = subprocess.run(program, stdout=subprocess.PIPE, encoding="utf-8", timeout=DEADLINE * 6)
    assert ended.returncode == -by
    transcript = json.loads(ended.stdout.splitlines()[turns - 1])
    assert transcript.splitlines()[0] == f"User: {saver.TURNS[0]}"
    assert len(transcript.splitlines()) == 2 * turns
    session = talk("Good morning.", dialect=dialect)
    conversation = filled(Conversation(session), Conversation.load(path), session)
    assert conversation.transcript() == transcript
    conversation.wait_for_response(session.response.create(), timeout=DEADLINE)
    assert conversation.transcript() == f"{transcript}\nAssistant: Good morning."


# --- There and back ------------------------------------------------------------------------------------


@st.composite
def turns(draw: st.DrawFn) -> list[ServerEvent]:
    """Some events of a conversation of any texts, images, answers that were cut off, and calls."""
    made: list[ServerEvent] = [created()]
    for number, kind in enumerate(draw(st.lists(st.sampled_from(["text", "image", "cut", "call"])))):
        text = draw(st.text())
        item_id = f"i{number}"
        if kind == "text":
            made.append(
                added(message(item_id, text, role=draw(st.sampled_from(["user", "assistant", "system"]))))
            )
        elif kind == "image":
            item = message(item_id, text)
            item["content"].append({"type": "input_image", "image_url": f"data:{text}", "detail": "low"})
            made.append(added(item))
        elif kind == "cut":
            made += [added(message(item_id, role="assistant")), spoken(text, item_id), sound(SOUND, item_id)]
            made.append(truncated(draw(st.integers(0, 500)), item_id))
        else:
            output = {"type": "function_call_output", "id": f"o{number}", "call_id": item_id, "output": text}
            made += [added(call(item_id, item_id, text)), added(output)]
    return made


@given(turns(), st.sampled_from(DIALECTS))
def test_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[ServerEvent], dialect: str
) -> None:
    """Whatever was said, shown, cut off or called: what is loaded is what was saved, in either dialect."""
    path = tmp_path_factory.getbasetemp() / "talk.json"
    items = told(*events).to_items(dialect=dialect)
    save_items(path, Saved(dialect=dialect, items=items))
    assert Conversation.load(path) == items


@pytest.mark.parametrize("dialect", DIALECTS)
def test_speech_without_a_transcript(talk: Talkers, tmp_path: Path, dialect: str) -> None:
    """With ``audio=True``, speech without a transcript is saved as it was heard, if its audio is here."""
    session = talk(dialect=dialect)
    conversation = Conversation(session)
    spoken_words = {"type": "input_audio", "audio": "AAAA" * 100}
    heard = {**spoken_words, "transcript": "Hi"}
    for part in (spoken_words, heard):
        item = {"type": "message", "role": "user", "content": [part]}
        session.conversation.item.create(item)
        item_id = conversation.wait_for_item(timeout=DEADLINE).id
        session.conversation.item.retrieve(item_id)
        session.run(conversation, until=ev.ConversationItemRetrieved, timeout=DEADLINE)
    path = tmp_path / "talk.json"
    written = ev.Message(role="user", content=[ev.InputText(text="Hi")])
    conversation.save(path)
    assert Conversation.load(path) == [written]
    assert "input_audio_format" not in json.loads(path.read_text())
    conversation.save(path, audio=True)
    audio = ev.Message(role="user", content=[ev.InputAudio(audio=bytes(300))])
    assert Conversation.load(path) == conversation.to_items(audio=True) == [audio, written]
    assert json.loads(path.read_text())["input_audio_format"] == "audio/pcm"
    other = talk(dialect=dialect)
    again = filled(Conversation(other), Conversation.load(path), other)
    other.conversation.item.retrieve(again.items[0].id)
    other.run(again, until=ev.ConversationItemRetrieved, timeout=DEADLINE)
    assert again.items[0].audio == bytes(300)


def test_no_audio_is_kept() -> None:
    """A conversation that keeps no audio has none to save; nobody's but the user's goes as audio."""
    part = {"type": "input_audio", "audio": "AAAA"}
    item = {**message("u"), "content": [part]}
    answer = {**message("a", role="assistant"), "content": [{"type": "output_audio", "audio": "AAAA"}]}
    assert told(added(item), added(answer), audio="drop").to_items(audio=True) == []
    system = {**message("s", role="system"), "content": [part]}
    assert told(added(item), added(answer), added(system)).to_items(audio=True) == [
        ev.Message(role="user", content=[ev.InputAudio(audio=bytes(3))])
    ]


def test_while_another_thread_runs_the_session(talk: Talkers, tmp_path: Path) -> None:
    """What is saved while the conversation grows is a beginning of it."""
    questions = [f"Question {number}" for number in range(20)]
    session = talk(*["word " * 50] * len(questions))
    conversation = Conversation(session)

    def converse() -> None:
        for question in questions:
            session.conversation.item.create(question)
            conversation.wait_for_response(session.response.create(), timeout=DEADLINE)

    thread = threading.Thread(target=converse)
    thread.start()
    path = tmp_path / "talk.json"
    sizes = set()
    while thread.is_alive():
        conversation.save(str(path))
        items = Conversation.load(str(path))
        asked = [item.content[0].text for item in items if item.role == "user"]  # type: ignore[union-attr]
        assert asked == questions[: len(asked)]
        sizes.add(len(items))
    thread.join()
    conversation.save(path)
    assert Conversation.load(path) == conversation.to_items()
    assert len(conversation.items) == 2 * len(questions)
    assert len(sizes) > 2  # it was saved while it grew


# --- The file --------------------------------------------------------------------------------------------


def test_who_may_read_it(tmp_path: Path) -> None:
    """A new file is for its owner only; one that was there keeps its permissions; nothing else is left."""
    path = tmp_path / "talk.json"
    before = os.umask(0)
    try:
        HELLO.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o664)
    HELLO.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert os.listdir(tmp_path) == ["talk.json"]


def test_a_link(tmp_path: Path) -> None:
    """A link stays one: the file that it leads to is replaced, also in a folder of its own."""
    target = tmp_path / "folder" / "talk.json"
    target.parent.mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(target)
    HELLO.save(link)
    assert link.is_symlink()
    assert Conversation.load(target) == ITEMS


def test_not_a_file(tmp_path: Path) -> None:
    """What is no file, such as a device, a pipe or a folder, is not replaced by one: that is an error."""
    pipe = tmp_path / "pipe"  # not a device: a test that fails would replace the real one
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(
            ValueError, match=rf"save a conversation in '{path}': expected a file, got somethi"
        ):
            HELLO.save(path)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]
    with pytest.raises(FileNotFoundError):
        HELLO.save(tmp_path / "nowhere" / "talk.json")


def test_a_full_disk(tmp_path: Path) -> None:
    """A save that fails leaves the old file, and no other."""
    path = tmp_path / "talk.json"
    HELLO.save(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            told(added(message("u", "x" * 2000))).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Conversation.load(path) == ITEMS
    assert os.listdir(tmp_path) == ["talk.json"]


def test_what_others_add(tmp_path: Path) -> None:
    """Unknown fields are ignored; items and parts of an unknown type are kept as they are."""
    path = tmp_path / "talk.json"
    smell = {"type": "smell", "of": ["roses"]}
    other = {**said("Hello"), "content": [smell]}
    path.write_bytes(document(said("Hello", new=1), smell, other, title="Roses"))
    assert Conversation.load(path) == [
        *ITEMS,
        UnknownObject(smell),
        ev.Message(role="user", content=[UnknownObject(smell)]),
    ]


OTHERS = 'expected an object with "realtime_sync": 1 and "kind": "conversation", got '
VERSION = "expected version 1 of the format, got "


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "expected JSON, got a file that is damaged or cut short (Input data was truncated)"),
        (b"RIFF\xff\x00", "expected JSON, got a file that is damaged or cut short ("),
        (document({"text": "\ud800"}), "expected JSON, got a file that is damaged or cut short ("),
        (b"[" * 100_000, "expected JSON, got a file that is damaged or cut short ("),
        (b"[1]", f"{OTHERS}another JSON value"),
        (b'{"items": []}', f"{OTHERS}None and None"),
        (document(kind="x" * 1000), f"{OTHERS}1 and '{'x' * 39}"),
        (document(kind=["x"]), f"{OTHERS}1 and something else"),
        (document(realtime_sync=True), f"{OTHERS}True and 'conversation'"),
        (document(realtime_sync=2), f"{VERSION}2, which a newer realtime_sync has saved"),
        (document(realtime_sync=0), f"{VERSION}0"),
        (document(5), "the file is damaged at 'items[]': not an object"),
        (document({"text": "?"}), "the file is damaged at 'items[]': an object without a type"),
        (document(items=None), "the file is damaged at 'items': expected list, got null"),
        (document({"type": "message"}), "the file is damaged at 'items[].role': missing"),
        (document(said(5)), "the file is damaged at 'items[].content[].text': expected str, got number"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_no_saved_conversation(tmp_path: Path, data: bytes, text: str) -> None:
    """What is no saved conversation is an error with the path, what was expected, and what came."""
    path = tmp_path / "talk\n.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="can't load") as caught:
        Conversation.load(path)
    told_of = str(caught.value)
    assert told_of.startswith(f"can't load a conversation from {str(path)!r}: {text}")
    assert len(told_of.splitlines()) == 1
    assert text[-1] == "(" or told_of.endswith(text)


def test_cut_short(tmp_path: Path) -> None:
    """A file that was cut at any place is an error, never a shorter conversation."""
    path = tmp_path / "talk.json"
    HELLO.save(path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged or cut short"):
            Conversation.load(path)


@given(st.integers(0, 10_000), st.binary(max_size=3))
def test_damaged(tmp_path_factory: pytest.TempPathFactory, place: int, byte: bytes) -> None:
    """Whatever happens to some bytes, it is a list of items or a `ValueError`."""
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    told(added(message("u", "Hello")), added(call("c", "i", "{}", output="x"))).save(path)
    data = path.read_bytes()
    place %= len(data)
    path.write_bytes(data[:place] + byte + data[place + 1 :])
    with suppress(ValueError):
        assert len(Conversation.load(path)) == 2
