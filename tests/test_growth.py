"""Time grows no faster than input: every parser, mender, order and view, fed with the worst of its kind.

A row makes an input of a size, and returns what is to be done with it, which is measured.  To add one, add a
function; its size is chosen so that what is linear takes milliseconds, and what is quadratic is seen at once.
"""

import io
import itertools
import json
import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from clock import Clock
from conversation_events import (
    added,
    answer,
    at,
    created,
    done,
    item_added,
    item_done,
    message,
    removed,
    sound,
    wire,
)
from growth import Work, growth
from situations import Met
from talk import Talk

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.events.codec import decode_client, decode_messages
from realtime_sync.events.surrogates import Joiner
from realtime_sync.local import Request, Say
from realtime_sync.local.http.bodies import fields_of, settings_of
from realtime_sync.session.facts import Sent
from realtime_sync.session.inbox import Inbox
from realtime_sync.session.latest import Latest
from realtime_sync.session.ledger import Ledger
from realtime_sync.sound.conversion import chunks
from realtime_sync.sound.ffmpeg import complaints
from realtime_sync.sound.wav import wav_chunks
from realtime_sync.testing.dialogue import Turn
from realtime_sync.testing.readable import difference, event_lines, readable
from realtime_sync.voice import ClockedSpeaker, Conversation, Playback, Tools
from realtime_sync.voice.signature import Signature
from realtime_sync.wire.frames import FrameReader

Prepare = Callable[[int], Work]
ROWS: list[Any] = []


def row(n: int) -> Callable[[Prepare], Prepare]:
    """Add a row to the table, with its smallest size."""

    def add(prepare: Prepare) -> Prepare:
        ROWS.append(pytest.param(prepare, n, id=prepare.__name__))
        return prepare

    return add


# --- Frames and JSON -------------------------------------------------------------------------------------


def decoding(frame: str | bytes) -> Work:
    data = frame.encode() if isinstance(frame, str) else frame
    return lambda: decode_messages([data], lambda *told: None, Joiner())


def wide(n: int, kind: str, path: str, part: Any) -> Work:
    """Decode an event with a list of n parts at a path."""
    value: Any = [part] * n
    for name in reversed(path.split(".")):
        value = {name: value} if name else [value]
    return decoding(json.dumps({"type": kind, **value}))


@row(1000)
def answers_in_order(n: int) -> Work:
    ledger, event = Ledger(), ev.ConversationItemDelete(item_id="")
    for number in range(n):
        ledger.sent(Sent("conversation.item.delete", f"e{number}", item_id=f"i{number}"), event)
    answers = [ev.ConversationItemDeleted(event_id=f"e{number}", item_id=f"i{number}") for number in range(n)]
    return lambda: [ledger.note(answer) for answer in answers]


@row(2000)
def answers_to_nothing_that_was_sent(n: int) -> Work:
    ledger, event = Ledger(), ev.ConversationItemDelete(item_id="")
    for number in range(n):
        ledger.sent(Sent("conversation.item.delete", f"e{number}", item_id=f"i{number}"), event)
    answers = [ev.InputAudioBufferCleared(event_id=f"e{number}") for number in range(n)]
    return lambda: [ledger.note(answer) for answer in answers]


@row(2000)
def frames_of_one_byte_each(n: int) -> Work:
    reader = FrameReader(10**9)
    data = b"\x01\x01x" + b"\x00\x01x" * n
    return lambda: reader.feed(data)


@row(4000)
def a_frame_that_comes_byte_by_byte(n: int) -> Work:
    reader = FrameReader(10**9)
    data = b"\x81\x7f" + n.to_bytes(8, "big") + bytes(n)
    return lambda: [reader.feed(data[index : index + 1]) for index in range(len(data))]


@row(4000)
def fragments_that_come_one_by_one(n: int) -> Work:
    reader = FrameReader(10**9)
    fragment = b"\x00\x7e\x00\xff" + bytes(255)
    reader.feed(b"\x01\x00")
    return lambda: [reader.feed(fragment) for _ in range(n)]


@row(10_000)
def pings_in_one_read(n: int) -> Work:
    reader = FrameReader(10**9)
    return lambda: reader.feed(b"\x89\x00" * n)


