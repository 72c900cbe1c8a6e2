"""Latency: microseconds from the server's send to the user's code, at a steady pace of events.

The server writes the time into each event; the client reads the clock in the user's code.  Each client runs
in a process of its own, on one processor, with the server on another.  "direct" is a bare loop in one
thread that reads, decodes with msgspec and calls a function: what it takes without a thread in the
background.  What we take longer than that is the price of the hand-over from our reader thread.
"""

import contextlib
import json
import os
import socket
import statistics
import sys
from collections.abc import Callable
from time import monotonic_ns
from urllib.parse import urlsplit

from common import child, interleaved, machine, options, pin, server, spread, table

RATES = {50: 150, 1000: 1500}  # events a second, and how many of them are counted
GOAL = 100  # us at p50 that the hand-over may take
_WARM_UP = 0.2  # seconds at the beginning that are not counted
_HANDSHAKE = (
    "GET /v1/realtime?rate={rate} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Enough(Exception):  # no error, it ends `run` after the last event
    pass


def ours(url: str, rate: int, n: int) -> list[int]:
    import realtime_sync as rt

    latencies: list[int] = []

    class Clock(rt.Visitor[None]):
        def visit_response_output_text_delta(self, event: rt.events.ResponseOutputTextDelta) -> None:
            latencies.append(monotonic_ns() - int(event.delta))
            if len(latencies) == n:
                raise Enough

    session = rt.connect(base_url=url, query={"rate": str(rate)})
    with contextlib.suppress(Enough):
        session.run(Clock())
    return latencies


def direct(url: str, rate: int, n: int) -> list[int]:
    from typing import Union

    import msgspec

    from realtime_sync.events import SERVER_EVENTS, ResponseOutputTextDelta

    decode = msgspec.json.Decoder(Union[tuple(SERVER_EVENTS.values())]).decode
    latencies: list[int] = []

    def handle(event: object) -> None:
        if isinstance(event, ResponseOutputTextDelta):
            latencies.append(monotonic_ns() - int(event.delta))

    sock = socket.create_connection(("localhost", urlsplit(url).port or 0))
    sock.sendall(_HANDSHAKE.format(rate=rate).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1)
    data = b""
    while len(latencies) < n:
        data += sock.recv(65536)
        position, end = 0, len(data)
        while end - position >= 4:
            length, start = data[position + 1], position + 2
            if length == 126:
                length, start = (data[position + 2] << 8) | data[position + 3], position + 4
            if start + length > end:
                break
            handle(decode(data[start : start + length]))
            position = start + length
        data = data[position:]
    return latencies[:n]


def websockets(url: str, rate: int, n: int) -> list[int]:
    from websockets.sync.client import connect

    connection = connect(f"{url}/realtime?rate={rate}")
    connection.recv()  # session.created
    latencies = []
    for _ in range(n):
        event = json.loads(connection.recv())
        latencies.append(monotonic_ns() - int(event["delta"]))
    return latencies


def openai(url: str, rate: int, n: int) -> list[int]:
    from openai import OpenAI

    client = OpenAI(api_key="none", base_url=url.replace("ws", "http", 1), websocket_base_url=url)
    connection = client.realtime.connect(model="m", extra_query={"rate": str(rate)}).enter()
    latencies: list[int] = []
    while len(latencies) < n:
        event = connection.recv()
        if event.type == "response.output_text.delta":
            latencies.append(monotonic_ns() - int(event.delta))
    return latencies


CLIENTS: dict[str, Callable[[str, int, int], list[int]]] = {
    "realtime_sync": ours,
    "direct": direct,
    "websockets.sync": websockets,
    "openai": openai,
}


def percentiles(latencies: list[int]) -> tuple[float, float, float]:
    """p50, p99 and the longest, in microseconds."""
    ordered = sorted(latencies)
    p99 = ordered[int(len(ordered) * 0.99)]
    return statistics.median(ordered) / 1e3, p99 / 1e3, ordered[-1] / 1e3


def main() -> None:
    settings = options()
    print(machine())
    with server("pacer.py") as (url, _):
        for rate, counted in RATES.items():

            def measure(name: str, rate: int = rate, counted: int = counted) -> tuple[float, float, float]:
                n = int(rate * _WARM_UP) + counted
                latencies = child("latency.py", "child", name, url, str(rate), str(n))
                return percentiles(latencies[-counted:])

            figures = interleaved(list(CLIENTS), settings.runs, measure)
            direct_p50 = [p50 for p50, _, _ in figures["direct"]]
            rows = []
            for name, values in figures.items():
                p50, p99, longest = (list(column) for column in zip(*values, strict=True))
                more = [own - bare for own, bare in zip(p50, direct_p50, strict=True)]
                goal = str(GOAL) if name == "realtime_sync" else ""
                rows.append([name, spread(more, 0), goal, spread(p50, 0), spread(p99, 0), spread(longest, 0)])
            table(
                f"{rate} text deltas a second, us from send to handler",
                ["client", "p50 more than direct", "goal, at most", "p50", "p99", "max"],
                rows,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _, _, name, url, rate, n = sys.argv
        pin(0)
        print(json.dumps(CLIENTS[name](url, int(rate), int(n))), flush=True)
        os._exit(0)
    main()
