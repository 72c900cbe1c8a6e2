"""`surrogates`: text that a server cut inside a surrogate pair is joined, and nothing held for ever."""

import itertools
import json
from collections import Counter
from typing import Any

import pytest
import samples

from realtime_sync.events import SERVER_EVENTS, ServerEvent
from realtime_sync.events.codec import Binary, Message, decode, decode_messages
from realtime_sync.events.surrogates import Joiner, whole

HIGH, LOW, EMOJI, LOST = "\ud83d", "\ude00", "\U0001f600", "\N{REPLACEMENT CHARACTER}"
TEXT = "response.output_text.delta"
DELTAS = [
    tag for tag in SERVER_EVENTS if isinstance(getattr(decode(samples.SERVER[tag]), "delta", None), str)
]
PART = ["response_id", "item_id", "output_index", "content_index", "call_id"]


_ids = itertools.count()


class Connection:
    """Decodes as a session does, one read of the connection after another."""

    def __init__(self) -> None:
        self.joiner = Joiner()
        self.deviations: Counter[str] = Counter()

    def receive(self, *messages: Message) -> list[Any]:
        return decode_messages(list(messages), self._report, self.joiner)

    def _report(self, event: str, places: dict[str, int], frame: bytes) -> None:
        self.deviations.update({event + place: times for place, times in places.items()})

    def texts(self, *deltas: str, tag: str = TEXT, **changes: Any) -> list[str]:
        """What the deltas of one part are, each received by itself."""
        frames = [frame(tag, delta=delta, event_id=f"e{next(_ids)}", **changes) for delta in deltas]
        return [self.receive(each)[0].delta for each in frames]


@pytest.fixture
def connection() -> Connection:
    return Connection()


def frame(tag: str, **changes: Any) -> bytes:
    return json.dumps({**samples.frame(samples.SERVER[tag]), **changes}).encode()


# --- Joined ------------------------------------------------------------------------------------------


def test_which_events_have_text() -> None:
    """The texts of responses, calls, transcripts and translations come in deltas, under old names and new."""
    assert len(DELTAS) == 9


@pytest.mark.parametrize("tag", DELTAS)
@pytest.mark.parametrize("together", [False, True])
def test_two_halves_are_one_character(connection: Connection, tag: str, together: bool) -> None:
    """A pair that is cut is whole in the second delta, whether both come in one read or in two."""
    frames = [frame(tag, delta=f"so {HIGH}"), frame(tag, delta=f"{LOW}!")]
    events = connection.receive(*frames) if together else [connection.receive(each)[0] for each in frames]
    assert [type(event) for event in events] == [SERVER_EVENTS[tag]] * 2
    assert [event.delta for event in events] == ["so ", f"{EMOJI}!"]
    assert connection.deviations == {f"{tag}: text cut inside a surrogate pair": 2}
    assert not connection.joiner.held


@pytest.mark.parametrize(
    ("deltas", "texts"),
    [
        ([HIGH, LOW], ["", EMOJI]),
        ([HIGH, "", LOW], ["", "", EMOJI]),
        ([HIGH, LOW + HIGH, LOW], ["", EMOJI, EMOJI]),
        ([EMOJI, HIGH + LOW], [EMOJI, EMOJI]),
        ([HIGH, "clean", "more"], ["", f"{LOST}clean", "more"]),
        ([HIGH, HIGH, LOW], ["", LOST, EMOJI]),
        ([HIGH, LOW + LOW], ["", EMOJI + LOST]),
        ([LOW, "x"], [LOST, "x"]),
        ([f"a{HIGH}b", f"{LOW}c"], [f"a{LOST}b", f"{LOST}c"]),
    ],
    ids=ascii,
)
def test_halves_in_any_order(connection: Connection, deltas: list[str], texts: list[str]) -> None:
    """Only a high half at a delta's end is held back; a half that stays alone is U+FFFD, in its place."""
    assert connection.texts(*deltas) == texts
    assert not connection.joiner.held


def test_an_event_that_comes_twice(connection: Connection) -> None:
    """It is the same both times, so that its second coming is known for what it is."""
    twice = [frame(TEXT, delta=f"so {HIGH}"), frame(TEXT, delta=LOW, event_id="other")]
    events = [connection.receive(each)[0] for each in twice for _ in range(2)]
    assert [event.delta for event in events] == ["so ", "so ", EMOJI, EMOJI]
    assert not connection.joiner.held


@pytest.mark.parametrize("field", PART)
def test_parts_are_apart(connection: Connection, field: str) -> None:
    """Deltas of parts that differ in one index or id may be mixed: each gets its own half."""
    tag = next(tag for tag in DELTAS if field in samples.frame(samples.SERVER[tag]))
    other: Any = {field: 7 if field.endswith("index") else "other"}
    assert connection.texts(HIGH, tag=tag) == [""]
    assert connection.texts("a", HIGH, LOW, tag=tag, **other) == ["a", "", EMOJI]
    assert connection.texts(LOW, tag=tag) == [EMOJI]


def test_kinds_are_apart(connection: Connection) -> None:
    """The text of one kind is not joined with that of another, though both are of the same part."""
    audio = "response.output_audio_transcript.delta"
    assert connection.texts(HIGH) == [""]
    ids = {key: value for key, value in samples.frame(samples.SERVER[TEXT]).items() if key in PART}
    assert connection.texts("a", tag=audio, **ids) == ["a"]
    assert connection.receive(frame("response.output_audio.delta", **ids))[0].delta
    connection.receive(frame("response.output_audio.done", **ids))
    assert connection.texts(LOW) == [EMOJI]


