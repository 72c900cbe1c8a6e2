"""What `ChatResponder` adds to an endpoint's first words: from the request to the first text, over loopback.

Beside it, the same request by a bare socket that has its bytes ready and looks for the first event only, and
by requests.  The endpoint is a process of its own and answers at once.
"""

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import requests

from realtime_sync.events import InputText, Message, OutputText
from realtime_sync.local import ChatResponder, Request, Say

CHUNK = json.dumps({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}).encode()
EVENT = b"data: " + CHUNK + b"\n\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + EVENT


def serve() -> None:
    """Answer one request after the other; the first line on stdout is the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            read_request(sock)
            sock.sendall(ANSWER)
            sock.recv(1)  # until the caller has its first words


def read_request(sock: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(re.findall(rb"content-length: *(\d+)", head.lower())[0])
    while len(body) < size:
        body += sock.recv(65536)


def history(turns: int) -> Request:
    items = []
    for _ in range(turns):
        items.append(Message(role="user", content=[InputText(text="Why is the sky blue? " * 4)]))
        items.append(Message(role="assistant", content=[OutputText(text="Because it scatters light. " * 10)]))
    return Request(items=[*items, Message(role="user", content=[InputText(text="And green?")])])


def by_responder(port: int, request: Request) -> Callable[[], None]:
    responder = ChatResponder(f"http://127.0.0.1:{port}/v1", "m")

    def ask() -> None:
        reply = responder.respond(request)
        say = next(iter(reply))
        assert isinstance(say, Say)
        assert next(iter(say.text)) == "Hello"
        reply.close()

    return ask


def by_requests(port: int, body: bytes) -> Callable[[], None]:
    def ask() -> None:
        with requests.post(f"http://127.0.0.1:{port}/v1/chat/completions", data=body, stream=True) as answer:
            for line in answer.iter_lines(chunk_size=1):
                assert json.loads(line[6:])["choices"]
                return

    return ask


def by_socket(port: int, body: bytes) -> Callable[[], None]:
    whole = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(whole)
            data = b""
            while b"\n\n" not in data:
                data += sock.recv(65536)

    return ask


def median_ms(ask: Callable[[], None], times: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of what it takes, in ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    taken = sorted(taken[times // 10 :])
    return statistics.median(taken), taken[len(taken) * 99 // 100]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=500)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    endpoint = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert endpoint.stdout
        port = int(endpoint.stdout.readline())
        print(f"{'turns':>6} {'client':<14} {'median ms':>10} {'p99 ms':>8}")
        for turns in (1, 20, 200):
            request = history(turns)
            body = json.dumps({"messages": [{"content": "x" * 370}] * turns}).encode()
            ways = {
                "bare socket": by_socket(port, body),
                "ChatResponder": by_responder(port, request),
                "requests": by_requests(port, body),
            }
            for name, ask in ways.items():
                median, worst = median_ms(ask, options.times)
                print(f"{turns:>6} {name:<14} {median:>10.2f} {worst:>8.2f}")
    finally:
        endpoint.kill()
        endpoint.wait()


if __name__ == "__main__":
    main()
