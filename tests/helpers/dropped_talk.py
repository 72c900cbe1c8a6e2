"""Random talks with a local server whose connections break: nothing may get lost unsaid, or be there twice.

A talk has one thread that runs the session and up to three that send.  What each says is unique, so that it
is found again in the history with which the server's last session ends: texts by their words, audio by its
samples, which are noise, calls of tools by their numbers.  Noise is either loud or quiet, so that the server
hears where speech ends.
"""

import difflib
import itertools
import random
import re
import ssl
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from breaking_link import BreakingLink, strikes
from msgspec import Struct
from scripted import DEADLINE
from threads import in_thread

import realtime_sync as rt
from realtime_sync import events as ev
from realtime_sync.local import CallFunction, Heard, LocalServer, Output, Request, Say
from realtime_sync.voice import Conversation, ToolRunner, Tools

__all__ = ["DroppedTalk", "Servers"]

_RATE = 24  # samples per millisecond
_END = "end of talk"


# --- The server's side ---------------------------------------------------------------------------------


class Model:
    """Answers, transcribes, and remembers what it was given.

    Attributes:
        heard: The audio of each transcript, by its number.
        last: The conversation of each talk as it was when the talk ended.
    """

    def __init__(self) -> None:
        self.heard: dict[int, bytes] = {}
        self.last: dict[int, Sequence[ev.Item]] = {}
        self.instructions: dict[int, str] = {}
        self._numbers = itertools.count(1)

    def respond(self, request: Request) -> Iterable[Output]:
        text = request.last_user_text
        if text.startswith(_END):
            talk = int(text.removeprefix(_END))
            self.last[talk], self.instructions[talk] = request.items, request.instructions
            return [Say("Good bye.")]
        if text.startswith("call") and not isinstance(request.items[-1], ev.FunctionCallOutput):
            return [CallFunction("count", {"number": next(self._numbers)})]
        if text.startswith("tell and call"):
            return [Say("I count"), CallFunction("count", {"number": next(self._numbers)})]
        return [Say("You said something, and I answer with a sentence.", audio=bytes(9600))]

    def transcribe(self, heard: Heard) -> Iterator[str]:
        number = next(self._numbers)
        self.heard[number] = heard.audio
        yield from ("heard ", "in the ", f"turn {number}", ".")


