"""A bad network on one machine: a link between two network namespaces, with the kernel's own TCP at its ends.

The link is a thread that carries packets from one TUN device to another, and does to them on the way what
`Conditions` say. Linux only; it needs root, ``/dev/net/tun`` and ``ip``.
"""

import atexit
import contextlib
import heapq
import itertools
import os
import random
import re
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if sys.platform == "linux":
    import fcntl

__all__ = ["FAR_ADDRESS", "BadLink", "Conditions", "why_not"]

NEAR_ADDRESS, FAR_ADDRESS, NEW_ADDRESS = "10.77.0.1", "10.77.0.2", "10.77.0.3"
_TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
_TCP = 6
_LARGEST = 65_536  # bytes of a packet
_NAME = re.compile(r"rt(\d+)x\d+[nf]")

Flow = frozenset[int]
"""The two ports of a TCP connection."""


@dataclass
class Conditions:
    """What the link does to packets, both ways.

    Attributes:
        delay: Seconds that each packet takes.
        jitter: Seconds that it may take less or more.
        loss: The share of packets that are lost.
        reorders: Whether a packet may overtake another, as the jitter has it.
        rate: Bytes per second of each flow and direction; ``None`` = any.
        queue: Bytes that wait at most for their turn, where there is a rate; what comes then is lost.
        mtu: Longer packets vanish, without the word to the sender that is due; ``None`` = none.
        down: Whether nothing passes, nor arrives that was on its way.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorders: bool = False
    rate: float | None = None
    queue: int = 32 * 1024
    mtu: int | None = None
    down: bool = False


def why_not() -> str | None:
    """Return why there can't be a link here; ``None`` if there can."""
    if sys.platform != "linux" or not _TUN.exists() or shutil.which("ip") is None:
        return "needs Linux, /dev/net/tun and the command ip"
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    try:
        with BadLink():
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces can't be made here: {error}"


