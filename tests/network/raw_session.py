"""A plain session: sends audio and items while it receives.

``raw_session.py URL sending|idle [reconnect]``
"""

import contextlib
import itertools
import sys
import threading
import time

from network_notes import BLOCK, ITEM_EVERY, SETTLE, Notes, told_of

import realtime_sync as rt


def speak(session: rt.Session, notes: Notes, ended: threading.Event) -> None:
    """Send audio as a microphone does, until the session ends or the program is to."""
    silence, due = bytes(BLOCK), time.monotonic()
    with contextlib.suppress(rt.ConnectionClosed):
        for number in itertools.count():
            due += 0.1
            if ended.wait(max(0.0, due - time.monotonic())) or notes.finish.is_set():
                return
            with notes.sending(f"audio-{number}") as event_id:
                session.input_audio_buffer.append(silence, event_id=event_id)


def listen(session: rt.Session, notes: Notes, *, items: int | None) -> None:
    """Receive, and send an item each second, until the program is to end."""
    numbers = iter(range(items)) if items is not None else itertools.count()
    due = time.monotonic()
    while not notes.finish.is_set():
        if time.monotonic() >= due and (number := next(numbers, None)) is not None:
            due = time.monotonic() + ITEM_EVERY
            with notes.sending(f"item-{number}") as event_id:
                session.conversation.item.create(f"hello {number}", event_id=event_id)
        receive(session, notes, 0.1)
    settled = time.monotonic() + SETTLE
    while time.monotonic() < settled:
        receive(session, notes, 0.1)


def receive(session: rt.Session, notes: Notes, timeout: float) -> None:
    with contextlib.suppress(TimeoutError):
        event = session.next_event(timeout)
        if isinstance(event, rt.Reconnected):
            notes.reconnected(event)
        else:
            notes.received(event.event_id)


def main(url: str, mode: str, reconnect: str = "") -> None:
    notes, ended = Notes(), threading.Event()
    session = rt.connect("gpt-realtime-2.1", base_url=url, connect_timeout=30, reconnect=bool(reconnect))
    error: BaseException | None = None
    speaker = threading.Thread(target=speak, args=(session, notes, ended), daemon=True)
    try:
        with session:
            with notes.sending("update") as event_id:
                session.update(audio={"input": {"turn_detection": None}}, event_id=event_id)
            if mode == "sending":
                speaker.start()
            listen(session, notes, items=2 if mode == "idle" else None)
    except (rt.ConnectionClosed, KeyboardInterrupt) as problem:
        error = problem
    finally:
        ended.set()
        if speaker.is_alive():
            speaker.join()
    notes.ended(error, told_of(session))
    notes.print()


if __name__ == "__main__":
    main(*sys.argv[1:])