def test_ids_that_are_no_ids(connection: Connection) -> None:
    """A server whose deltas say nothing, or rubbish, of their part gets its text joined all the same."""
    for odd in (None, [1], {"a": 1}):
        assert connection.texts(HIGH, LOW, **dict.fromkeys(PART, odd)) == ["", EMOJI]


def test_what_is_no_text(connection: Connection) -> None:
    """A delta of another type, an unknown event and a binary message hold nothing and change nothing."""
    connection.texts(HIGH)
    unknown = rb'{"type":"new.delta","delta":"\ud83d"}'
    event, _, _, _ = connection.receive(unknown, Binary(b"\x00"), b"{", frame(TEXT, delta=5, item_id="other"))
    assert event.frame == unknown
    assert connection.texts(LOW) == [EMOJI]
    assert not connection.joiner.held


def test_decode_has_no_memory() -> None:
    """`decode`, which knows one frame only, replaces each half."""
    first, second = (decode(frame(TEXT, delta=half)) for half in (HIGH, LOW))
    assert (getattr(first, "delta", None), getattr(second, "delta", None)) == (LOST, LOST)


# --- Nothing is held for ever --------------------------------------------------------------------------


def ends(tag: str) -> list[bytes]:
    """The events after which a part of this kind gets no more text."""
    stem = tag.removesuffix("delta")
    own = [stem + word for word in ("done", "completed", "failed") if stem + word in SERVER_EVENTS]
    changes = {key: value for key, value in samples.frame(samples.SERVER[tag]).items() if key in PART}
    frames = [frame(end, **changes) for end in own]
    if response_id := changes.get("response_id"):
        response = {**samples.frame(samples.SERVER["response.done"])["response"], "id": response_id}
        frames.append(frame("response.done", response=response))
        frames.append(json.dumps({"type": "response.cancelled", "response_id": response_id}).encode())
    return frames


ENDS = [(tag, end) for tag in DELTAS for end in ends(tag)]


@pytest.mark.parametrize(("tag", "end"), ENDS, ids=[f"{tag} {json.loads(end)['type']}" for tag, end in ENDS])
def test_a_part_that_ends_without_the_other_half(connection: Connection, tag: str, end: bytes) -> None:
    """With the end of a part or of its response nothing is held any more, so that nothing follows it."""
    assert connection.texts(HIGH, tag=tag) == [""]
    assert connection.joiner.held
    assert isinstance(connection.receive(end)[0], ServerEvent)
    assert not connection.joiner.held
    assert connection.texts("new", tag=tag) == ["new"]


def test_a_response_that_ends_ends_no_other(connection: Connection) -> None:
    """What is held of another response, or of what the user says, waits on; deltas without an id don't."""
    user = "conversation.item.input_audio_transcription.delta"
    for response_id in ("resp_a", "resp_b", ""):
        connection.texts(HIGH, response_id=response_id)
    connection.texts(HIGH, tag=user)
    connection.receive(
        b'{"type":"response.done","response":{"id":"resp_a"}}', b'{"type":"response.cancelled"}'
    )
    assert connection.texts(LOW, response_id="resp_a") == [LOST]
    assert connection.texts(LOW, response_id="") == [LOST]
    assert connection.texts(LOW, response_id="resp_b") == [EMOJI]
    assert connection.texts(LOW, tag=user) == [EMOJI]


def test_what_is_held_is_bounded(connection: Connection) -> None:
    """Of a server that cuts the text of ever new parts, the oldest halves are forgotten."""
    for number in range(1000):
        connection.texts(HIGH, item_id=f"item_{number}")
    joined = [connection.texts(LOW, item_id=f"item_{number}")[0] for number in range(1000)]
    assert joined == [LOST] * 936 + [EMOJI] * 64


# --- The fast path ---------------------------------------------------------------------------------------


class Watched(Joiner):
    """Counts the events that it is given."""

    looked_at = 0

    def join(self, event: Any) -> None:
        self.looked_at += 1
        super().join(event)


def test_what_is_decoded_is_not_looked_at(connection: Connection) -> None:
    """As long as all frames are as specified and nothing is held, no event costs a call more."""
    connection.joiner = joiner = Watched()
    connection.receive(*map(str.encode, samples.SERVER.values()))
    assert joiner.looked_at == 0
    connection.receive(frame(TEXT, delta=HIGH))
    assert joiner.looked_at == 1


def test_whole() -> None:
    """Pairs are joined, and each half that is alone is replaced."""
    assert whole(f"{HIGH}{LOW} {HIGH} {LOW}{HIGH}") == f"{EMOJI} {LOST} {LOST}{LOST}"


def test_what_has_absurd_ids_is_not_held(connection: Connection) -> None:
    """Half a character is not held back for a part whose ids are absurdly long: they would be held, too."""
    long = "i" * 2000
    events = connection.receive(
        frame(DELTAS[0], delta=HIGH, item_id=long), frame(DELTAS[0], delta=LOW, item_id=long)
    )
    assert [event.delta for event in events] == ["\ufffd", "\ufffd"]
    assert not connection.joiner.held
