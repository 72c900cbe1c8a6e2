"""The link itself: the other tests here are worth what it is."""

import json
import os
import signal
import subprocess
import sys

import pytest
from bad_link import BadLink, Conditions

pytestmark = pytest.mark.slow

SERVE = """
import socketserver

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)

socketserver.ThreadingTCPServer.daemon_threads = True
with socketserver.ThreadingTCPServer(("10.77.0.2", 4711), Echo) as server:
    print("ready", flush=True)
    server.serve_forever()
"""
CALL = """
import json, socket, sys, time
seconds, size = float(sys.argv[1]), int(sys.argv[2])
sock = socket.create_connection(("10.77.0.2", 4711), seconds)
data, back, since = bytes(i % 251 for i in range(size)), b"", time.monotonic()
try:
    sock.sendall(data)
    while len(back) < size:
        back += sock.recv(65536)
except TimeoutError:
    pass
print(json.dumps([back == data, time.monotonic() - since]))
"""
SMALL, LARGE = 100, 40_000


class Echo:
    """A server at the far end that says back what it hears, and callers at the near end."""

    def __init__(self, link: BadLink) -> None:
        self._link = link
        command = link.inside(link.far, sys.executable, "-c", SERVE)
        self._server = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
        assert self._server.stdout is not None
        self._server.stdout.readline()

    def call(self, size: int, timeout: float = 30) -> tuple[bool, float]:
        """Return whether all came back, and after how many seconds."""
        command = self._link.inside(self._link.near, sys.executable, "-c", CALL, str(timeout), str(size))
        done = subprocess.run(command, check=True, capture_output=True)
        whole, seconds = json.loads(done.stdout)
        return whole, seconds

    def __enter__(self) -> "Echo":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._server.stdout is not None
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()


@pytest.mark.usefixtures("namespaces")
def test_conditions() -> None:
    """A link does what it is told: it delays, loses, reorders, is slow, and swallows long packets."""
    with BadLink() as link, Echo(link) as echo:
        assert echo.call(LARGE)[0]
        assert link.lost == 0
        link.conditions = Conditions(delay=0.2)
        whole, seconds = echo.call(SMALL)
        assert whole
        assert seconds >= 0.4
        link.conditions = Conditions(rate=20_000)
        whole, seconds = echo.call(LARGE)
        assert whole
        assert seconds >= LARGE / 20_000
        link.conditions = Conditions(delay=0.02, jitter=0.02, loss=0.05, reorders=True)
        assert echo.call(LARGE)[0]
        assert link.lost > 0
        link.conditions = Conditions(mtu=600)
        assert echo.call(SMALL)[0]
        assert not echo.call(LARGE, timeout=2)[0]


HOLD = """
import socket, sys
sock = socket.create_connection(("10.77.0.2", 4711), 2)
for line in sys.stdin:
    sock.sendall(b"x")
    try:
        print(sock.recv(1) == b"x", flush=True)
    except TimeoutError:
        print(False, flush=True)
"""


@pytest.mark.usefixtures("namespaces")
def test_forgotten_flows() -> None:
    """What was open when the flows were forgotten is dead; what is opened then is not."""
    with BadLink() as link, Echo(link) as echo:
        command = link.inside(link.near, sys.executable, "-c", HOLD)
        with subprocess.Popen(command, stdin=-1, stdout=-1, encoding="utf-8", bufsize=1) as held:
            assert held.stdin is not None
            assert held.stdout is not None
            held.stdin.write("1\n")
            assert held.stdout.readline() == "True\n"
            link.forget_flows()
            held.stdin.write("2\n")
            assert held.stdout.readline() == "False\n"
            held.kill()
        assert echo.call(SMALL)[0]


CRASH = """
import os, sys
sys.path.insert(0, sys.argv[1])
from bad_link import BadLink
link = BadLink().__enter__()
print(link.near, flush=True)
sys.stdin.read()
"""


def namespaces_now() -> str:
    return subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("killed", [False, True])
def test_nothing_stays(killed: bool) -> None:
    """No namespace outlives its process: it is removed at the end, or by the next process after a crash."""
    helpers = next(path for path in sys.path if os.path.exists(os.path.join(path, "bad_link.py")))
    command = [sys.executable, "-c", CRASH, helpers]
    with subprocess.Popen(command, stdin=-1, stdout=-1, encoding="utf-8") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name in namespaces_now()
        if killed:
            process.send_signal(signal.SIGKILL)
        process.stdin.close()
        process.wait()
    assert (name in namespaces_now()) == killed
    with BadLink() as link:
        assert name not in namespaces_now()
        assert link.near in namespaces_now()
    assert link.near not in namespaces_now()
