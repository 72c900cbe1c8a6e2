"""What a program on a bad network sends, receives and is told, as it prints it at its end."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import realtime_sync as rt

__all__ = ["BLOCK", "ITEM_EVERY", "SECOND", "SETTLE", "Notes", "told_of"]

BLOCK = 4800
"""Bytes of audio in an event: 100 ms of 24 kHz PCM."""
SECOND = 48_000
"""Bytes of a second of it."""
ITEM_EVERY = 1.0
"""Seconds between two items."""
SETTLE = 5.0
"""Seconds that the last answers may take, once a program is to end."""


class Notes:
    """A program's own account, which ends when the harness closes its stdin.

    Attributes:
        finish: Set when the program is to end in order.
    """

    def __init__(self) -> None:
        self.finish = threading.Event()
        self._lock = threading.Lock()  # two threads send
        self._sent: list[str] = []
        self._raised: list[str] = []
        self._received: list[str] = []
        self._reconnected: list[dict[str, Any]] = []
        self._told: dict[str, Any] = {"unsent": [], "unconfirmed": [], "audio": 0}
        self._end: dict[str, Any] | None = None
        self._longest = 0.0
        self._more: dict[str, Any] = {}
        # Waits for the end of stdin, while the program works.
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def _wait_for_end(self) -> None:
        sys.stdin.read()
        self.finish.set()

    @contextlib.contextmanager
    def sending(self, event_id: str) -> Iterator[str]:
        """Note an event that is sent inside, how long that takes, and whether it raises an error."""
        since = time.monotonic()
        with self._lock:
            self._sent.append(event_id)
        try:
            yield event_id
        except BaseException:
            self._raised.append(event_id)
            raise
        finally:
            self._longest = max(self._longest, time.monotonic() - since)

    def received(self, event_id: str | None) -> None:
        """Note an event of the server."""
        self._received.append(event_id or "")

    def reconnected(self, event: rt.Reconnected) -> None:
        """Note that the session goes on with another connection."""
        facts = {"seconds": event.seconds, "attempts": event.attempts, "lost": event.lost}
        self._reconnected.append({**facts, "at": time.monotonic(), "code": event.cause.code})

    def ended(self, error: BaseException | None, told: dict[str, Any] | None = None) -> None:
        """Note how the session ended, and what the program was told is lost; only the first time counts.

        An error that comes when the program is to end is none.
        """
        with self._lock:
            if self._end is None:
                name = None if error is None or self.finish.is_set() else type(error).__name__
                self._end = {"error": name, "text": str(error or ""), "at": time.monotonic()}
                self._told |= told or {}

    def add(self, **more: Any) -> None:
        """Note something that only this program knows."""
        self._more |= more

    def print(self) -> None:
        """Print the account as a line of JSON."""
        account = {
            "sent": self._sent,
            "raised": self._raised,
            "received": self._received,
            "reconnected": self._reconnected,
            "end": self._end,
            "longest_send": self._longest,
            **self._told,
            **self._more,
        }
        print(json.dumps(account), flush=True)


def told_of(session: rt.Session) -> dict[str, Any]:
    """Return what a program is told, when its session has ended, of what did not or may not arrive."""
    try:
        session.send({"type": "input_audio_buffer.clear"})
    except rt.ConnectionClosed as closed:
        unsent = closed.unsent
    unconfirmed = getattr(session, "unconfirmed", lambda: None)()
    events = [*unsent, *getattr(unconfirmed, "events", ())]
    return {
        "unsent": [_field(event, "event_id") for event in unsent],
        "unconfirmed": [_field(event, "event_id") for event in getattr(unconfirmed, "events", ())],
        "outputs": [_field(_field(event, "item"), "call_id") for event in events],
        "audio": getattr(unconfirmed, "audio_bytes", 0),
    }


def _field(event: Any, name: str) -> Any:
    return event.get(name) if isinstance(event, dict) else getattr(event, name, None)
