"""The sessions of `soak.py`, and the books of what they gave, what arrived and what was told."""

import json
import random
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import realtime_sync as rt
from realtime_sync.voice import Assistant, ClockedSpeaker, FileMicrophone, ToolResult

__all__ = ["Books", "Seat"]

_BLOCK_MS = 100
_TRAILING = 900.0  # seconds of silence after the question: longer than any turn
_TURNS = (3, 9)  # of a session, from and to
_PAUSES = (1.0, 4.5)  # seconds of a turn: answers last 1 to 5, so many are interrupted
_WHILE = 0.5  # seconds that a slow tool takes
_LOST = 1006  # the code of a connection that was reset
_HANG_UP = 0.1  # how likely the program itself interrupts after a turn

# --- What was lost, and what was told -----------------------------------------------------------------


@dataclass
class Account:
    """What the client's side of one session knows at its end.

    Attributes:
        given: Events that were given to the connection, audio or not.
        appended, refused: Sizes of the audio that the microphone gave, and of that for which it got an
            exception.
        unsent: What `ConnectionClosed.unsent` lists.
        unconfirmed, unconfirmed_audio: What `Session.unconfirmed` lists, and its bytes of audio.
    """

    session: str
    given: int
    appended: list[int]
    refused: list[int]
    unsent: list[Any]
    unconfirmed: list[Any]
    unconfirmed_audio: int

    @property
    def told_audio(self) -> int:
        """Bytes of audio that may be lost, as the client was told."""
        unsent = sum(_size(event) for event in self.unsent)
        return max(unsent, sum(self.refused), self.unconfirmed_audio)

    @property
    def told_ids(self) -> set[str]:
        """The ids of other events that may be lost, as the client was told."""
        return {_id(event) for event in (*self.unsent, *self.unconfirmed) if not _is_append(event)}

    @property
    def others(self) -> int:
        """Events without audio that were given to the connection."""
        queued = [event for event in self.unsent if _is_append(event)]
        return self.given - len(self.appended) + len(self.refused) - len(queued)


def _is_append(event: Any) -> bool:
    return isinstance(event, rt.events.InputAudioBufferAppend)


def _size(event: Any) -> int:
    return len(event.audio) if _is_append(event) else 0


def _id(event: Any) -> str:
    return str(event["event_id"] if isinstance(event, dict) else event.event_id)


@dataclass
class Losses:
    """Totals of what was lost, and the sessions in which more was lost than was told."""

    events: int = 0
    audio: int = 0
    told_events: int = 0
    told_audio: int = 0
    untold: list[str] = field(default_factory=list)

    def add(self, account: Account, server: dict[str, Any]) -> None:
        """Compare the books of both sides of a session."""
        told = len(account.told_ids - set(server["ids"]))
        events, audio = account.others - len(server["ids"]), sum(account.appended) - server["audio"]
        self.events += events
        self.audio += audio
        if server["code"] == _LOST:  # a session that was closed has sent all of it
            self.told_events += told
            self.told_audio += account.told_audio
        if events > told or audio > account.told_audio:
            self.untold.append(
                f"{account.session} (code {server['code']}): {events} events, {audio} bytes of audio, "
                f"told of {told} and {account.told_audio}"
            )


