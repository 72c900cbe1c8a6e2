"""The server of `soak.py`: a local server with TLS that speaks, calls functions and counts what it receives.

``soak_server.py FOLDER SEED`` prints its port on its first line.  Then each line is JSON: what a session had
received when it ended (`Counts`), or ``{"error": ...}`` for what the server logged as an error.  A line of
input lets it give free memory back and say so, and it ends when its input does.
"""

import json
import logging
import random
import ssl
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common import give_back

from realtime_sync import events as ev
from realtime_sync.events.codec import decode_client
from realtime_sync.local import CallFunction, LocalServer, Request, Say

_DELAY = 0.05  # seconds between two deltas: an answer of 3 s takes 1.5
_ANSWERS = ("It is sunny, with a light wind from the west.", "I don't know.", "Let me think about that. " * 3)


class Answers:
    """Speaks for a few seconds, and often calls functions first, one or several at once."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def respond(self, request: Request) -> Iterable[Say | CallFunction]:
        if request.items and isinstance(request.items[-1], ev.FunctionCallOutput):
            return [Say(self._draw.choice(_ANSWERS))]
        calls = self._draw.choice((0, 0, 0, 1, 1, 3))
        names = self._draw.choices(("look_up", "take_a_while"), k=calls)
        return [CallFunction(name, {"city": "Paris"}) for name in names] or [Say(self._draw.choice(_ANSWERS))]


class Counts:
    """What a session received: the number of events, bytes of audio, the ids of all that is not audio."""

    def __init__(self) -> None:
        self.events = self.audio = 0
        self.ids: list[str] = []

    def take(self, event: Any) -> None:
        self.events += 1
        if isinstance(event, ev.InputAudioBufferAppend):
            self.audio += len(event.audio)
        else:
            self.ids.append(str(event.event_id))


class Bookkeeper:
    """The observer: counts what arrives, and reports it when a session ends."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}  # each is used by the thread of its session alone
        # Keeps lines of output whole.
        self._lock = threading.Lock()

    def opened(self, session: str) -> None:
        self._counts[session] = Counts()

    def received(self, session: str, frame: str | bytes) -> None:
        self._counts[session].take(decode_client(frame))

    def sent(self, session: str, frame: str) -> None:
        pass

    def closed(self, session: str, code: int, reason: str) -> None:
        self.report(session=session, code=code, **vars(self._counts.pop(session)))

    def report(self, **line: Any) -> None:
        with self._lock:
            print(json.dumps(line), flush=True)


class Errors(logging.Handler):
    """Reports what the server logs as an error: there must be none."""

    def __init__(self, bookkeeper: Bookkeeper) -> None:
        super().__init__(logging.ERROR)
        self._bookkeeper = bookkeeper

    def emit(self, record: logging.LogRecord) -> None:
        self._bookkeeper.report(error=logging.Formatter().format(record))


def main(folder: str, seed: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(folder) / "server.pem")
    bookkeeper = Bookkeeper()
    logging.getLogger("realtime_sync").addHandler(Errors(bookkeeper))
    with LocalServer(
        ssl_context=context, responder=Answers(seed), observer=bookkeeper, delay=_DELAY
    ) as server:
        print(server.port, flush=True)
        while sys.stdin.readline():  # each line asks for that
            give_back()
            bookkeeper.report(given_back=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
