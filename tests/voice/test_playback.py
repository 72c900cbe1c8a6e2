"""`Playback`: it plays a session's responses, and tells the server how much of them was played."""

import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from response_script import ResponseScript
from scripted import CREATED, DEADLINE, Caller, Open, ScriptedServer
from tones import silence, tone

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import CallFunction, Say, ScriptedResponder
from realtime_sync.local.protocol.responders import Scripted
from realtime_sync.sound.formats import PCM, PCMA, PCMU
from realtime_sync.testing import RealtimeServer
from realtime_sync.voice import playback as module
from realtime_sync.voice.playback import Interruption, Playback
from realtime_sync.voice.speakers import ClockedSpeaker

SLOWLY = 0.01  # seconds between two deltas of a response, so that a long one is still running
LONG = silence(120_000)


class Witness(rt.Visitor[None]):
    """Remembers all events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def default(self, event: rt.ServerEvent) -> None:
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Recorder(ClockedSpeaker):
    """Remembers what was written, and that it was asked what it has played."""

    def __init__(self, clock: Clock, format: str = PCM) -> None:  # noqa: A002
        super().__init__(format, clock=clock)
        self.written = bytearray()
        self.looked_at = threading.Event()

    @property
    def played_ms(self) -> float:
        self.looked_at.set()
        return super().played_ms

    def write(self, audio: bytes) -> None:
        self.written += audio
        super().write(audio)


class Scene:
    """A session with a playback, on a server that says what it is told."""

    def __init__(
        self, server: RealtimeServer, session: rt.Session, audio_format: str, **options: Any
    ) -> None:
        self.server, self.session = server, session
        self.clock = Clock()
        self.speaker = Recorder(self.clock, audio_format)
        self.playback = Playback(session, self.speaker, **options)
        self.witness = Witness()
        self.visitor = rt.Visitors(self.playback, self.witness)

    def until(self, condition: Callable[[], object]) -> None:
        self.session.wait_until(lambda: bool(condition()), self.visitor, DEADLINE)

    def until_event(self, kind: type[Any], count: int = 1) -> Any:
        self.until(lambda: len(self.witness.of(kind)) >= count)
        return self.witness.of(kind)[count - 1]

    def respond(self, **params: Any) -> str:
        """Have a whole response; its id."""
        done = len(self.witness.of(ev.ResponseDone))
        self.session.response.create(**params)
        return str(self.until_event(ev.ResponseDone, done + 1).response.id)

    def items(self) -> list[str]:
        """The ids of the items of all responses, in the order in which they began."""
        return [str(event.item.id) for event in self.witness.of(ev.ResponseOutputItemAdded)]

    def settle(self) -> None:
        """Wait until the server has taken all that was sent, and its answers are here."""
        mark = self.session.send({"type": "no.such.event"})
        self.until(lambda: any(error.error.event_id == mark for error in self.witness.of(ev.ErrorEvent)))
        self.witness.events = [
            event
            for event in self.witness.events
            if not (isinstance(event, ev.ErrorEvent) and event.error.event_id == mark)
        ]

    def asked(self, *kinds: type[Any]) -> list[Any]:
        """What the server was asked of these kinds, when it has taken all that was sent; no error came."""
        self.settle()
        assert not self.witness.of(ev.ErrorEvent)
        return self.server.received_of(*kinds)

    def changes(self) -> list[tuple[Any, ...]]:
        """What was asked of the conversation: truncated or deleted."""
        return [
            (event.item_id, event.content_index, event.audio_end_ms)
            if isinstance(event, ev.ConversationItemTruncate)
            else (event.item_id,)
            for event in self.asked(ev.ConversationItemTruncate, ev.ConversationItemDelete)
        ]


@pytest.fixture
def opened() -> Iterator[Callable[..., Scene]]:
    """Opens a scene: what the server says, and options of the server, the connection and the playback."""
    with ExitStack() as stack:

        def opened(
            *answers: Scripted,
            delay: float = 0,
            connect: dict[str, Any] | None = None,
            audio_format: str = PCM,
            **options: Any,
        ) -> Scene:
            server = RealtimeServer(responder=ScriptedResponder(answers), delay=delay)
            stack.enter_context(server)
            session = stack.enter_context(rt.connect(base_url=server.url, **(connect or {})))
            return Scene(server, session, audio_format, **options)

        yield opened


Opened = Callable[..., Scene]


# --- Interruption ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_the_user_speaks(opened: Opened, dialect: str) -> None:
    """The speaker falls silent at once, and the server learns to the millisecond what was played."""
    seen: list[Interruption] = []
    scene = opened(Say("", LONG), delay=SLOWLY, connect={"dialect": dialect}, on_interrupt=seen.append)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 500)
    scene.clock.pass_by(321.7)
    [item] = scene.items()
    assert scene.playback.playing == (item, 0)
    scene.session.input_audio_buffer.append(tone(300))
    truncated = scene.until_event(ev.ConversationItemTruncated)
    [interruption] = scene.playback.interruptions
    assert (truncated.item_id, truncated.content_index, truncated.audio_end_ms) == (item, 0, 321)
    assert interruption.played_ms == scene.speaker.played_ms == pytest.approx(321.7, abs=0.05)
    assert interruption.audio_end_ms == math.floor(scene.speaker.played_ms) == 321
    assert interruption.item_id == item
    assert interruption.truncated
    assert interruption.received_ms >= 500
    assert interruption.cancelled is None
    assert seen == [interruption]
    done = scene.until_event(ev.ResponseDone).response
    assert interruption.response_id == done.id
    assert done.status_details.reason == "turn_detected"
    assert not scene.asked(ev.ResponseCancel)
    scene.clock.pass_by(1000)
    assert scene.speaker.played_ms == interruption.played_ms
    assert scene.playback.playing is None
    assert scene.playback.pending_ms == 0


def test_by_hand(opened: Opened) -> None:
    """`interrupt` does the same and cancels the response; done again, it does nothing."""
    scene = opened(Say("", LONG), delay=SLOWLY)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 300)
    scene.clock.pass_by(250)
    [item] = scene.items()
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert scene.playback.interrupt() is None
    assert scene.playback.interruptions == [interruption]
    assert (interruption.item_id, interruption.audio_end_ms) == (item, 250)
    done = scene.until_event(ev.ResponseDone).response
    assert interruption.response_id == interruption.cancelled == done.id
    assert done.status_details.reason == "client_cancelled"
    assert scene.changes() == [(item, 0, 250)]
    sent = scene.asked(ev.ResponseCancel, ev.ConversationItemTruncate)
    assert tuple(event.event_id for event in sent) == interruption.event_ids
    assert sent[0].response_id == done.id
    assert scene.playback.interrupt() is None


def test_time_goes_on_meanwhile(opened: Opened) -> None:
    """What counts is where the speaker stood still, not where it was when the user began to speak."""
    scene = opened(Say("", silence(5000)))
    scene.respond()

    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.0123
            return self.now

    scene.playback = Playback(scene.session, Recorder(Ticking()))
    for event in scene.witness.events:
        scene.playback.visit(event)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.played_ms == pytest.approx(scene.playback.speaker.played_ms)
    assert scene.changes() == [(scene.items()[0], 0, int(interruption.played_ms))]


def test_late_sound_is_dropped(opened: Opened) -> None:
    """What is still on its way of a response that was cut off is not played; the next response is."""
    scene = opened(Say("", tone(3000)), Say("", tone(500)))
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 1000)
    scene.clock.pass_by(100)
    scene.playback.interrupt()
    written = len(scene.speaker.written)
    assert written < len(tone(3000))
    scene.until_event(ev.ResponseDone)
    assert len(scene.speaker.written) == written
    assert scene.changes() == [(scene.items()[0], 0, 100)]
    scene.respond()
    assert scene.playback.pending_ms == 500
    scene.clock.pass_by(200)
    scene.playback.interrupt()
    assert scene.changes()[1:] == [(scene.items()[1], 0, 200)]


def test_what_the_server_says_is_not_left_out_by_its_own_cancel(opened: Opened) -> None:
    """A response that the server breaks off itself, without anybody speaking, is played to its end."""
    scene = opened(Say("", LONG), delay=SLOWLY)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 300)
    scene.session.response.cancel()
    scene.until_event(ev.ResponseDone)
    pending = scene.playback.pending_ms
    scene.clock.pass_by(pending)
    assert scene.playback.pending_ms == 0
    assert scene.playback.interrupt() is None
    assert not scene.changes()


@pytest.mark.parametrize("unheard", ["leave", "delete"])
@pytest.mark.parametrize(("heard", "cut"), [(400, 0), (1000, 1), (1400, 1), (2999, 2)])
def test_several_items(opened: Opened, unheard: str, heard: int, cut: int) -> None:
    """The item that was playing is truncated at what was played of it; those behind it were not heard."""
    scene = opened(
        [Say("", silence(1000)), CallFunction("f"), Say("", silence(1000)), Say("", silence(1000))],
        unheard=unheard,
    )
    scene.respond()
    first, _, second, third = scene.items()
    spoken = [first, second, third]
    scene.clock.pass_by(heard)
    assert scene.playback.playing == (spoken[cut], 0)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    end_ms = heard - cut * 1000
    behind = spoken[cut + 1 :] if end_ms else spoken[cut:]
    changes: list[tuple[Any, ...]] = [(spoken[cut], 0, end_ms)] if end_ms else []
    if unheard == "delete":
        changes += [(item,) for item in behind]
        assert list(interruption.deleted) == behind
    assert interruption.truncated == bool(end_ms)
    assert scene.changes() == changes
    if end_ms:
        scene.session.conversation.item.retrieve(spoken[cut])
        kept = scene.until_event(ev.ConversationItemRetrieved).item.content[0].audio
        assert len(kept) == end_ms * 48


@pytest.mark.parametrize("heard", [0, 0.9])
@pytest.mark.parametrize(("unheard", "deleted"), [("leave", False), ("delete", True)])
def test_nothing_heard(opened: Opened, unheard: str, deleted: bool, heard: float) -> None:
    """At 0 ms nothing is truncated; the item is left, or deleted if that is wanted."""
    scene = opened(Say("", LONG), delay=SLOWLY, unheard=unheard)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 100)
    scene.clock.pass_by(heard)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert (interruption.audio_end_ms, interruption.truncated) == (0, False)
    [item] = scene.items()
    assert interruption.deleted == ((item,) if deleted else ())
    scene.until_event(ev.ResponseDone)
    assert scene.changes() == ([(item,)] if deleted else [])


@pytest.mark.parametrize("unheard", ["leave", "delete"])
def test_items_that_come_late_are_unheard(opened: Opened, unheard: str) -> None:
    """An item of which all comes after the interruption was not heard either; what was played is left."""
    scene = opened([Say("", silence(1000)), Say("", silence(1000))], unheard=unheard)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 300)
    scene.clock.pass_by(200)
    scene.playback.interrupt()
    scene.until_event(ev.ResponseDone)
    first, *late = scene.items()
    wanted = [(item,) for item in late] if unheard == "delete" else []
    assert scene.changes() == [(first, 0, 200), *wanted]


def test_heard_to_its_end(opened: Opened) -> None:
    """What is complete and was played to its end is not touched."""
    scene = opened(Say("", silence(1000) + b"\0\0" * 12))
    scene.respond()
    scene.clock.pass_by(1000.2)  # of 1000.5: the server counts whole milliseconds
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert not interruption.truncated
    assert interruption.audio_end_ms == interruption.received_ms // 1 == 1000

    scene = opened(Say("", silence(1000)))
    scene.respond()
    scene.clock.pass_by(1000)
    assert scene.playback.playing is None
    assert scene.playback.interrupt() is None
    assert not scene.changes()


def test_all_heard_but_more_to_come(opened: Opened) -> None:
    """In a gap of the audio, what was received was played, and the server hears where it stopped."""
    scene = opened(Say("", LONG), delay=SLOWLY)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 200)
    received = scene.playback.pending_ms
    scene.clock.pass_by(5000)
    [item] = scene.items()
    assert scene.playback.pending_ms == 0
    assert scene.playback.playing == (item, 0)
    scene.playback.interrupt()
    scene.until_event(ev.ResponseDone)
    assert scene.changes() == [(item, 0, int(received))]


def test_before_it_sounds(opened: Opened) -> None:
    """A response that has not said anything yet is stopped, and that is all."""
    scene = opened(Say("", LONG), delay=DEADLINE)
    scene.session.response.create()
    created = scene.until_event(ev.ResponseCreated)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert (interruption.item_id, interruption.truncated) == (None, False)
    assert interruption.response_id == interruption.cancelled == created.response.id
    assert scene.until_event(ev.ResponseDone).response.status == "cancelled"
    assert not scene.changes()


def test_before_it_is_begun(opened: Opened) -> None:
    """A response that was only asked for is stopped too."""
    scene = opened(Say("", LONG), delay=SLOWLY)
    scene.session.response.create()
    scene.playback.interrupt()
    assert scene.until_event(ev.ResponseDone).response.status == "cancelled"


def test_behind_what_plays(opened: Opened) -> None:
    """One that was asked for while another one plays is not heard after the interruption."""
    scene = opened(Say("", silence(1000)), Say("", LONG), delay=0.005)
    scene.respond()
    scene.clock.pass_by(100)
    scene.session.response.create()
    scene.playback.interrupt()
    assert scene.until_event(ev.ResponseDone, 2).response.status == "cancelled"
    assert scene.changes() == [(scene.items()[0], 0, 100)]


def test_of_what_the_session_knows_already(opened: Opened) -> None:
    """A response whose first event is still queued is cancelled and not played."""
    scene = opened(Say("", LONG), delay=SLOWLY)
    scene.session.response.create()
    scene.session.wait_until(lambda: scene.session.active_response is not None, rt.Visitor(), DEADLINE)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.cancelled == scene.until_event(ev.ResponseDone).response.id
    assert not scene.speaker.written


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_server_does_not_cancel(opened: Opened, dialect: str) -> None:
    """Where the server goes on speaking when the user speaks, the response is cancelled from here."""
    scene = opened(Say("", LONG), delay=SLOWLY, connect={"dialect": dialect})
    detection = {"type": "server_vad", "interrupt_response": False, "create_response": False}
    if dialect == "ga":
        scene.session.update(audio={"input": {"turn_detection": detection}})
    else:
        scene.session.update(turn_detection=detection)
    scene.until_event(ev.SessionUpdated)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 200)
    scene.clock.pass_by(111)
    scene.session.input_audio_buffer.append(tone(300))
    done = scene.until_event(ev.ResponseDone).response
    assert done.status_details.reason == "client_cancelled"
    [interruption] = scene.playback.interruptions
    assert interruption.cancelled == done.id
    assert scene.changes() == [(scene.items()[0], 0, 111)]


def test_from_two_threads(opened: Opened) -> None:
    """Interrupted by another thread at any moment, all that the server is told is true: there is no error."""
    scene = opened(*[[Say("", silence(2000)), Say("", silence(2000))]] * 15, delay=0.0005, unheard="delete")
    scene.playback = Playback(scene.session, ClockedSpeaker(), unheard="delete")
    scene.visitor = rt.Visitors(scene.playback, scene.witness)
    sounded, over = threading.Semaphore(0), threading.Event()
    found: list[Interruption | None] = []

    class Bell(rt.Visitor[None]):
        def visit_response_output_audio_delta(self, event: ev.ResponseOutputAudioDelta) -> None:
            sounded.release()

    def interrupt() -> None:
        while sounded.acquire(timeout=DEADLINE) and not over.is_set():
            found.append(scene.playback.interrupt())

    scene.visitor = rt.Visitors(scene.playback, scene.witness, Bell())
    thread = threading.Thread(target=interrupt)
    thread.start()
    for _ in range(15):
        scene.respond()
    over.set()
    sounded.release()
    thread.join(DEADLINE)
    cut = [interruption for interruption in found if interruption is not None]
    assert len(cut) == len(scene.playback.interruptions) > 0
    for interruption in cut:
        assert interruption.audio_end_ms <= interruption.received_ms
    truncated = [cut.item_id for cut in cut if cut.truncated]
    assert [event.item_id for event in scene.asked(ev.ConversationItemTruncate)] == truncated


def test_speech_without_an_answer(opened: Opened) -> None:
    """When the user speaks and nothing is said, nothing is interrupted."""
    scene = opened()
    scene.session.input_audio_buffer.append(tone(300))
    scene.until_event(ev.InputAudioBufferSpeechStarted)
    assert scene.playback.interruptions == []
    assert not scene.asked(ev.ResponseCancel)


def test_two_responses(opened: Opened) -> None:
    """Of responses queued one behind the other, the one that is heard is truncated, the other is unheard."""
    scene = opened(Say("", silence(1000)), Say("", silence(1000)), unheard="delete")
    scene.respond()
    scene.respond()
    first, second = scene.items()
    scene.clock.pass_by(600)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.deleted == (second,)
    assert scene.changes() == [(first, 0, 600), (second,)]


def test_the_second_of_two_responses(opened: Opened) -> None:
    """One that was played to its end is not touched when the one behind it is cut off while it runs."""
    scene = opened(Say("", silence(1000)), Say("", LONG), delay=0.005)
    scene.respond()
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 1900)
    scene.clock.pass_by(1700)
    first, second = scene.items()
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.cancelled == interruption.response_id
    assert scene.changes() == [(second, 0, 700)]
    assert first != second


def test_out_of_band(opened: Opened) -> None:
    """The audio of an out-of-band response is played and interrupted; nothing is truncated or deleted."""
    scene = opened(Say("", silence(1000)), Say("", silence(1000)), unheard="delete")
    scene.respond(conversation="none")
    scene.respond(conversation="none")
    assert scene.playback.pending_ms == 2000
    scene.clock.pass_by(300)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert (interruption.item_id, interruption.audio_end_ms) == (scene.items()[0], 300)
    assert not interruption.truncated
    assert not interruption.deleted
    assert scene.speaker.played_ms == 300
    assert not scene.changes()


def test_out_of_band_is_silent_but_not_cancelled(opened: Opened) -> None:
    """An interrupted out-of-band response falls silent, but is not cancelled: its text may be wanted."""
    scene = opened(Say("", silence(3000)), delay=0.005)
    scene.session.response.create(conversation="none")
    scene.until(lambda: scene.playback.pending_ms >= 200)
    scene.clock.pass_by(100)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.cancelled is None
    assert scene.until_event(ev.ResponseDone).response.status == "completed"
    assert scene.speaker.played_ms == 100
    assert scene.playback.pending_ms == 0
    assert not scene.changes()


def test_after_a_silenced_one(opened: Opened) -> None:
    """The next response is played also while the one that says no more still goes on."""
    scene = opened(Say("", LONG), Say("", tone(200)), delay=SLOWLY)
    scene.session.response.create(conversation="none")
    scene.until(lambda: scene.playback.pending_ms >= 200)
    scene.playback.interrupt()
    written = len(scene.speaker.written)
    scene.session.response.create()
    scene.until_event(ev.ResponseDone)
    assert scene.speaker.written[written:] == tone(200)


def test_without_sound(opened: Opened) -> None:
    """An out-of-band response without audio leaves what plays alone."""
    scene = opened(Say("a long text " * 500), delay=SLOWLY)
    scene.session.response.create(conversation="none", output_modalities=["text"])
    scene.until_event(ev.ResponseOutputTextDelta)
    assert scene.playback.interrupt() is None
    assert not scene.asked(ev.ResponseCancel)


def test_at_the_same_time(opened: Opened) -> None:
    """Responses that come at the same time are played one after the other, each whole."""
    loud, quiet = tone(2000, -6), tone(1500, -30)
    scene = opened(Say("", loud), Say("", quiet), delay=0.02, unheard="delete")
    scene.session.response.create()
    scene.session.response.create(conversation="none")
    scene.until_event(ev.ResponseDone, 2)
    assert bytes(scene.speaker.written) == loud + quiet
    deltas = [event.response_id for event in scene.witness.of(ev.ResponseOutputAudioDelta)]
    assert deltas != sorted(deltas, key=deltas.index), "they came one after the other"
    assert scene.playback.pending_ms == 3500
    scene.clock.pass_by(2500)
    [_, beside] = scene.items()
    assert scene.playback.playing == (beside, 0)
    assert scene.playback.interrupt() is not None
    assert not scene.changes()


def test_interrupted_at_the_same_time(opened: Opened) -> None:
    """Also when what waits for its turn is dropped, the next response is played."""
    scene = opened(Say("", LONG), Say("", LONG), Say("", tone(500)), delay=SLOWLY)
    scene.session.response.create()
    scene.session.response.create(conversation="none")
    scene.until(lambda: len(scene.witness.of(ev.ResponseOutputAudioDelta)) >= 10)
    assert 0 < len(scene.speaker.written) / 48 < scene.playback.pending_ms
    scene.clock.pass_by(100)
    scene.playback.interrupt()
    assert scene.playback.pending_ms == 0
    scene.until_event(ev.ResponseDone)
    assert scene.changes() == [(scene.items()[0], 0, 100)]
    written = len(scene.speaker.written)
    scene.respond()
    assert scene.speaker.written[written:] == tone(500)


def test_deleted_meanwhile(opened: Opened) -> None:
    """An item that is no longer in the conversation is not truncated."""
    scene = opened(Say("", silence(1000)))
    scene.respond()
    scene.clock.pass_by(400)
    scene.session.conversation.item.delete(scene.items()[0])
    scene.until_event(ev.ConversationItemDeleted)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.audio_end_ms == 400
    assert not interruption.truncated
    assert len(scene.changes()) == 1


def test_session_over(opened: Opened) -> None:
    """After the end of the session an interruption still silences the speaker, and sends nothing."""
    scene = opened(Say("", silence(1000)))
    scene.respond()
    scene.session.close()
    scene.clock.pass_by(400)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert (interruption.audio_end_ms, interruption.truncated) == (400, False)
    assert interruption.event_ids == ()
    assert scene.speaker.played_ms == 400


@pytest.mark.parametrize("audio_format", [PCMU, PCMA])
@pytest.mark.parametrize("fixed", [False, True])
def test_other_formats(opened: Opened, audio_format: str, fixed: bool) -> None:
    """Lengths are those of the session's format, or of the one that is given."""
    options = {"format": audio_format} if fixed else {}
    scene = opened(Say("", silence(1000, audio_format)), audio_format=audio_format, **options)
    scene.session.update(audio={"output": {"format": {"type": audio_format}}})
    scene.respond()
    assert scene.playback.pending_ms == 1000
    scene.clock.pass_by(700.5)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert (interruption.audio_end_ms, interruption.played_ms) == (700, 700.5)
    assert scene.changes() == [(scene.items()[0], 0, 700)]


