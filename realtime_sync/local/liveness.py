"""Whether a client is still there, and what it sends comes to an end: by the clock, without a socket."""

from typing import Literal

from ..clock import monotonic

__all__ = ["MESSAGE_SECONDS", "Liveness"]

MESSAGE_SECONDS = 30.0
"""How long a message may take to come, and one second more for each KiB of it."""
_SLOWEST = 1024  # bytes per second


class Liveness:
    """What is known of one client.

    Args:
        ping_interval: Seconds without a sign of the client after which it is to be pinged; ``None``: never.
        ping_timeout: Seconds without one after a ping, after which it counts as gone; ``None``: never.
    """

    def __init__(self, ping_interval: float | None, ping_timeout: float | None) -> None:
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._begun: float | None = None  # when a message began to come that is not whole yet
        self._size = 0  # bytes that have come since then
        self.hear()

    def hear(self) -> None:
        """Note a sign of the client: it has sent something, or has taken what it was sent."""
        self._pinged = False
        self._wait(self._ping_interval)

    def receive(self, size: int) -> None:
        """Note that so many bytes have come."""
        self.hear()
        if self._begun is None:
            self._begun, self._size = monotonic(), 0
        self._size += size

    def complete(self) -> None:
        """Note that no message is half there."""
        self._begun = None

    def ignore(self) -> None:
        """Note that the client isn't listened to, so that nothing can be held against it."""
        self.hear()
        self.complete()

    @property
    def due(self) -> float | None:
        """When `verdict` will be another one, on `clock.monotonic`, if nothing comes before."""
        return min(
            (time for time in (self._patient_until, self._late_from) if time is not None), default=None
        )

    def verdict(self) -> Literal["fine", "ping", "gone", "late"]:
        """Return what to do when nothing has come: ping the client, give up on it, or on its message."""
        now = monotonic()
        if self._late_from is not None and now >= self._late_from:
            return "late"
        if self._patient_until is None or now < self._patient_until:
            return "fine"
        if self._pinged and self._ping_timeout is not None:
            return "gone"
        self._pinged = True
        self._wait(self._ping_interval if self._ping_timeout is None else self._ping_timeout)
        return "ping"

    @property
    def _late_from(self) -> float | None:
        return None if self._begun is None else self._begun + MESSAGE_SECONDS + self._size / _SLOWEST

    def _wait(self, seconds: float | None) -> None:
        self._patient_until = None if seconds is None else monotonic() + seconds