class BadLink:
    """A link, between a namespace for the client (near) and one for the server (far), while ``with`` lasts.

    The names are this process's own. Namespaces that a killed process left are removed by the next.

    Attributes:
        near, far: The names of the namespaces.
        conditions: May be changed, or replaced, at any time.
        lost: How many packets the link has not delivered.
    """

    _numbers = itertools.count()

    def __init__(self, seed: int = 1) -> None:
        name = f"rt{os.getpid()}x{next(self._numbers)}"
        self.near, self.far = f"{name}n", f"{name}f"
        self.conditions = Conditions()
        self.lost = 0
        self._random = random.Random(seed)
        self._devices: list[int] = []
        self._flows: set[Flow] = set()
        self._dead: set[Flow] = set()
        self._underway: list[tuple[float, int, int, bytes]] = []  # due, number, device to write to, packet
        self._count = itertools.count()
        self._latest = [0.0, 0.0]  # when the last packet from each end is due
        self._free: dict[tuple[int, Flow], float] = {}  # when each flow has sent what is in its queue
        self._selector = selectors.DefaultSelector()
        self._stopping, self._stop = os.pipe()
        # Carries the packets, so that the test can wait for what comes of them.
        self._thread = threading.Thread(target=self._carry, name="bad-link", daemon=True)

    def __enter__(self) -> "BadLink":
        _sweep()
        atexit.register(self._remove)
        try:
            self._devices = [self._end(self.near, NEAR_ADDRESS), self._end(self.far, FAR_ADDRESS)]
        except BaseException:
            self._remove()
            raise
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        os.write(self._stop, b".")
        self._thread.join()
        self._remove()

    def _end(self, namespace: str, address: str) -> int:
        """Make a namespace with one end of the link in it, and return the end's TUN device."""
        _ip("netns", "add", namespace)
        device = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", namespace.encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("link", "set", namespace, "netns", namespace)
        peer = NEAR_ADDRESS if address == FAR_ADDRESS else FAR_ADDRESS
        _ip("-n", namespace, "addr", "add", address, "peer", peer, "dev", namespace)
        for name in (namespace, "lo"):
            _ip("-n", namespace, "link", "set", name, "up")
        return device

    def _remove(self) -> None:
        for descriptor in (*self._devices, self._stopping, self._stop):
            with contextlib.suppress(OSError):  # removed already
                os.close(descriptor)
        self._devices = []
        self._selector.close()
        for namespace in (self.near, self.far):
            _remove_namespace(namespace)
        atexit.unregister(self._remove)

    def forget_flows(self) -> None:
        """Drop from now on the packets of each open connection, as a NAT does that has forgotten it."""
        self._dead |= set(self._flows)

    def move(self) -> None:
        """Give the client another address in place of its own, as a machine gets in another network."""
        _ip("-n", self.far, "route", "add", NEW_ADDRESS, "dev", self.far)
        _ip("-n", self.near, "addr", "del", NEAR_ADDRESS, "peer", FAR_ADDRESS, "dev", self.near)
        _ip("-n", self.near, "addr", "add", NEW_ADDRESS, "peer", FAR_ADDRESS, "dev", self.near)

    def inside(self, namespace: str, *command: str) -> Sequence[str]:
        """Return the command that runs a command in a namespace; the process is the command's own."""
        return ["ip", "netns", "exec", namespace, *command]

    # --- In the thread -------------------------------------------------------------------------------

    def _carry(self) -> None:
        for number, device in enumerate(self._devices):
            self._selector.register(device, selectors.EVENT_READ, number)
        self._selector.register(self._stopping, selectors.EVENT_READ)
        while True:
            wait = self._underway[0][0] - time.monotonic() if self._underway else None
            for key, _ in self._selector.select(wait if wait is None else max(wait, 0.0)):
                if key.fd == self._stopping:
                    return
                for packet in _packets(key.fd):
                    self._take(packet, key.data)
            self._deliver()

    def _take(self, packet: bytes, end: int) -> None:
        """Decide what becomes of a packet that one end has sent."""
        flow = _flow(packet)
        self._flows.add(flow)
        due = None if self._vanishes(packet, flow) else self._due(len(packet), end, flow)
        if due is None:
            self.lost += 1
        else:
            heapq.heappush(self._underway, (due, next(self._count), self._devices[1 - end], packet))

    def _vanishes(self, packet: bytes, flow: Flow) -> bool:
        conditions = self.conditions
        too_long = conditions.mtu is not None and len(packet) > conditions.mtu
        return conditions.down or flow in self._dead or too_long or self._random.random() < conditions.loss

    def _due(self, size: int, end: int, flow: Flow) -> float | None:
        """Return when a packet arrives; ``None`` if the queue is full."""
        conditions = self.conditions
        now = sent = time.monotonic()
        if conditions.rate is not None:
            begins = max(now, self._free.get((end, flow), now))
            if (begins - now) * conditions.rate + size > conditions.queue:
                return None
            sent = self._free[end, flow] = begins + size / conditions.rate
        due = sent + conditions.delay + self._random.uniform(-conditions.jitter, conditions.jitter)
        if not conditions.reorders:
            due = max(due, self._latest[end])
        self._latest[end] = due
        return due

    def _deliver(self) -> None:
        while self._underway and self._underway[0][0] <= time.monotonic():
            _, _, device, packet = heapq.heappop(self._underway)
            if self.conditions.down:
                self.lost += 1
                continue
            with contextlib.suppress(OSError):  # the end is not up
                os.write(device, packet)


def _packets(device: int) -> Iterator[bytes]:
    """Yield the IPv4 packets that are waiting."""
    with contextlib.suppress(BlockingIOError):
        while packet := os.read(device, _LARGEST):
            if packet[0] >> 4 == 4:
                yield packet


def _flow(packet: bytes) -> Flow:
    """Return the flow that a packet belongs to; an empty one, if it isn't TCP."""
    header = (packet[0] & 15) * 4
    if packet[9] != _TCP:
        return frozenset()
    return frozenset(struct.unpack("!HH", packet[header : header + 4]))


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, encoding="utf-8")
    return done.stdout


def _sweep() -> None:
    """Remove the namespaces of processes that were killed before they could."""
    for line in _ip("netns", "list").splitlines():
        found = _NAME.match(line)
        if found and not Path("/proc", found[1]).exists():
            _remove_namespace(found[0])


def _remove_namespace(name: str) -> None:
    """Remove a namespace, if it is there, and what still runs in it."""
    with contextlib.suppress(subprocess.CalledProcessError, ProcessLookupError):
        for process in _ip("netns", "pids", name).split():
            os.kill(int(process), signal.SIGKILL)
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip("netns", "del", name)