def test_translation(opened: Opened) -> None:
    """Translations are played; they are of no item, and what comes after an interruption is played again."""
    scene = opened(Say("Hi", tone(1000)), Say("Ho", tone(1000)), connect={"translation": True})
    spoken = tone(500) + silence(2000)
    scene.session.translation.append(spoken)
    scene.until(lambda: scene.playback.pending_ms >= 1000)
    assert scene.playback.playing is None
    scene.clock.pass_by(300)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert (interruption.item_id, interruption.response_id, interruption.audio_end_ms) == (None, None, 300)
    assert interruption.event_ids == ()
    scene.session.translation.append(spoken)
    scene.until(lambda: scene.playback.pending_ms >= 1000)


# --- Waiting -----------------------------------------------------------------------------------------


def test_wait_played(opened: Opened) -> None:
    """True once all was played, by the speaker's clock; at once when there is nothing."""
    scene = opened(Say("", silence(80)))
    playback = Playback(scene.session, ClockedSpeaker())
    assert playback.wait_played(0)
    scene.session.response.create()
    scene.session.run(playback, until=ev.ResponseDone, timeout=DEADLINE)
    assert not playback.wait_played(0.001)
    assert playback.wait_played(DEADLINE)
    assert playback.pending_ms == 0


def test_wait_played_is_interrupted(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption ends `wait_played`, which returns False."""
    scene = opened(Say("", silence(2000)))
    scene.respond()
    monkeypatch.setattr(module, "_STALLED", 1000)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(scene.playback.wait_played()))
    scene.speaker.looked_at.clear()
    thread.start()
    assert scene.speaker.looked_at.wait(DEADLINE)  # from here on it holds the lock until it waits
    assert scene.playback.interrupt() is not None
    thread.join(DEADLINE)
    assert results == [False]


def test_wait_played_until_the_server_is_told(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After an interruption `wait_played` returns once the server is informed, unless its timeout expires."""
    scene = opened(Say("", silence(2000)))
    scene.respond()
    monkeypatch.setattr(module, "_STALLED", 1000)
    telling, go_on = threading.Event(), threading.Event()

    def hold_up(record: logging.LogRecord) -> bool:
        if "sent conversation.item.truncate" in record.getMessage():
            telling.set()
            go_on.wait(DEADLINE)
        return True

    caplog.set_level(logging.DEBUG, "realtime_sync")
    caplog.handler.addFilter(hold_up)
    scene.clock.pass_by(200)
    seen: list[tuple[bool, list[Interruption]]] = []

    def leave() -> None:
        played = scene.playback.wait_played()
        seen.append((played, list(scene.playback.interruptions)))
        scene.session.close()

    waiting = threading.Thread(target=leave)
    scene.speaker.looked_at.clear()
    waiting.start()
    assert scene.speaker.looked_at.wait(DEADLINE)  # from here on it holds the lock until it waits
    interrupting = threading.Thread(target=scene.playback.interrupt)
    interrupting.start()
    assert telling.wait(DEADLINE)
    assert scene.playback.wait_played(0.001)  # nothing is left to play, and the time is up
    go_on.set()
    interrupting.join(DEADLINE)
    waiting.join(DEADLINE)
    caplog.handler.removeFilter(hold_up)
    [(played, [interruption])] = seen
    assert not played
    assert interruption.truncated
    scene.server.wait_closed()
    assert [event.audio_end_ms for event in scene.server.received_of(ev.ConversationItemTruncate)] == [200]


def test_wait_played_stalled(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A speaker that plays nothing any more is not waited for for ever."""
    monkeypatch.setattr(module, "_STALLED", 0.02)
    scene = opened(Say("", silence(100)))
    scene.respond()
    assert not scene.playback.wait_played()


# --- Speakers that fail --------------------------------------------------------------------------------


class Broken(ClockedSpeaker):
    """Fails when it is told to."""

    broken = False

    def write(self, audio: bytes) -> None:
        self._check()
        super().write(audio)

    @property
    def played_ms(self) -> float:
        self._check()
        return super().played_ms

    def clear(self) -> None:
        self._check()
        super().clear()

    def _check(self) -> None:
        if self.broken:
            raise OSError("it is gone")


def test_speaker_fails(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """A speaker that fails is in the log once; the session goes on, and what was played stands."""
    scene = opened(Say("", LONG), Say("", silence(100)), delay=0.005)
    speaker = Broken(clock=scene.clock)
    scene.playback = Playback(scene.session, speaker)
    scene.visitor = rt.Visitors(scene.playback, scene.witness)
    scene.session.response.create()
    scene.until(lambda: scene.playback.pending_ms >= 300)
    scene.clock.pass_by(200)
    assert scene.playback.pending_ms >= 100
    speaker.broken = True
    heard = len(scene.witness.of(ev.ResponseOutputAudioDelta))
    scene.until_event(ev.ResponseOutputAudioDelta, heard + 3)
    assert isinstance(scene.playback.failure, OSError)
    assert not scene.playback.wait_played()
    scene.playback.interrupt()
    assert scene.changes() == [(scene.items()[0], 0, 200)]
    scene.until_event(ev.ResponseDone)
    scene.respond()
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "the speaker has failed: it is gone"
    ]


def test_nothing_could_be_written(opened: Opened) -> None:
    """What a speaker has not taken was not played, even if there is nothing that waits."""
    scene = opened(Say("", silence(100)))

    class Full(ClockedSpeaker):
        def write(self, audio: bytes) -> None:
            raise BufferError("no room")

    scene.visitor = rt.Visitors(playback := Playback(scene.session, Full()), scene.witness)
    scene.respond()
    assert playback.pending_ms == 0
    assert not playback.wait_played()


def test_on_interrupt_fails(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """What `on_interrupt` raises is in the log, and nowhere else; the interruption stands."""

    def fail(interruption: Interruption) -> None:
        raise RuntimeError("no screen")

    scene = opened(Say("", silence(1000)), on_interrupt=fail)
    scene.respond()
    scene.clock.pass_by(400)
    interruption = scene.playback.interrupt()
    assert interruption is not None
    assert interruption.truncated
    assert scene.playback.interruptions == [interruption]
    [record] = [record for record in caplog.records if "on_interrupt" in record.message]
    assert record.exc_info is not None
    assert "no screen" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("played", "error"),
    [(math.nan, ValueError), (math.inf, ValueError), (None, TypeError), (lambda: 0.0, TypeError)],
)
def test_no_position(opened: Opened, played: Any, error: type[Exception]) -> None:
    """A speaker whose played_ms is no finite number is rejected with its name."""

    class Lost:
        played_ms = played
        write = clear = print

        def __repr__(self) -> str:
            return "<lost>"

    speaker: Any = Lost()
    scene = opened()
    with pytest.raises(error, match=r"played_ms of a speaker must be a finite number, got .* from <lost>"):
        Playback(scene.session, speaker)


def test_arguments(opened: Opened) -> None:
    """Invalid arguments are rejected when it is made."""
    scene = opened()
    with pytest.raises(ValueError, match="'leave' or 'delete'"):
        Playback(scene.session, scene.speaker, unheard="keep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown audio format"):
        Playback(scene.session, scene.speaker, format="audio/mp3")
    with pytest.raises(TypeError, match="speaker must have a 'write' attribute; 'loud' has none"):
        Playback(scene.session, "loud")  # type: ignore[arg-type]


@pytest.mark.parametrize("own", ["audio/pcmu", "audio/pcm", 8])
def test_a_speaker_of_another_format(opened: Opened, own: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It plays noise, which is in the log, once."""
    scene = opened(Say("", silence(1000)), Say("", silence(1000)))
    scene.playback.speaker.format = own  # type: ignore[attr-defined]
    for _ in range(2):
        scene.respond()
    warnings = [record.message for record in caplog.records if "the speaker expects" in record.message]
    expected = ["the speaker expects audio/pcmu audio, but the session sends audio/pcm"]
    assert warnings == (expected if own == "audio/pcmu" else [])


# --- What servers leave out --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet() -> Iterator[rt.Session]:
    """A session on a server that says nothing and takes everything."""

    def play(caller: Caller) -> None:
        caller.accept()
        caller.text(CREATED)
        caller.sock.settimeout(None)  # all the tests may take longer than one
        while caller.read_message()[0] not in (8, -1):
            pass

    with ScriptedServer(play) as server, rt.connect(base_url=server.url) as session:
        yield session


def created(response: str | None) -> ev.ResponseCreated:
    return ev.ResponseCreated(event_id="", response=ev.Response(id=response))


def done(response: str | None) -> ev.ResponseDone:
    return ev.ResponseDone(event_id="", response=ev.Response(id=response, status="completed"))


def delta(response: str, item: str, ms: int, part: int = 0) -> ev.ResponseOutputAudioDelta:
    return ev.ResponseOutputAudioDelta(
        event_id="",
        response_id=response,
        item_id=item,
        output_index=0,
        content_index=part,
        delta=bytes(ms * 48),
    )


def audio_done(response: str, item: str, part: int = 0) -> ev.ResponseOutputAudioDone:
    return ev.ResponseOutputAudioDone(
        event_id="", response_id=response, item_id=item, output_index=0, content_index=part
    )


SPEECH = ev.InputAudioBufferSpeechStarted(event_id="", audio_start_ms=0, item_id="u")


def play(session: rt.Session, *events: rt.ServerEvent, **options: Any) -> tuple[Playback, Clock]:
    clock = Clock()
    playback = Playback(session, ClockedSpeaker(clock=clock), **options)
    for event in events:
        playback.visit(event)
    return playback, clock


def test_several_parts(quiet: rt.Session) -> None:
    """Of an item with several audio parts, the one that plays is truncated; the item was played."""
    events = (created("r"), delta("r", "i", 100, 0), delta("r", "i", 100, 1), delta("r", "j", 100), done("r"))
    playback, clock = play(quiet, *events, unheard="delete")
    clock.pass_by(150)
    assert playback.playing == ("i", 1)
    interruption = playback.interrupt()
    assert interruption is not None
    assert (interruption.item_id, interruption.content_index, interruption.audio_end_ms) == ("i", 1, 50)
    assert interruption.deleted == ("j",)

    playback, clock = play(quiet, *events[:3], unheard="delete")
    clock.pass_by(100)
    interruption = playback.interrupt()
    assert interruption is not None
    assert (interruption.content_index, interruption.truncated, interruption.deleted) == (1, False, ())


def test_a_part_without_sound(quiet: rt.Session) -> None:
    """An item that was begun, but of which no audio came, was not heard; text parts are no audio."""
    kinds: list[tuple[str, ev.ContentPart]] = [("i", ev.Audio()), ("j", ev.Text()), ("k", ev.OutputAudio())]
    parts = [
        ev.ResponseContentPartAdded(
            event_id="", response_id="r", item_id=item, output_index=0, content_index=0, part=part
        )
        for item, part in kinds
    ]
    playback, _ = play(quiet, created("r"), *parts, unheard="delete")
    assert playback.playing == ("k", 0)
    interruption = playback.interrupt()
    assert interruption is not None
    assert interruption.deleted == ("i", "k")
    assert not interruption.truncated


def test_somebody_else_s_sound(quiet: rt.Session) -> None:
    """What the speaker has played before, or while nothing was said, does not count."""
    clock = Clock()
    speaker = ClockedSpeaker(clock=clock)
    playback = Playback(quiet, speaker)
    speaker.write(tone(300))
    clock.pass_by(300)
    playback.visit(delta("r", "i", 100))
    clock.pass_by(40)
    interruption = playback.interrupt()
    assert interruption is not None
    assert interruption.audio_end_ms == 40


def test_fixed_format(quiet: rt.Session) -> None:
    """A format that is given is not overruled by the session's."""
    playback, _ = play(quiet, delta("r", "i", 100), format=PCMU)
    assert playback.pending_ms == 600


def test_names_left_out(quiet: rt.Session) -> None:
    """Without ids everything is played, and nothing is truncated; the next response is another one."""
    playback, clock = play(quiet, created(None), delta("", "", 100), done(None), unheard="delete")
    clock.pass_by(50)
    interruption = playback.interrupt()
    assert interruption is not None
    assert (interruption.item_id, interruption.truncated, interruption.deleted) == (None, False, ())
    playback, clock = play(quiet, created(None), delta("", "", 100))
    playback.interrupt()
    playback.visit(delta("", "", 100))
    assert playback.pending_ms == 0
    for event in (done(None), created(None), delta("", "", 100)):
        playback.visit(event)
    assert playback.pending_ms == 100


@pytest.mark.parametrize(
    "end",
    [
        audio_done("r", "i"),
        done("r"),
        ev.ResponseCancelled(event_id="", response_id="r"),
        ev.ResponseCancelled(event_id="", response=ev.Response(id="r")),
        done(None),
        ev.ResponseCancelled(event_id=""),
        delta("r", "k", 0),
    ],
)
def test_every_end_is_an_end(quiet: rt.Session, end: rt.ServerEvent) -> None:
    """A part is complete by any event that says so, and is not truncated once it was played."""
    playback, clock = play(quiet, created("r"), delta("r", "i", 100))
    clock.pass_by(200)
    assert playback.playing == ("i", 0)
    playback.visit(end)
    playback.visit(audio_done("r", "k"))
    assert playback.playing is None
    interruption = playback.interrupt()
    assert interruption is None or not interruption.truncated


@pytest.mark.parametrize("between", [[], [done("r")]])
def test_one_name_for_all(quiet: rt.Session, between: list[rt.ServerEvent]) -> None:
    """Where a server calls all responses the same, those after an interruption are heard."""
    playback, clock = play(quiet, created("r"), delta("r", "i", 100))
    clock.pass_by(50)
    playback.visit(SPEECH)
    for event in (delta("r", "i", 100), *between):
        playback.visit(event)
    assert playback.pending_ms == 0
    for event in (created("r"), delta("r", "i", 100)):
        playback.visit(event)
    assert playback.pending_ms == 100
    clock.pass_by(40)
    playback.visit(SPEECH)
    assert [(found.item_id, found.audio_end_ms) for found in playback.interruptions] == [("i", 50), ("i", 40)]


def test_ends_of_nothing(quiet: rt.Session) -> None:
    """Ends of what never began, and audio without a beginning, are no trouble."""
    playback, clock = play(quiet, audio_done("r", "i"), done("r"), delta("q", "j", 100))
    clock.pass_by(60)
    interruption = playback.interrupt()
    assert interruption is not None
    assert (interruption.item_id, interruption.audio_end_ms, interruption.truncated) == ("j", 60, True)


@pytest.mark.parametrize(
    ("detection", "cancels"),
    [
        (None, False),
        (ev.ServerVad(), True),
        (ev.SemanticVad(interrupt_response=True), True),
        (ev.SemanticVad(interrupt_response=False), False),
        (rt.UnknownObject({"type": "new_vad"}), True),
        (rt.UnknownObject({"type": "new_vad", "interrupt_response": False}), False),
    ],
)
def test_who_cancels(detection: Any, cancels: bool) -> None:
    """Whether the server cancels by itself is read from its settings, of both dialects; if in doubt, not."""
    ga = ev.SessionConfig(audio=ev.AudioConfig(input=ev.AudioInputConfig(turn_detection=detection)))
    assert module._server_cancels(ga) == cancels
    assert module._server_cancels(ev.SessionConfig(turn_detection=detection)) == cancels
    assert not module._server_cancels(None)


CANCELS: list[dict[str, Any] | None] = [{}, {"interrupt_response": True}]
DOES_NOT: list[dict[str, Any] | None] = [None, {"interrupt_response": False}]


@pytest.fixture
def scripted(open_session: Open) -> Iterator[tuple[ResponseScript, rt.Session]]:
    """A server that sends the frames it is told to, and a session with it."""
    script = ResponseScript()
    with ScriptedServer(script) as server:
        session = open_session(server)
        yield script, session
        session.close()


@pytest.mark.parametrize("vad", CANCELS + DOES_NOT)
@pytest.mark.parametrize("late", [False, True])
def test_what_is_cancelled(
    scripted: tuple[ResponseScript, rt.Session], vad: dict[str, Any] | None, late: bool
) -> None:
    """Only what the server doesn't stop by itself is cancelled; and never what has begun since then."""
    script, session = scripted
    detection = None if vad is None else {"type": "server_vad", **vad}
    config = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    frames = [{"type": "session.updated", "event_id": "e", "session": config}, _frame(created("r1"))]
    frames += [_frame(delta("r1", "i", 100)), _frame(SPEECH)]
    if late:
        frames += [_frame(done("r1")), _frame(created("r2"))]
    script.send(*map(json.dumps, frames))
    queued = Witness()
    session.wait_until(lambda: len(queued.events) == 1 + len(frames), queued, DEADLINE)
    playback = Playback(session, ClockedSpeaker(clock=Clock()))
    for event in queued.events:
        playback.visit(event)
    session.response.create()
    sent = [event["type"] for event in script.wait_for(1)]
    cancelled = not late and vad in DOES_NOT
    assert sent[0] == ("response.cancel" if cancelled else "response.create")
    assert playback.interruptions[0].cancelled == ("r1" if cancelled else None)


@pytest.mark.parametrize("unheard", ["leave", "delete"])
def test_late_items(scripted: tuple[ResponseScript, rt.Session], unheard: Any) -> None:
    """Of what comes too late, each item that was not heard is deleted once, if that is wanted."""
    script, session = scripted
    clock = Clock()
    playback = Playback(session, ClockedSpeaker(clock=clock), unheard=unheard)
    playback.visit(created("r"))
    playback.visit(delta("r", "i", 100))
    clock.pass_by(50)
    playback.visit(SPEECH)
    for item in ("i", "j", "j", "k"):
        playback.visit(delta("r", item, 100))
    session.response.create()
    sent = [
        (event["type"], event.get("item_id")) for event in script.wait_for(4 if unheard == "delete" else 2)
    ]
    deleted = [("conversation.item.delete", item) for item in ("j", "k") if unheard == "delete"]
    assert sent == [("conversation.item.truncate", "i"), *deleted, ("response.create", None)]
    assert playback.pending_ms == 0


def test_ends_that_are_left_out(scripted: tuple[ResponseScript, rt.Session]) -> None:
    """What waits for a response to say all has its turn when that is over, however one knows."""
    script, session = scripted
    speaker = Recorder(Clock())
    playback = Playback(session, speaker)
    session.response.create()
    session.response.create(conversation="none")
    script.wait_for(2)
    inside, beside = {"id": "r1", "conversation_id": "c"}, {"id": "r2"}
    frames: list[Any] = [
        {"type": "response.created", "event_id": "", "response": response} for response in (inside, beside)
    ]
    for response, item, ms in [("r1", "i", 10), ("r2", "j", 20), ("r1", "i", 10)]:
        frames.append(_frame(delta(response, item, ms)))
    script.send(*map(json.dumps, frames))
    session.wait_until(lambda: len(speaker.written) == 960, playback, DEADLINE)
    assert playback.pending_ms == 40
    script.send(json.dumps({"type": "response.done", "event_id": "", "response": inside}))
    session.wait_until(lambda: len(speaker.written) == 1920, playback, DEADLINE)
    assert playback.pending_ms == 40


def test_ends_that_are_not_named(scripted: tuple[ResponseScript, rt.Session]) -> None:
    """An out-of-band response delays no other, even if the server names no response in response.done."""
    script, session = scripted
    speaker = Recorder(Clock())
    playback = Playback(session, speaker)
    session.response.create(conversation="none")
    session.response.create()
    script.wait_for(2)
    for name in ("r1", "r2"):
        frames = map(_frame, (created(name), delta(name, f"item of {name}", 100), done(None)))
        script.send(*map(json.dumps, frames))
    session.wait_until(lambda: len(speaker.written) == 9600, playback, DEADLINE)


@pytest.mark.parametrize("name", ["r", ""])
def test_each_is_cut_off_before_it_begins(scripted: tuple[ResponseScript, rt.Session], name: str) -> None:
    """What is cut off before its beginning came here is not played; the next one of that name is."""
    script, session = scripted
    playback = Playback(session, ClockedSpeaker(clock=Clock()))
    frames = [json.dumps(_frame(event)) for event in (created(name), delta(name, "i", 100), done(name))]
    for _ in range(2):
        queued = Witness()
        script.send(frames[0])
        session.wait_until(lambda: session.active_response is not None, queued, DEADLINE)
        interruption = playback.interrupt()
        assert interruption is not None
        assert interruption.cancelled == name
        for event in queued.events:
            playback.visit(event)
        script.send(*frames[1:])
        session.run(playback, until=ev.ResponseDone, timeout=DEADLINE)
        assert playback.pending_ms == 0
    script.send(*frames)
    session.run(playback, until=ev.ResponseDone, timeout=DEADLINE)
    assert playback.pending_ms == 100


def _frame(event: rt.ServerEvent) -> Any:
    return json.loads(rt.encode(event))


def test_speech_means_what_had_begun(quiet: rt.Session) -> None:
    """What begins after the user has spoken is played."""
    playback, clock = play(
        quiet, created("r"), delta("r", "i", 100), SPEECH, created("s"), delta("s", "j", 100)
    )
    assert playback.playing == ("j", 0)
    playback.visit(delta("r", "i", 100))
    assert playback.pending_ms == 100
    clock.pass_by(100)
    playback.visit(done("r"))
    playback.visit(SPEECH)
    assert [found.item_id for found in playback.interruptions] == ["i", "j"]


def test_interruptions_without_end(quiet: rt.Session) -> None:
    """However often a server says that the user speaks, the last thousand interruptions are kept."""
    playback, _ = play(quiet)
    for n in range(1010):
        playback.visit(created(f"r{n}"))
        playback.visit(ev.InputAudioBufferSpeechStarted(event_id=str(n), audio_start_ms=0, item_id="u"))
    assert len(playback.interruptions) == 1000
    assert playback.interruptions[-1].response_id == "r1009"


def test_an_hour(quiet: rt.Session) -> None:
    """What was played is forgotten: after a long call there is no more than at its beginning."""
    playback, clock = play(quiet)
    for n in range(450):
        for event in (created(f"r{n}"), delta(f"r{n}", f"i{n}", 1000), delta(f"r{n}", f"j{n}", 1000)):
            playback.visit(event)
        if n % 3:
            clock.pass_by(900)
            playback.visit(SPEECH)
        clock.pass_by(2000)
        playback.visit(done(f"r{n}"))
    assert playback.pending_ms == 0
    sizes = {name: len(value) for name, value in vars(playback).items() if hasattr(value, "__len__")}
    assert len(playback.interruptions) == 300
    assert max(size for name, size in sizes.items() if name != "interruptions") <= 256
    assert (sizes["_segments"], sizes["_parts"], sizes["_running"], sizes["_waiting"]) == (0, 0, 0, 0)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["item", "part"]), st.integers(1, 300)),  # as many milliseconds as that
        st.tuples(st.just("time"), st.integers(0, 12_000)),  # in samples
        st.tuples(st.sampled_from(["response", "audio done", "speech"]), st.just(0)),
    ),
    max_size=40,
)


