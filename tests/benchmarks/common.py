"""What the benchmarks share: a server in a process of its own, frames, processor pinning, tables."""

import argparse
import base64
import contextlib
import ctypes
import gc
import hashlib
import json
import os
import platform
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
HERE = Path(__file__).parent
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

SESSION = {"type": "realtime", "id": "sess_1", "object": "realtime.session", "model": "bench"}
CREATED = json.dumps({"type": "session.created", "event_id": "event_0", "session": SESSION})
_WHERE = {
    "event_id": "event_CMfOVsFLVdqVI8vO4Zz0L",
    "response_id": "resp_CMfOVhNu3D1p",
    "item_id": "item_CMfOV1YXTGLq",
    "output_index": 0,
    "content_index": 0,
}
TEXT = json.dumps(
    {"type": "response.output_text.delta", **_WHERE, "delta": " hello"}, separators=(",", ":")
).encode()
AUDIO = json.dumps(
    {
        "type": "response.output_audio.delta",
        **_WHERE,
        "delta": base64.b64encode(bytes(range(256)) * 19).decode(),
    },
    separators=(",", ":"),
).encode()
KINDS = {"text": TEXT, "audio": AUDIO}
EVENT_ID = b"event_CMfOVsFLVdqVI8vO4Zz0L"  # in both


def frame(payload: bytes) -> bytes:
    """An unmasked text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


def pin(cpu: int) -> None:
    """Stay on one processor, so that client and server don't take turns on one by chance."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > cpu:
        os.sched_setaffinity(0, {cpu})


def upgrade(sock: socket.socket) -> str:
    """Read a handshake, agree to it, and return the request's path."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += sock.recv(65536)
    head = request.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
    accept = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + _GUID).encode()).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return head[0].split()[1]


def certificate(folder: Path) -> None:
    """A certificate for localhost, made for this run."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")


def client_context(folder: str | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=Path(folder) / "ca.pem") if folder else None


@contextmanager
def server(script: str, *arguments: str, tls: bool = False) -> Iterator[tuple[str, str | None]]:
    """Run a script as the server: its address, and the folder with its certificates if it speaks TLS.

    The script prints its port on its first line, and ends when its standard input does.
    """
    with tempfile.TemporaryDirectory() as folder:
        if tls:
            certificate(Path(folder))
            arguments = (*arguments, "--tls", folder)
        process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            yield f"{'wss' if tls else 'ws'}://localhost:{port}/v1", folder if tls else None
        finally:
            process.communicate(timeout=30)


def listen(serve: Callable[[socket.socket], None], folder: str | None) -> None:
    """The body of a server script: serve each connection in a thread, until standard input ends."""
    import threading

    context = None
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(folder) / "server.pem")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    print(listener.getsockname()[1], flush=True)

    def one(sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(sock, server_side=True) if context else sock as connection:
                serve(connection)
        except OSError:
            pass  # the client is done with us

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


def child(script: str, *arguments: str, timeout: float = 300) -> Any:
    """Run a measurement in a fresh process and return what it printed, as JSON."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(names: Sequence[str], runs: int, measure: Callable[[str], _T]) -> dict[str, list[_T]]:
    """Measure each of ``names`` in turn, ``runs`` times over, after one round that is not counted."""
    figures: dict[str, list[_T]] = {name: [] for name in names}
    for number in range(runs + 1):
        for name in names:
            value = measure(name)
            if number:
                figures[name].append(value)
    return figures


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and minimum to maximum."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def give_back() -> None:
    """Free what is in use no more: collect garbage, and let glibc return free memory to the system.

    glibc keeps most of it, in up to eight heaps per processor, so that what a process with many threads holds
    says little about what it uses.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def machine() -> str:
    """What the figures come from."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{os.cpu_count()} x {model}, {ssl.OPENSSL_VERSION}, {time.strftime('%Y-%m-%d')}"
    )


def options(runs: int = 5) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=runs, help="counted runs of each (default: %(default)s)")
    return parser.parse_args()