@row(2000)
def a_list_of_wrong_items(n: int) -> Work:
    return wide(n, "response.done", "response.output", 1)


@row(2000)
def a_list_of_unknown_items(n: int) -> Work:
    return wide(n, "response.done", "response.output", {"type": "new", "x": float(1)})


@row(1000)
def a_list_of_broken_items(n: int) -> Work:
    return wide(
        n, "response.done", "response.output", {"type": "message", "content": [{"type": "text", "text": 1}]}
    )


@row(5000)
def wrong_values_by_name(n: int) -> Work:
    metadata = {f"k{number}": number for number in range(n)}
    return decoding(json.dumps({"type": "response.created", "response": {"metadata": metadata}}))


@row(20_000)
def halves_of_characters(n: int) -> Work:
    return decoding('{"type":"response.output_text.delta","delta":"' + "\\ud83d" * n + '"}')


@row(5000)
def halves_of_characters_in_names(n: int) -> Work:
    return decoding('{"type":"x","y":{' + ",".join(f'"{number}\\ud83d":1' for number in range(n)) + "}}")


@row(50_000)
def json_nested_deeply(n: int) -> Work:
    return decoding('{"type":"response.done","response":' + '{"a":[' * n)


@row(300)
def json_nested_as_deeply_as_allowed(n: int) -> Work:
    deep = "[" * (n // 2) + "NaN" + "]" * (n // 2)
    return decoding('{"type":"conversation.item.added","event_id":"","item":{"type":"new","x":' + deep + "}}")


@row(100_000)
def a_number_of_many_digits(n: int) -> Work:
    return decoding('{"type":"response.output_text.delta","output_index":' + "9" * n + ',"x":NaN}')


@row(100_000)
def base64_with_spaces(n: int) -> Work:
    return decoding('{"type":"response.output_audio.delta","delta":"' + "AA\\n" * n + '"}')


@row(2000)
def a_name_that_comes_again_and_again(n: int) -> Work:
    return decoding('{"type":"response.done",' + '"response":{"output":[]},' * n + '"x":NaN}')


@row(1000)
def half_a_character_in_each_part(n: int) -> Work:
    joiner = Joiner()
    frames: list[Any] = [
        json.dumps(
            {"type": "response.output_text.delta", "event_id": "", **at(f"i{k}"), "delta": "\ud83d"}
        ).encode()
        for k in range(n)
    ]
    return lambda: decode_messages(frames, lambda *told: None, joiner)


@row(2000)
def fields_of_a_client_that_nobody_knows(n: int) -> Work:
    frame = json.dumps({"type": "response.create", **{f"x{number}": 1 for number in range(n)}})
    return lambda: decode_client(frame)


# --- What a session keeps --------------------------------------------------------------------------------


@row(10_000)
def events_that_are_not_taken(n: int) -> Work:
    inbox = Inbox(10**12)
    event = wire("response.output_text.delta", **at(), delta="x")

    def work() -> None:
        for _ in range(n):
            inbox.put([event], 100)
        for _ in range(n):
            inbox.get(0)

    return work


@row(20_000)
def keys_beyond_the_most(n: int) -> Work:
    latest: Latest[int, None] = Latest(n)

    def work() -> None:
        for key in range(3 * n):
            latest[key] = None

    return work


def understanding(events: Iterable[ServerEvent]) -> Work:
    """Let a ledger take events, and then a conversation."""
    told, ledger, conversation = list(events), Ledger(), Conversation()

    def work() -> None:
        for event in told:
            event.__dict__["facts"] = ledger.note(event)
            conversation.visit(event)

    return work


@row(1000)
def items_after_the_first(n: int) -> Work:
    return understanding([added(message("0")), *(added(message(str(k)), "0") for k in range(1, n))])


@row(1000)
def items_before_all_others(n: int) -> Work:
    return understanding(added(message(str(k)), "root") for k in range(n))


@row(1000)
def items_without_a_predecessor(n: int) -> Work:
    return understanding(added(message(str(k))) for k in range(n))


@row(1000)
def items_whose_place_is_told_last(n: int) -> Work:
    guessed = [added(message(str(k)), "unknown") for k in range(n)]
    told = [
        wire("conversation.item.done", item=message(str(k)), previous_item_id=str(k + 1)) for k in range(n)
    ]
    return understanding([*guessed, *reversed(told)])


@row(2000)
def items_deleted_from_the_middle(n: int) -> Work:
    events = [added(message(str(k)), str(k - 1)) for k in range(n)]
    return understanding([*events, *(removed(str((k + n // 2) % n)) for k in range(n))])


@row(500)
def items_that_a_server_finds_to_be_the_last(n: int) -> Work:
    return understanding(
        event
        for k in range(n)
        for event in (
            created(f"r{k}"),
            item_added(answer(f"i{k}"), f"r{k}"),
            added(answer(f"i{k}")),
            done(f"r{k}"),
        )
    )


@row(250)
def items_of_one_response(n: int) -> Work:
    began = [item_added(answer(str(k)), output=k) for k in range(n)]
    ended = [item_done(answer(str(k), status="completed"), output=k) for k in range(n)]
    return understanding([created(), *began, *ended, done(output=[answer(str(k)) for k in range(n)])])


@row(250)
def items_of_one_response_under_new_ids(n: int) -> Work:
    began = [item_added(answer(f"a{k}"), output=k) for k in range(n)]
    ended = [item_done(answer(f"b{k}", status="completed"), output=k) for k in range(n)]
    return understanding([created(), *began, *ended, done(output=[answer(f"c{k}") for k in range(n)])])


@row(250)
def calls_of_one_response(n: int) -> Work:
    call = {"type": "function_call", "name": "f", "arguments": "{}", "status": "completed"}
    calls = [{**call, "id": f"i{k}", "call_id": f"c{k}"} for k in range(n)]
    again = [{**call, "id": f"j{k}", "call_id": f"c{k}"} for k in range(n)]
    events = [item_done(each, output=k) for k, each in enumerate(calls)]
    return understanding([created(), *events, done(output=again)])


@row(250)
def parts_of_one_item(n: int) -> Work:
    deltas = [wire("response.output_text.delta", **at(index=k), delta="x") for k in range(n)]
    return understanding([created(), item_added(answer()), *deltas])


@row(1000)
def parts_of_many_items(n: int) -> Work:
    return understanding(wire("response.output_text.delta", **at(f"i{k}"), delta="x") for k in range(n))


@row(1000)
def responses_that_never_end(n: int) -> Work:
    return understanding(created(f"r{k}") for k in range(n))


@row(1000)
def responses_of_the_same_id(n: int) -> Work:
    return understanding(
        event for k in range(n) for event in (created(), item_added(answer(f"i{k}")), done())
    )


@row(2000)
def arguments_in_small_deltas(n: int) -> Work:
    deltas = [
        wire(
            "response.function_call_arguments.delta",
            response_id="r",
            item_id="i",
            output_index=0,
            call_id="c",
            delta=" ",
        )
        for _ in range(n)
    ]
    return understanding([created(), *deltas, done()])


@row(2000)
def errors_about_nothing(n: int) -> Work:
    return understanding(wire("error", error={"type": "x", "message": "m"}) for _ in range(n))


# --- What a conversation shows ---------------------------------------------------------------------------


def conversation_of(events: Iterable[ServerEvent]) -> Conversation:
    conversation = Conversation()
    for event in events:
        conversation.visit(event)
    return conversation


@row(500)
def a_conversation_of_many_items(n: int) -> Work:
    conversation = conversation_of(added(message(str(k), "Hi."), str(k - 1)) for k in range(n))
    return lambda: (conversation.transcript(), conversation.to_items(), repr(conversation.items))


@row(500)
def a_conversation_of_many_calls(n: int) -> Work:
    call = {"type": "function_call", "name": "f", "arguments": "{}", "status": "completed"}
    events = []
    for k in range(n):
        events.append(added({**call, "id": f"i{k}", "call_id": f"c{k}"}))
        events.append(
            added({"type": "function_call_output", "id": f"o{k}", "call_id": f"c{k}", "output": "1"})
        )
    conversation = conversation_of(events)
    return lambda: (conversation.transcript(), conversation.to_items())


@row(5000)
def a_text_of_many_deltas(n: int) -> Work:
    words = [wire("response.output_audio_transcript.delta", **at(), delta="x ") for _ in range(n)]
    audio = [sound(b"ab") for _ in range(n)]
    conversation = conversation_of([created(), item_added(answer()), *words, *audio])
    conversation.visit(wire("conversation.item.truncated", item_id="i", content_index=0, audio_end_ms=1))
    [item] = conversation.items
    return lambda: (item.text, item.audio, repr(item), conversation.transcript())


@row(50_000)
def a_text_of_spaces(n: int) -> Work:
    conversation = conversation_of([added(message("i", " \x1b" * n))])
    return lambda: conversation.transcript()


@row(1000)
def waits_for_one_item_among_many(n: int) -> Work:
    conversation = conversation_of(added(message(str(k), "Hi."), str(k - 1)) for k in range(n))
    return lambda: [conversation.item("another") for _ in range(n)]


@row(500)
def waits_for_one_response_among_many(n: int) -> Work:
    conversation = conversation_of(event for k in range(n) for event in (created(f"r{k}"), done(f"r{k}")))
    return lambda: [conversation.response("another") for _ in range(n)]


# --- The local server ------------------------------------------------------------------------------------


def creating(item_id: str, after: str | None) -> str:
    item = {"type": "message", "id": item_id, "role": "user", "content": []}
    return json.dumps({"type": "conversation.item.create", "previous_item_id": after, "item": item})


@row(3000)
def items_created_before_the_last(n: int) -> Work:
    talk = Talk()
    frames = [creating(f"i{k}", f"i{k - 2}" if k > 1 else None) for k in range(n)]
    return lambda: [talk.protocol.receive(frame) for frame in frames]


@row(3000)
def items_deleted_by_a_client(n: int) -> Work:
    talk = Talk()
    for k in range(n):
        talk.protocol.receive(creating(f"i{k}", None))
    frames = [
        json.dumps({"type": "conversation.item.delete", "item_id": f"i{(k + n // 2) % n}"}) for k in range(n)
    ]
    return lambda: [talk.protocol.receive(frame) for frame in frames]


@row(500)
def tools_of_many_mcp_servers(n: int) -> Work:
    talk = Talk()
    tools = [{"type": "mcp", "server_label": f"s{k}", "server_url": "https://x"} for k in range(n)]
    return lambda: (talk.update(tools=tools), talk.steps())


@row(250)
def turns_that_are_transcribed(n: int) -> Work:
    talk = Talk()
    talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    append = rt.encode(ev.InputAudioBufferAppend(audio=bytes(4800)))
    frames: list[str | bytes] = [append, '{"type":"input_audio_buffer.commit"}'] * n
    return lambda: ([talk.protocol.receive(frame) for frame in frames], talk.steps())


def arguments_that_a_client_asks_for(n: int) -> Work:
    talk = Talk()
    talk.update(tools=[{"type": "function", "name": "f"}])
    talk.say('call f {"x":"' + "y" * n + '"}')
    return lambda: talk.turn()


@row(50_000)
def words_that_a_responder_says(n: int) -> Work:
    class Spaces:
        def respond(self, request: Request) -> list[Say]:
            return [Say(" " * n)]

    talk = Talk(Spaces())
    return lambda: talk.turn(output_modalities=["text"])


@row(2000)
def many_words(n: int) -> Work:
    class Words:
        def respond(self, request: Request) -> list[Say]:
            return [Say("a " * n)]

    talk = Talk(Words())
    return lambda: talk.turn(output_modalities=["text"])


@row(500)
def audio_in_small_pieces(n: int) -> Work:
    talk = Talk()
    frame = rt.encode(ev.InputAudioBufferAppend(audio=bytes(97)))
    return lambda: [talk.protocol.receive(frame) for _ in range(n)]


@row(20)
def turns_in_one_piece_of_audio(n: int) -> Work:
    talk = Talk()
    talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    loud, quiet = b"\x00\x40\x00\xc0" * 2400, bytes(24_000 + 9600)
    frame = rt.encode(ev.InputAudioBufferAppend(audio=(loud + quiet) * n))
    return lambda: talk.protocol.receive(frame)


@row(20)
def utterances_to_translate(n: int) -> Work:
    talk = Talk.to(session_type="translation")
    loud, quiet = b"\x00\x40\x00\xc0" * 2400, bytes(48_000)
    frame = rt.encode(ev.SessionInputAudioBufferAppend(audio=loud + quiet))
    return lambda: ([talk.protocol.receive(frame) for _ in range(n)], talk.steps())


@row(1000)
def items_given_to_a_response(n: int) -> Work:
    talk = Talk()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
    frame = json.dumps({"type": "response.create", "response": {"input": [item] * n}})
    return lambda: talk.protocol.receive(frame)


@row(20_000)
def settings_nested_deeply(n: int) -> Work:
    talk = Talk()
    frame = '{"type":"session.update","session":{"type":"realtime","tools":' + "[" * n
    return lambda: talk.protocol.receive(frame)


@row(5000)
def fields_of_a_body(n: int) -> Work:
    body = json.dumps({f"f{k}": k for k in range(n)}).encode()
    return lambda: fields_of({"content-type": "application/json"}, body)


@row(500)
def settings_in_a_body(n: int) -> Work:
    tools = [{"type": "function", "name": f"f{k}", "parameters": {}} for k in range(n)]
    body = json.dumps({"type": "realtime", "tools": tools}).encode()
    return lambda: settings_of(body)


# --- Sound -----------------------------------------------------------------------------------------------


def wav(audio: bytes, before: bytes = b"") -> bytes:
    chunk = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24_000, 48_000, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + chunk + before + b"data" + struct.pack("<I", len(audio)) + audio


@row(20_000)
def chunks_of_a_wav_file(n: int) -> Work:
    file = io.BytesIO(wav(b"", b"junk\x00\x00\x00\x00" * n))
    return lambda: list(wav_chunks(file))


@row(20_000)
def audio_in_pieces_of_a_byte(n: int) -> Work:
    return lambda: list(chunks(itertools.repeat(b"x", n)))


@row(10_000)
def what_ffmpeg_says(n: int) -> Work:
    return lambda: complaints("[" * n + "[a @ " * n + "[error] x\n" * n)


# --- Tests and tools -------------------------------------------------------------------------------------


@row(500)
def outputs_of_functions(n: int) -> Work:
    calls: list[Any] = [
        ev.FunctionCall(id=f"i{k}", call_id=f"c{k}", name="f", arguments="") for k in range(n)
    ]
    outputs = [ev.FunctionCallOutput(call_id=f"c{k}", output="") for k in range(n)]
    return lambda: Turn(Request(items=[*calls, *outputs]), outputs).function_outputs


@row(100)
def texts_of_many_lines_that_differ(n: int) -> Work:
    left, right = [f"left {k} {k * k}" for k in range(n)], [f"right {k * k} {k}" for k in range(n)]
    return lambda: difference(left, right)


@row(1000)
def long_texts_that_differ(n: int) -> Work:
    letters = [chr(200 + k) for k in range(200)]
    left, right = "".join(letters) * (n // 200), "".join(reversed(letters)) * (n // 200)
    return lambda: difference(left, right)


@row(50)
def values_nested_deeply(n: int) -> Work:
    value: Any = "x" * 100
    for _ in range(n):
        value = [value]
    return lambda: (readable(value), difference(value, [value]))


@row(2000)
def a_list_of_events(n: int) -> Work:
    events = [ev.InputAudioBufferAppend(audio=b"x"), ev.InputAudioBufferCommit()] * n
    return lambda: event_lines(events)


def documented(docs: str) -> Work:
    def function(x: int) -> None: ...

    function.__doc__ = docs
    return lambda: Signature.of(function)


@row(2000)
def a_docstring_of_spaces(n: int) -> Work:
    return documented("Do.\n\n:x" + " " * n + "\n" + ":param x" + " a" * n)


@row(2000)
def a_docstring_of_sections(n: int) -> Work:
    return documented("Do.\n\n" + "Parameters\n----\n" * n + "-" * n)


@row(2000)
def a_docstring_of_arguments(n: int) -> Work:
    return documented("Do.\n\nArgs:\n" + "    x" + "(" * n + "\n" + "    y: " + "z\n" * n + "        a\n" * n)


def a_tool(x: int) -> None: ...


@row(20_000)
def arguments_of_a_tool(n: int) -> Work:
    tools = Tools(a_tool)
    return lambda: tools.call("a_tool", '{"x":' + "[" * n)


@row(20_000)
def signatures_of_a_webhook(n: int) -> Work:
    headers = rt.webhooks.sign(b"{}", "secret")
    headers["webhook-signature"] = "v1,x " * n + headers["webhook-signature"]
    return lambda: rt.webhooks.unwrap(b"{}", headers, "secret")


# --- All of them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prepare", "n"), ROWS)
def test_growth(prepare: Prepare, n: int) -> None:
    """What takes a time for one input takes no more than in proportion for four times as much."""
    assert_linear(prepare, n)


def assert_linear(prepare: Prepare, n: int) -> None:
    found = growth(prepare, n)
    assert found.is_linear, str(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "n"),
    [
        (items_after_the_first, 10_000),
        (items_before_all_others, 10_000),
        (items_whose_place_is_told_last, 10_000),
        (items_deleted_from_the_middle, 10_000),
        (items_that_a_server_finds_to_be_the_last, 10_000),
        (parts_of_many_items, 10_000),
        (responses_of_the_same_id, 10_000),
        (items_created_before_the_last, 10_000),
        (items_deleted_by_a_client, 10_000),
        (arguments_that_a_client_asks_for, 400_000),
    ],
)
def test_growth_at_length(prepare: Prepare, n: int) -> None:
    """So it is beyond all bounds: 40,000 items that name the first as the one before them take seconds."""
    assert_linear(prepare, n)


# --- With a connection -----------------------------------------------------------------------------------


def speaking(session: rt.Session, events: Iterable[ServerEvent], unheard: Any = "leave") -> Work:
    """Let a playback take events, each chunk played before the next, and be interrupted at the end."""
    told, clock = list(events), Clock()
    shown: list[object] = []
    playback = Playback(session, ClockedSpeaker(clock=clock), unheard=unheard)

    def work() -> None:
        for event in told:
            playback.visit(event)
            clock.pass_by(1000)
            shown.append((playback.pending_ms, playback.playing))
        playback.interrupt()

    return work


def test_parts_that_are_played(met: Met) -> None:
    """A response of many parts is played in a time in proportion to their number."""

    def prepare(n: int) -> Work:
        return speaking(met.session, [created(), *(sound(b"ab" * 24, f"i{k}") for k in range(n))])

    assert_linear(prepare, 500)


def test_parts_of_many_responses_that_are_played(met: Met) -> None:
    """So are many responses, one after the other, of which some have no end."""

    def prepare(n: int) -> Work:
        return speaking(
            met.session,
            (
                event
                for k in range(n)
                for event in (
                    created(f"r{k}"),
                    sound(b"ab" * 24, f"i{k}", response_id=f"r{k}"),
                    done(f"r{k}"),
                )
            ),
        )

    assert_linear(prepare, 300)


def test_what_waits_to_be_played(met: Met) -> None:
    """What waits because another response is played first takes no longer because more of it waits."""

    def prepare(n: int) -> Work:
        began = [created("a"), sound(b"ab" * 24, "first", response_id="a"), created("b", None)]
        waits = [sound(b"ab" * 24, f"i{k}", response_id="b") for k in range(n)]
        return speaking(met.session, [*began, *waits, done("a"), done("b")])

    assert_linear(prepare, 500)


def test_what_is_interrupted(met: Met) -> None:
    """What still comes of an interrupted response is discarded, however much it is."""

    def prepare(n: int) -> Work:
        before = [sound(b"ab" * 24, f"i{k}") for k in range(n)]
        speech = wire("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
        late = [sound(b"ab" * 24, f"i{k % n}") for k in range(n)]
        return speaking(met.session, [created(), *before, speech, *late], "delete")

    assert_linear(prepare, 500)