class Servers:
    """The local servers of all talks, by whether they speak TLS.  One model answers for both."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.model = Model()
        self.by_tls = {
            is_tls: LocalServer(
                responder=self.model,
                transcriber=self.model,
                ssl_context=tls if is_tls else None,
                delay=0.0005,
            )
            for is_tls in (False, True)
        }

    def __enter__(self) -> "Servers":
        for server in self.by_tls.values():
            server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for server in self.by_tls.values():
            server.stop()


# --- What is said --------------------------------------------------------------------------------------


class Said(Struct, frozen=True):
    """One thing that a user said: a text, or audio.

    Attributes:
        item_id: The item's own id, if it was given one.
        deleted: Whether it was to be deleted.
    """

    text: str = ""
    audio: bytes = b""
    item_id: str = ""


class Watch(rt.Visitor[None]):
    """Notes errors and drops."""

    def __init__(self) -> None:
        self.errors: list[ev.ErrorEvent] = []
        self.drops: list[rt.Reconnected] = []

    def visit_error(self, event: ev.ErrorEvent) -> None:
        error = event.error
        # A server that answers a turn by itself may clash with a request, of which one is then cancelled.
        if error.code != "conversation_already_has_active_response":
            self.errors.append(event)

    def visit_reconnected(self, event: rt.Reconnected) -> None:
        self.drops.append(event)


class Shape(Struct, frozen=True):
    """What kind of talk it is.

    Attributes:
        turns: How many things are said.
        senders: How many threads say them.
        listens: ``"manual"`` = the user's audio is committed; ``"vad"`` = the server hears turns; ``""`` =
            there is none.
        audio_buffer: `Reconnect.audio_buffer`.
    """

    tls: bool
    dialect: str
    turns: int
    senders: int
    listens: str
    transcribed: bool
    spoken: bool
    silent: bool
    drops: int

    @classmethod
    def of(cls, rng: random.Random) -> "Shape":
        return cls(
            tls=rng.random() < 0.3,
            dialect=rng.choice(("ga", "beta")),
            turns=int(50 ** rng.random()),
            senders=rng.randint(1, 3),
            listens=rng.choice(("", "manual", "vad")),
            transcribed=rng.random() < 0.5,
            spoken=rng.random() < 0.3,
            silent=rng.random() < 0.15,
            drops=rng.randint(1, 6),
        )


class DroppedTalk:
    """One talk, by its seed."""

    def __init__(self, seed: int, servers: Servers, tls: ssl.SSLContext) -> None:
        self.seed = seed
        self._servers = servers
        self._tls = tls
        rng = random.Random(seed)
        self.shape = Shape.of(rng)
        self._rng = rng
        self._said: list[list[Said]] = [[] for _ in range(self.shape.senders)]
        self._deleted: set[str] = set()  # texts
        self._ran: list[int] = []  # numbers of calls
        self._failures: list[BaseException] = []
        self._watch = Watch()
        self._instructions = ""

    def __repr__(self) -> str:
        return f"talk {self.seed}: {self.shape}"

    # --- Having it ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Have the talk, and check what is left of it."""
        server = self._servers.by_tls[self.shape.tls]
        self._servers.model.last.pop(self.seed, None)  # of another talk with this seed
        breaks = strikes(self._rng, self.shape.drops, silent=self.shape.silent)
        with ExitStack() as stack:
            self._link = stack.enter_context(BreakingLink(server.port, breaks))
            session = stack.enter_context(self._connect())
            runner = stack.enter_context(ToolRunner(session, Tools(self._count())))
            self._talk(session, runner)
        self._check()

    def _connect(self) -> rt.Session:
        return rt.connect(
            base_url=f"{'wss' if self.shape.tls else 'ws'}://127.0.0.1:{self._link.port}/v1",
            api_key="any",
            ssl_context=self._tls,
            dialect="beta" if self.shape.dialect == "beta" else "ga",
            reconnect=rt.Reconnect(attempts=1000),
            ping_interval=0.25 if self.shape.silent else None,
            ping_timeout=0.5,
            connect_timeout=DEADLINE if not self.shape.silent else 2.0,
        )

    def _count(self) -> Any:
        def count(number: int) -> str:
            """Count."""
            self._ran.append(number)
            threading.Event().wait(number % 4 * 0.005)
            return f"counted {number}"

        return count

    def _talk(self, session: rt.Session, runner: ToolRunner) -> None:
        self._session, self._runner = session, runner
        self._conversation = Conversation(session)
        everything = rt.Visitors(self._conversation, runner, self._watch)
        main = in_thread(self._guarded, lambda: session.run(everything))
        self._set_up()
        self._link.begin()
        senders = [in_thread(self._guarded, lambda n=n: self._send(n)) for n in range(self.shape.senders)]
        for sender in senders:
            sender.join(2 * DEADLINE)
            assert not sender.is_alive(), "a sender hangs"
        if not self._failures:
            self._end()
        session.close()
        main.join(DEADLINE)
        assert not main.is_alive(), "the session does not end"
        if self._failures:
            raise self._failures[0]

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:
            self._failures.append(error)

    def _set_up(self) -> None:
        shape, session = self.shape, self._session
        detection = {"type": "server_vad", "silence_duration_ms": 200} if shape.listens == "vad" else None
        transcription = {"model": "whisper-1"} if shape.transcribed else None
        spoken = ["audio"] if shape.spoken else ["text"]
        tools = self._runner.tools.definitions
        fields: dict[str, Any]
        if shape.dialect == "beta":
            modalities = ["audio", "text"] if shape.spoken else ["text"]
            fields = {
                "modalities": modalities,
                "turn_detection": detection,
                "input_audio_transcription": transcription,
            }
        else:
            side = {"turn_detection": detection, "transcription": transcription}
            fields = {"output_modalities": spoken, "audio": {"input": side}}
        session.update(tools=tools, **fields)

    def _send(self, number: int) -> None:
        """Say something again and again, in a thread."""
        rng = random.Random(f"{self.seed} {number}")
        for turn in range(number, self.shape.turns, self.shape.senders):
            words = f"{number}.{turn}"
            choice = rng.random()
            if choice < 0.3 and number == 0 and self.shape.listens:
                self._speak(rng)
            elif choice < 0.4 and number == 0:
                self._instructions = f"Count to {turn}."
                self._session.update(instructions=self._instructions)
            elif choice < 0.6:
                self._write(f"{rng.choice(('call', 'tell and call'))} {words}", rng)
            else:
                self._write(f"say {words}", rng)

    def _write(self, text: str, rng: random.Random) -> None:
        """Write to the model, and usually ask for the answer, and wait for it or interrupt it."""
        item_id = f"own_{self.seed}_{text.split()[-1]}" if rng.random() < 0.5 else ""
        content: list[ev.ContentPart] = [ev.InputText(text=text)]
        self._session.conversation.item.create(ev.Message(id=item_id or None, role="user", content=content))
        self._said[int(text.split()[-1].split(".")[0])].append(Said(text, item_id=item_id))
        self._ask(rng)
        if item_id and rng.random() < 0.1:
            self._session.conversation.item.delete(item_id)
            self._deleted.add(text)

    def _ask(self, rng: random.Random) -> None:
        if rng.random() < 0.2:
            return
        name = self._session.response.create(when_idle=True)
        cancels = rng.random() < 0.1
        if cancels:
            self._session.response.cancel(if_active=True)
        if rng.random() < 0.6:
            response = self._conversation.wait_for_response(name, timeout=DEADLINE)
            # A request may be rejected for good if the server answers a turn just then and one is cancelled.
            expected = ("completed", "cancelled", "failed")[: 2 + (cancels or self.shape.listens == "vad")]
            assert response.status in expected, f"{response.status}: {response.reason}"

    def _speak(self, rng: random.Random) -> None:
        """Speak, in chunks."""
        loud = rng.randbytes(rng.randint(120, 300) * _RATE * 2)
        is_manual = self.shape.listens == "manual"
        audio = loud if is_manual else loud + _quiet(rng, 260)
        size = rng.randint(20, 100) * _RATE * 2
        for place in range(0, len(audio), size):
            self._session.input_audio_buffer.append(audio[place : place + size])
        self._said[0].append(Said(audio=loud))
        if is_manual:
            self._session.input_audio_buffer.commit()
            self._ask(rng)

    def _end(self) -> None:
        """Wait until all that is under way is done, and let the model see the conversation."""
        self._link.calm()
        self._session.conversation.item.create(
            ev.Message(id=f"last_{self.seed}", role="user", content=[ev.InputText(text="that is all")])
        )
        self._said[0].append(Said("that is all"))
        self._conversation.wait_for_item(f"last_{self.seed}", timeout=DEADLINE)
        deadline = time.monotonic() + DEADLINE
        while not self._is_quiet():
            assert time.monotonic() < deadline, f"not quiet: {self._session.unconfirmed()}"
            threading.Event().wait(0.002)
        while self.seed not in self._servers.model.last:
            self._session.conversation.item.create(f"{_END}{self.seed}")
            name = self._session.response.create(when_idle=True)
            self._conversation.wait_for_response(name, timeout=DEADLINE)

    def _is_quiet(self) -> bool:
        """Whether nothing is under way: it is seen after all that was sent has reached the server."""
        session = self._session
        runs = session.active_response is not None or session.unconfirmed().events or self._runner.pending
        parts = [
            part
            for item in self._conversation.items
            for part in item.content
            if part.kind == "audio" and item.role == "user"
        ]
        waits = self.shape.transcribed and not all(part.transcribed for part in parts)
        return not runs and not waits

    # --- What is left of it ---------------------------------------------------------------------------

    def _check(self) -> None:
        history = self._servers.model.last[self.seed]
        self._history = [item for item in history if not _is_nothing(item)]
        lost = [line for drop in self._watch.drops for line in drop.lost]
        assert not lost, f"lost: {lost}"
        assert all(drop.restored for drop in self._watch.drops)
        assert not self._watch.errors, self._watch.errors
        self._check_agreement()
        self._check_texts()
        self._check_calls()
        self._check_audio()

    def _check_agreement(self) -> None:
        """The client's conversation is the server's."""
        here = [line for item in self._conversation.items if (line := _line_here(item))]
        here = here[: _index(here, _END)]
        there = [line for item in self._history if (line := _line_there(item))]
        there = there[: _index(there, _END)]
        assert here == there, _difference(here, there)

    def _check_texts(self) -> None:
        """Each text is there once, or not if it was deleted, in the order in which its thread sent it."""
        texts = [text for item in self._history if (text := _text_of(item)) is not None]
        counts = Counter(texts)
        for said in self._said:
            expected = [one.text for one in said if one.text and one.text not in self._deleted]
            found = [text for text in texts if text in expected]
            assert found == expected, _difference(found, expected)
        assert not [text for text in self._deleted if counts[text]]

    def _check_calls(self) -> None:
        """No tool ran twice, and the output of each call is there once."""
        assert len(set(self._ran)) == len(self._ran), "a tool ran twice"
        outputs = [item.output for item in self._history if isinstance(item, ev.FunctionCallOutput)]
        assert sorted(outputs) == sorted(f"counted {number}" for number in self._ran)
        calls = [item.call_id for item in self._history if isinstance(item, ev.FunctionCall)]
        answered = [item.call_id for item in self._history if isinstance(item, ev.FunctionCallOutput)]
        assert sorted(map(str, calls)) == sorted(answered)

    def _check_audio(self) -> None:
        """Each sample that was spoken is there once, in order."""
        heard = b"".join(self._heard_of(item) for item in self._history if isinstance(item, ev.Message))
        for said in self._said[0]:
            if said.audio:
                before, found, heard = heard.partition(said.audio)
                assert found, f"{len(said.audio)} bytes of speech are missing"
                assert _is_quiet(before), "speech is there that nobody spoke, or twice"
        assert _is_quiet(heard), "speech is there twice"

    def _heard_of(self, item: ev.Message) -> bytes:
        """Return the user's audio in an item, or that of its transcript."""
        if item.role != "user":
            return b""
        texts = [
            getattr(part, "text", None) or getattr(part, "transcript", None) or "" for part in item.content
        ]
        if heard := re.fullmatch(r"heard in the turn (\d+)\.", "".join(texts)):
            return self._servers.model.heard[int(heard[1])]
        return b"".join(part.audio or b"" for part in item.content if isinstance(part, ev.InputAudio))


