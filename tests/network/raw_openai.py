"""The same as `raw_session`, with openai-python's blocking client.  ``raw_openai.py URL sending|idle``"""

import base64
import itertools
import json
import sys
import threading
import time
from typing import Any

from network_notes import BLOCK, ITEM_EVERY, SETTLE, Notes
from openai import OpenAI


def speak(connection: Any, notes: Notes, ended: threading.Event) -> None:
    """Send audio as a microphone does, until the session ends or the program is to."""
    silence, due = base64.b64encode(bytes(BLOCK)).decode(), time.monotonic()
    for number in itertools.count():
        due += 0.1
        if ended.wait(max(0.0, due - time.monotonic())) or notes.finish.is_set():
            return
        try:
            with notes.sending(f"audio-{number}") as event_id:
                connection.input_audio_buffer.append(audio=silence, event_id=event_id)
        except Exception as error:
            notes.ended(error)
            return


def ask(connection: Any, notes: Notes, ended: threading.Event, items: int | None) -> None:
    """Send an item each second: it has no receiving with a timeout, so this takes a thread too."""
    for number in itertools.count() if items is None else range(items):
        if ended.wait(ITEM_EVERY) or notes.finish.is_set():
            return
        text = {"type": "input_text", "text": f"hello {number}"}
        item = {"type": "message", "role": "user", "content": [text]}
        try:
            with notes.sending(f"item-{number}") as event_id:
                connection.conversation.item.create(item=item, event_id=event_id)
        except Exception as error:
            notes.ended(error)
            return


def close_at_end(connection: Any, notes: Notes) -> None:
    notes.finish.wait()
    threading.Event().wait(SETTLE)
    connection.close()


def main(url: str, mode: str) -> None:
    notes, ended = Notes(), threading.Event()
    client = OpenAI(api_key="sk-local", base_url=url.replace("wss:", "https:"))
    options: Any = {"open_timeout": 30}
    try:
        with client.realtime.connect(
            model="gpt-realtime-2.1", websocket_connection_options=options
        ) as connection:
            session: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            with notes.sending("update") as event_id:
                connection.session.update(session=session, event_id=event_id)
            works: list[tuple[Any, ...]] = [(ask, notes, ended, 2 if mode == "idle" else None)]
            if mode == "sending":
                works.append((speak, notes, ended))
            for work, *arguments in [*works, (close_at_end, notes)]:
                threading.Thread(target=work, args=(connection, *arguments), daemon=True).start()
            for event in connection:
                notes.received(getattr(event, "event_id", None))
        notes.ended(None)
    except (Exception, KeyboardInterrupt) as error:
        messages = [json.loads(text) for text in getattr(error, "unsent_messages", ())]
        notes.ended(error, {"unsent": [message.get("event_id") for message in messages]})
    finally:
        ended.set()
        notes.print()


if __name__ == "__main__":
    main(*sys.argv[1:])