class Model:
    """A list of all samples that are to be heard, each with its part."""

    def __init__(self) -> None:
        self.queue: list[tuple[str, int]] = []
        self.names = iter(range(1000))
        self.begin()

    def begin(self) -> None:
        """Begin a response, when all is heard or was cut off."""
        self.heard: Counter[tuple[str, int]] = Counter()
        self.received: dict[tuple[str, int], int] = {}
        self.last: tuple[str, int] | None = None
        self.complete = True  # the last part
        self.response = f"r{next(self.names)}"

    def say(self, new_item: bool, ms: int) -> ev.ResponseOutputAudioDelta:
        item, part = self.last or ("", 0)
        self.last = (f"i{next(self.names)}", 0) if new_item or not item else (item, part + 1)
        self.queue += [self.last] * (ms * 24)
        self.received[self.last] = ms
        self.complete = False
        return delta(self.response, self.last[0], ms, self.last[1])

    def hear(self, samples: int) -> None:
        self.heard.update(self.queue[:samples])
        del self.queue[:samples]

    @property
    def playing(self) -> tuple[str, int] | None:
        if self.queue:
            return self.queue[0]
        return None if self.complete else self.last

    def ends(self, part: tuple[str, int]) -> bool:
        """Whether all of a part was played, to the millisecond."""
        complete = self.complete or part != self.last
        return complete and self.heard[part] // 24 == self.received[part]

    @property
    def unheard(self) -> set[str]:
        return {item for item, _ in self.received} - {key[0] for key, n in self.heard.items() if n >= 24}