def _quiet(rng: random.Random, ms: int) -> bytes:
    """Return noise that is no speech."""
    noise = bytearray(ms * _RATE * 2)
    noise[::2] = rng.randbytes(ms * _RATE)
    return bytes(noise)


def _is_quiet(audio: bytes) -> bool:
    samples = array("h", audio)
    return not samples or (min(samples) >= 0 and max(samples) < 256)


def _text_of(item: ev.Item) -> str | None:
    if isinstance(item, ev.Message) and item.role == "user":
        return "".join(part.text for part in item.content if isinstance(part, ev.InputText))
    return None


def _is_nothing(item: ev.Item) -> bool:
    """Whether an item holds nothing that is restored: an unfinished call, an answer without a word."""
    return isinstance(item, ev.FunctionCall) and item.status == "incomplete"


def _line_there(item: ev.Item) -> str:
    if isinstance(item, ev.Message):
        said = "".join(
            getattr(part, "text", None) or getattr(part, "transcript", None) or "" for part in item.content
        )
        return f"{item.role}: {said}" if said or item.role == "user" else ""
    if isinstance(item, ev.FunctionCall):
        return f"call {item.call_id}: {item.arguments}"
    return (
        f"output of {item.call_id}: {item.output}" if isinstance(item, ev.FunctionCallOutput) else repr(item)
    )


def _line_here(item: Any) -> str:
    if item.type == "message" and any(part.error for part in item.content):
        return f"{item.role}: "  # what there was of a transcript went with its connection
    if item.type == "message":
        return f"{item.role}: {item.text}" if item.text or item.role == "user" else ""
    if item.type == "function_call":
        return "" if item.status == "incomplete" else f"call {item.call_id}: {item.arguments}"
    return f"output of {item.call_id}: {item.output}"


def _index(lines: list[str], end: str) -> int:
    return next((place for place, line in enumerate(lines) if end in line), len(lines))


def _difference(here: list[str], there: list[str]) -> str:
    lines = difflib.unified_diff(there, here, "server", "client", lineterm="", n=2)
    return "\n".join(("the conversations differ:", *lines))
