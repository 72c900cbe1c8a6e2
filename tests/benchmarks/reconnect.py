"""From a lost connection to a conversation that goes on, with twenty items in it.

The server, a `LocalServer` in a process of its own, resets each connection at its 23rd message.  The first 20
create the items, or create them anew; then the last item is deleted and created once more, since without any
progress between two losses a session waits longer each time; the 23rd means nothing.  The time begins before
it is sent, and ends for

- "realtime_sync" when the program takes `Reconnected`: the server has echoed all items;
- "by hand", a bare `websocket-client`, when it has connected, created the items and received their echoes.
  That is the server's own share, and one thread's;
- "openai" when its loop has gone on by `on_reconnecting`, which gives it an empty session, and the items were
  created anew as by hand; "openai, no wait" has an ``initial_delay`` of 0.
"""

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from common import child, interleaved, machine, options, pin, server, spread, table

ITEMS = 20
LOSSES = 20  # in each process
GOAL_MS = 50.0
LAST = "item_19"
ADDED = "conversation.item.added"
TRIGGER = {"type": "response.cancel"}  # means nothing to the next connection, so that it isn't sent to it


def item(number: int) -> dict[str, Any]:
    content = [{"type": "input_text", "text": f"What is {number} squared, and why?"}]
    return {"id": f"item_{number}", "type": "message", "role": "user", "content": content}


def creating(number: int) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": item(number)}


CREATION = [creating(number) for number in range(ITEMS)]
PROGRESS = [{"type": "conversation.item.delete", "item_id": LAST}, CREATION[-1]]


def serve() -> None:
    """Print the port, and serve until standard input ends."""
    from realtime_sync.local import LocalServer
    from realtime_sync.local.faults import Reset

    with LocalServer(faults=[Reset(received=ITEMS + len(PROGRESS) + 1)]) as local:
        print(local.port, flush=True)
        sys.stdin.read()


def created(events: list[dict[str, Any]]) -> int:
    """How many of these events a server answers with `ADDED`."""
    return sum(event["type"] == "conversation.item.create" for event in events)


# --- The clients: each yields the seconds of one loss after the other ---------------------------------


def ours(url: str) -> Iterator[float]:
    import realtime_sync as rt

    def send(events: list[dict[str, Any]]) -> None:
        for event in events:
            session.send(event)
        for _ in range(created(events)):
            session.run(rt.Visitor[None](), until=rt.events.ConversationItemAdded, timeout=30)

    with rt.connect("m", base_url=url, api_key="none", reconnect=True) as session:
        send(CREATION)
        while True:
            send(PROGRESS)
            begun = time.perf_counter()
            session.send(TRIGGER)
            event = session.run(rt.Visitor[None](), until=rt.Reconnected, timeout=30)
            seconds = time.perf_counter() - begun
            assert event is not None
            assert event.restored, event.lost
            yield seconds


def by_hand(url: str) -> Iterator[float]:
    import websocket

    def send(events: list[dict[str, Any]]) -> None:
        for event in events:
            connection.send(json.dumps(event))
        echoes = 0
        while echoes < created(events):
            echoes += json.loads(connection.recv())["type"] == ADDED

    begun = 0.0
    while True:
        connection = websocket.create_connection(f"{url}/realtime?model=m")
        send(CREATION)
        if begun:
            yield time.perf_counter() - begun
        send(PROGRESS)
        begun = time.perf_counter()
        with contextlib.suppress(OSError, websocket.WebSocketException):
            connection.send(json.dumps(TRIGGER))
            while connection.recv():
                pass
        connection.close()


def openai(url: str, **delays: Any) -> Iterator[float]:
    from openai import OpenAI

    client = OpenAI(api_key="none", base_url=url.replace("ws", "http", 1), websocket_base_url=url)
    manager = client.realtime.connect(model="m", on_reconnecting=lambda event: None, **delays)
    connection: Any = manager.enter()
    events, begun = iter(connection), 0.0

    def send(batch: list[Any]) -> None:
        for event in batch:
            connection.send(event)
        echoes = 0
        while echoes < created(batch):
            echoes += next(events).type == ADDED

    while True:
        while next(events).type != "session.created":
            pass  # it connects again by itself
        send(CREATION)
        if begun:
            yield time.perf_counter() - begun
        send(PROGRESS)
        begun = time.perf_counter()
        connection.send(TRIGGER)


CLIENTS: dict[str, Callable[[str], Iterator[float]]] = {
    "realtime_sync": ours,
    "by hand": by_hand,
    "openai": openai,
    "openai, no wait": lambda url: openai(url, initial_delay=0.0),
}


def measure(client: str, url: str) -> list[float]:
    """Milliseconds of each loss, without the first one, which loads what it needs."""
    losses = itertools.islice(CLIENTS[client](url), LOSSES + 1)
    return [seconds * 1000 for seconds in losses][1:]


def main() -> None:
    settings = options()
    print(machine())
    with server("reconnect.py", "serve") as (url, _):
        figures = interleaved(
            tuple(CLIENTS), settings.runs, lambda client: child("reconnect.py", "child", client, url)
        )
    rows = []
    for client, runs in figures.items():
        times, bare = (list(itertools.chain(*each)) for each in (runs, figures["by hand"]))
        more = [ms - other for ms, other in zip(times, bare, strict=True)]
        goal = f"{GOAL_MS:g}" if client == "realtime_sync" else ""
        rows.append([client, spread(times, 1), spread(more, 1), goal])
    losses = LOSSES * settings.runs
    table(f"{ITEMS} items, {losses} losses", ["client", "ms", "ms more than by hand", "goal, at most"], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        pin(1)
        serve()
    elif sys.argv[1:2] == ["child"]:
        pin(0)
        print(json.dumps(measure(sys.argv[2], sys.argv[3])), flush=True)
    else:
        main()
