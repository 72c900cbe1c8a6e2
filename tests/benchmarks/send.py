"""Sending: ``input_audio_buffer.append`` frames per second, against other clients.

Each client sends the same audio as fast as it can, in a process of its own, on one processor, to a server on
another that only counts.  The time runs from the first call until the server's word that all has arrived.
Where a client's users must write base64 or JSON themselves, that is part of its time.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from common import child, client_context, interleaved, machine, options, pin, server, spread, table

SIZES = {"100 ms": 4_800, "32 kB": 32_768}  # bytes of raw audio in one append
COUNTS = {"100 ms": 6_000, "32 kB": 2_000}  # appends that are counted
WARM_UP = 200  # appends before that, so that the connection's windows have grown
GOAL = 3  # times openai's frames per second

Figures = tuple[float, float]
"""Seconds from the first append until all have arrived, and the server's processor seconds meanwhile."""


def milestones(n: int) -> dict[str, list[int]]:
    """The query that makes the server speak up after the warm-up and at the end."""
    return {"at": [WARM_UP, WARM_UP + n]}


def timed(n: int, append: Callable[[], object], acknowledged: Callable[[], str]) -> Figures:
    """Append ``n`` times after a warm-up; ``acknowledged`` waits for the server's next delta."""
    for _ in range(WARM_UP):
        append()
    busy = float(acknowledged())
    started = time.perf_counter()
    for _ in range(n):
        append()
    busy = float(acknowledged()) - busy
    return time.perf_counter() - started, busy


def ours(url: str, pcm: bytes, n: int, folder: str | None) -> Figures:
    import realtime_sync as rt

    base_url = f"{url}?{urlencode(milestones(n), doseq=True)}"
    session = rt.connect(base_url=base_url, ssl_context=client_context(folder))

    def acknowledged() -> str:
        while not isinstance(event := session.next_event(), rt.events.ResponseOutputTextDelta):
            pass
        return event.delta

    return timed(n, lambda: session.input_audio_buffer.append(pcm), acknowledged)


def openai(url: str, pcm: bytes, n: int, folder: str | None) -> Figures:
    from openai import OpenAI

    client = OpenAI(api_key="none", base_url=url.replace("ws", "http", 1), websocket_base_url=url)
    settings: Any = {"ssl": client_context(folder)} if folder else {}  # handed on to websockets as it is
    connection = client.realtime.connect(
        model="m", extra_query=milestones(n), websocket_connection_options=settings
    ).enter()

    def append() -> None:
        connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    def acknowledged() -> str:
        while (event := connection.recv()).type != "response.output_text.delta":
            pass
        return event.delta

    return timed(n, append, acknowledged)


def websockets(url: str, pcm: bytes, n: int, folder: str | None) -> Figures:
    from websockets.sync.client import connect

    connection = connect(f"{url}/realtime?{urlencode(milestones(n), doseq=True)}", ssl=client_context(folder))

    def append() -> None:
        audio = base64.b64encode(pcm).decode()
        connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))

    def acknowledged() -> str:
        while (event := json.loads(connection.recv()))["type"] != "response.output_text.delta":
            pass
        return str(event["delta"])

    return timed(n, append, acknowledged)


CLIENTS: dict[str, Callable[[str, bytes, int, str | None], Figures]] = {
    "realtime_sync": ours,
    "openai": openai,
    "websockets.sync": websockets,
}


def main() -> None:
    settings = options()
    print(machine())
    for tls in (False, True):
        with server("sink.py", tls=tls) as (url, folder):
            for label, size in SIZES.items():
                n = COUNTS[label]

                def measure(
                    name: str, url: str = url, folder: str | None = folder, size: int = size, n: int = n
                ) -> Figures:
                    figures = child("send.py", "child", name, url, str(size), str(n), folder or "")
                    return figures[0], figures[1]

                report(
                    f"appends of {label} ({size:,} bytes raw) over {'wss' if tls else 'ws'}",
                    n,
                    interleaved(list(CLIENTS), settings.runs, measure),
                )


def report(title: str, n: int, figures: dict[str, list[Figures]]) -> None:
    own = [seconds for seconds, _ in figures["realtime_sync"]]
    rows = []
    for name, values in figures.items():
        ratios = [seconds / ours for (seconds, _), ours in zip(values, own, strict=True)]
        rows.append(
            [
                name,
                spread(ratios),
                str(GOAL) if name == "openai" else "",
                spread([n / seconds for seconds, _ in values], 0),
                spread([seconds / n * 1e6 for seconds, _ in values], 1),
                spread([busy / seconds * 100 for seconds, busy in values], 0),
            ]
        )
    header = ["client", "our frames/s / its", "goal", "frames/s", "us per frame", "server's processor, %"]
    table(title, header, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _, _, name, url, size, n, folder = sys.argv
        pin(0)
        pcm = os.urandom(int(size))
        print(json.dumps(CLIENTS[name](url, pcm, int(n), folder or None)), flush=True)
        os._exit(0)
    main()
