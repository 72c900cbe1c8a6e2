"""Receiving: microseconds per event from the socket to the user's code, against other clients.

Each client takes the same events from the same server as fast as it can, in a process of its own, on one
processor, with the server on another.  "wait_until" is ours too, with a condition asked for after each event
in place of `run`.  "limit" is a bare loop in one thread: read, cut frames without
checking anything, decode with msgspec, call a function.
"""

import json
import os
import sys
import time
from collections.abc import Callable

from common import child, client_context, interleaved, machine, options, pin, server, spread, table

COUNTS = {
    "realtime_sync": 400_000,
    "wait_until": 400_000,
    "openai": 12_000,
    "documentation": 12_000,
    "websockets.sync": 60_000,
    "limit": 400_000,
}
AUDIO_SHARE = {"openai": 3, "documentation": 12}  # of the counts above, for the larger events
GOALS = {
    ("text", "openai"): 40,
    ("text", "documentation"): 28,
    ("text", "limit"): 0.7,
    ("audio", "openai"): 6,
    ("audio", "documentation"): 60,
    ("audio", "limit"): 0.7,
}


def ours(url: str, kind: str, n: int, folder: str | None, waits: bool = False) -> float:
    import realtime_sync as rt

    class Counter(rt.Visitor[None]):
        def __init__(self) -> None:
            self.left = n
            self.started = self.ended = 0.0

        def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
            self.count()

        def visit_response_output_audio_delta(self, event: rt.events.ResponseOutputAudioDelta) -> None:
            self.count()

        def count(self) -> None:
            if self.left == n:
                self.started = time.perf_counter()
            self.left -= 1
            if not self.left:
                self.ended = time.perf_counter()
                if not waits:
                    session.close()

    counter = Counter()
    session = rt.connect(base_url=url, query={"kind": kind, "n": str(n)}, ssl_context=client_context(folder))
    if waits:
        session.wait_until(lambda: not counter.left, counter)
        session.close()
    else:
        session.run(counter)
    return counter.ended - counter.started


def waiting(url: str, kind: str, n: int, folder: str | None) -> float:
    return ours(url, kind, n, folder, waits=True)


def openai(url: str, kind: str, n: int, folder: str | None) -> float:
    from openai import OpenAI

    client = OpenAI(api_key="none", base_url=url.replace("ws", "http", 1), websocket_base_url=url)
    settings = {"ssl": client_context(folder)} if folder else {}
    with client.realtime.connect(
        model="m", extra_query={"kind": kind, "n": str(n)}, websocket_connection_options=settings
    ) as connection:
        connection.recv()  # session.created
        connection.recv()
        started = time.perf_counter()
        for _ in range(n - 1):
            connection.recv()
        return time.perf_counter() - started


def documentation(url: str, kind: str, n: int, folder: str | None) -> float:
    """The loop that OpenAI's guide shows: websocket-client's `WebSocketApp` and `json.loads`."""
    sys.modules["wsaccel"] = None  # type: ignore[assignment]  # a plain install does not have it
    import websocket

    seen = [0, 0.0, 0.0]

    def on_message(app: websocket.WebSocketApp, message: str) -> None:
        json.loads(message)
        seen[0] += 1
        if seen[0] == 2:
            seen[1] = time.perf_counter()
        elif seen[0] == n + 1:
            seen[2] = time.perf_counter()
            app.close()

    app = websocket.WebSocketApp(f"{url}/realtime?kind={kind}&n={n}", on_message=on_message)
    app.run_forever(sslopt={"context": client_context(folder)} if folder else None)
    return seen[2] - seen[1]


def websockets(url: str, kind: str, n: int, folder: str | None) -> float:
    from websockets.sync.client import connect

    with connect(f"{url}/realtime?kind={kind}&n={n}", ssl=client_context(folder)) as connection:
        connection.recv()
        connection.recv()
        started = time.perf_counter()
        for _ in range(n - 1):
            json.loads(connection.recv())
        return time.perf_counter() - started


def limit(url: str, kind: str, n: int, folder: str | None) -> float:
    import socket
    from typing import Union
    from urllib.parse import urlsplit

    import msgspec

    from realtime_sync.events import SERVER_EVENTS

    decode = msgspec.json.Decoder(Union[tuple(SERVER_EVENTS.values())]).decode
    seen = 0

    def handle(event: object) -> None:
        nonlocal seen
        seen += 1

    sock = socket.create_connection(("localhost", urlsplit(url).port))
    if context := client_context(folder):
        sock = context.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(
        f"GET /v1/realtime?kind={kind}&n={n} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1)
    data, started = b"", 0.0
    while seen <= n:
        data += sock.recv(65536)
        position, end = 0, len(data)
        while end - position >= 4:
            length = data[position + 1]
            start = position + 2
            if length == 126:
                length = (data[position + 2] << 8) | data[position + 3]
                start = position + 4
            if start + length > end:
                break
            handle(decode(data[start : start + length]))
            if seen == 2:
                started = time.perf_counter()
            position = start + length
        data = data[position:]
    return time.perf_counter() - started


CLIENTS: dict[str, Callable[[str, str, int, str | None], float]] = {
    "realtime_sync": ours,
    "wait_until": waiting,
    "openai": openai,
    "documentation": documentation,
    "websockets.sync": websockets,
    "limit": limit,
}


def main() -> None:
    settings = options()
    print(machine())
    for tls in (False, True):
        with server("blaster.py", tls=tls) as (url, folder):
            for kind in ("text", "audio"):

                def measure(name: str, kind: str = kind, url: str = url, at: str = folder or "") -> float:
                    n = COUNTS[name] // (AUDIO_SHARE.get(name, 8) if kind == "audio" else 1)
                    seconds: float = child("receive.py", "child", name, url, kind, str(n), at)
                    return seconds / (n - 1) * 1e6

                figures = interleaved(list(CLIENTS), settings.runs, measure)
                rows = []
                for name, values in figures.items():
                    ratios = [
                        other / own for other, own in zip(values, figures["realtime_sync"], strict=True)
                    ]
                    goal = GOALS.get((kind, name), "")
                    rows.append([name, spread(ratios), str(goal), spread(values)])
                table(
                    f"{kind} deltas over {'wss' if tls else 'ws'}",
                    ["client", "its time / ours", "goal", "us per event"],
                    rows,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _, _, name, url, kind, n, folder = sys.argv
        pin(0)
        print(json.dumps(CLIENTS[name](url, kind, int(n), folder or None)), flush=True)
        os._exit(0)
    main()