@settings(deadline=None, max_examples=80)
@given(_STEPS, st.sampled_from(["leave", "delete"]))
def test_agrees_with_a_model(quiet: rt.Session, steps: list[tuple[str, int]], unheard: str) -> None:
    """Whatever comes, is heard, and is cut off: it is as a list of all samples says, each with its part."""
    model = Model()
    playback, clock = play(quiet, created(model.response), unheard=unheard)
    for kind, amount in steps:
        if kind in ("item", "part"):
            playback.visit(model.say(kind == "item", amount))
        elif kind == "time":
            clock.now += amount / 24_000
            model.hear(amount)
        elif kind == "audio done" and model.last:
            playback.visit(audio_done(model.response, *model.last))
            model.complete = True
        elif kind == "response":
            playback.visit(done(model.response))
            model.response, model.complete = f"r{next(model.names)}", True
            playback.visit(created(model.response))
            model.last = None
        elif kind == "speech":
            part, silent = model.playing, model.unheard
            playback.visit(SPEECH)
            found = playback.interruptions.pop()
            assert found.item_id == (part[0] if part else None)
            if part:
                ms = model.heard[part] // 24
                assert (found.content_index, found.audio_end_ms) == (part[1], ms)
                assert found.played_ms == pytest.approx(model.heard[part] / 24, abs=1e-9)
                assert found.truncated == (ms > 0 and not model.ends(part))
            assert set(found.deleted) == (silent if unheard == "delete" else set())
            playback.visit(done(model.response))
            model.queue.clear()
            model.begin()
            playback.visit(created(model.response))
        assert playback.playing == model.playing
        assert playback.pending_ms == pytest.approx(len(model.queue) / 24, abs=1e-9)