class Books:
    """Brings both sides' accounts of each session together, and counts all else."""

    def __init__(self) -> None:
        # Guards all of it, between the sessions' threads and the one that reads the server's lines.
        self._lock = threading.Lock()
        self._clients: dict[str, Account] = {}
        self._servers: dict[str, dict[str, Any]] = {}
        self.given_back = threading.Event()  # the server has freed what it doesn't use
        self.losses = Losses()
        self.counts: Counter[str] = Counter()
        self.unexpected: Counter[str] = Counter()

    def count(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.counts[what] += times

    def complain(self, text: str) -> None:
        """Note what must not happen."""
        with self._lock:
            self.unexpected[text] += 1

    def settle(self, account: Account) -> None:
        with self._lock:
            self._clients[account.session] = account
            self._compare(account.session)

    def take_line(self, line: str) -> None:
        """Take a line of the server."""
        report = json.loads(line)
        with self._lock:
            if "given_back" in report:
                self.given_back.set()
            elif "error" in report:
                self.unexpected["the server: " + report["error"]] += 1
            else:
                self._servers[report["session"]] = report
                self._compare(report["session"])

    def _compare(self, session: str) -> None:
        if session in self._clients and session in self._servers:
            self.losses.add(self._clients.pop(session), self._servers.pop(session))

    @property
    def open(self) -> int:
        """Sessions whose server has not reported yet."""
        return len(self._clients)


# --- Sessions -----------------------------------------------------------------------------------------


class Ears:
    """A session as the microphone sees it, which counts the audio that it is given."""

    def __init__(self, session: rt.Session) -> None:
        self.appended: list[int] = []
        self.refused: list[int] = []
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def input_audio_buffer(self) -> "Ears":
        return self

    def append(self, audio: bytes) -> str:
        self.appended.append(len(audio))
        try:
            return self._session.input_audio_buffer.append(audio)
        except Exception:
            self.refused.append(len(audio))
            raise


class Turns(rt.Visitor[None]):
    """Counts responses that ended."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def visit_response_done(self, event: rt.events.ResponseDone) -> None:
        self._books.count("turns")
        self._books.count(f"turns {event.response.status}")


class Hands:
    """The tools of one session; each call that runs must reach `on_call`."""

    def __init__(self, books: Books, over: threading.Event) -> None:
        self._books = books
        self._over = over
        # Guards the number of calls that ran and were not heard of, and tells of its change.
        self._changed = threading.Condition()
        self._unheard = 0

    def look_up(self, city: str) -> str:
        """Say what the weather is like."""
        with self._changed:
            self._unheard += 1
        return f"{city}: sunny"

    def take_a_while(self, city: str) -> str:
        """Look at the weather for a while."""
        self._over.wait(_WHILE)
        return self.look_up(city)

    def called(self, result: ToolResult) -> None:
        self._books.count("tool calls")
        with self._changed:
            self._unheard -= 1
            self._changed.notify_all()

    def check(self) -> None:
        """Note calls that ran and that nobody heard of."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._unheard <= 0, _WHILE + 2.0):
                self._books.complain(f"{self._unheard} tool calls ran and never reached on_call")


class Seat:
    """A place for one session at a time, in a thread of its own."""

    def __init__(
        self, books: Books, options: dict[str, Any], question: Path, seed: int, over: threading.Event
    ) -> None:
        self._books = books
        self._options = options
        self._question = question
        self._draw = random.Random(seed)
        self._over = over
        # Has one session after another.
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._over.wait(self._draw.uniform(0, 3))  # they don't all begin at once
        while not self._over.is_set():
            self.live(self._draw.randint(*_TURNS))

    def live(self, turns: int) -> None:
        """Have one session from its beginning to its end."""
        try:
            session = rt.connect(**self._options)
        except rt.RealtimeError as error:
            self._books.count("resets noticed")
            self._check(error)
            return
        self._books.count("sessions")
        ears = Ears(session)
        try:
            with session:
                self._talk(session, ears, turns)
        except rt.ConnectionClosed as error:
            self._books.count("resets noticed")
            self._check(error)
        except Exception as error:
            self._books.complain("".join(traceback.format_exception(error)))
        self._settle(session, ears)

    def _talk(self, session: rt.Session, ears: Ears, turns: int) -> None:
        microphone = FileMicrophone(ears, self._question, trailing_silence=_TRAILING, block_ms=_BLOCK_MS)
        hands = Hands(self._books, self._over)
        assistant = Assistant(
            session,
            microphone=microphone,
            speaker=ClockedSpeaker(),
            tools=[hands.look_up, hands.take_a_while],
            instructions="Be brief.",
            on_call=hands.called,
            on_interrupt=lambda interruption: self._books.count("interruptions"),
            visitors=[Turns(self._books)],
        )
        try:
            for _ in range(turns):
                assistant.run(timeout=self._draw.uniform(*_PAUSES))
                if self._over.is_set():
                    break
                if self._draw.random() < _HANG_UP:
                    assistant.interrupt()
        finally:
            if microphone.failure is not None:
                self._books.complain(f"the microphone: {microphone.failure!r}")
            session.close()
            hands.check()

    def _check(self, error: rt.RealtimeError) -> None:
        """Note an end that no reset explains."""
        if isinstance(error, rt.ConnectionClosed) and error.code != 1006:
            self._books.complain("".join(traceback.format_exception(error)))
        self._books.count(f"{type(error).__name__}: {error}"[:90])

    def _settle(self, session: rt.Session, ears: Ears) -> None:
        if session.id is None:
            return  # nothing was sent
        unsent, unconfirmed = _unsent(session), session.unconfirmed()
        self._books.count("told unsent", len(unsent))
        self._books.count("told unconfirmed", len(unconfirmed.events))
        self._books.settle(
            Account(
                session.id,
                session.stats.events_out,
                ears.appended,
                ears.refused,
                unsent,
                list(unconfirmed.events),
                unconfirmed.audio_bytes,
            )
        )


def _unsent(session: rt.Session) -> list[Any]:
    """What the error lists that says how a session ended, once all its events are taken."""
    while True:
        try:
            session.next_event(0)
        except rt.ConnectionClosed as error:
            return list(error.unsent)
