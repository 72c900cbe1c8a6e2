"""What a session has in flight: responses, transcriptions, translations, each step by step."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Protocol

from ... import events as ev
from ...events import ServerEvent
from ...sound.formats import bytes_per_second
from .answer import Answer

__all__ = ["Job", "Jobs"]

_SECONDS_PER_WORD = 0.04  # of text, at a live server's pace
_FASTER_THAN_SPEECH = 2  # how much a live server is ahead of what it says


class Job(Protocol):
    """One thing in flight.  ``over`` once there is no further step."""

    @property
    def over(self) -> bool: ...

    @property
    def ready(self) -> bool:
        """Whether `step` returns at once: what it needs has come."""
        ...

    def step(self) -> list[ServerEvent]:
        """Return the next events."""
        ...

    def close(self) -> None:
        """Let go of what is left of it."""
        ...


class Jobs:
    """All that is in flight.  What is due at the same time takes turns.

    Args:
        delay: Seconds from each step to the next of the same job.
        realtime_pace: Whether to take also as long as a live server would.
    """

    def __init__(self, delay: float, realtime_pace: bool) -> None:
        self._delay = delay
        self._realtime_pace = realtime_pace
        self._turns = count()
        self._due: dict[Job, tuple[float, int]] = {}  # when, and in which turn of those due at that time
        # A heap of the same, with some that are over or removed.
        self._next: list[tuple[float, int, Job]] = []
        self._waiting: dict[Job, float] = {}  # what is not ready, and when its step was due

    @property
    def due(self) -> float | None:
        """When the next step is due; ``None`` if nothing is in flight, or all of it waits to be ready."""
        first = self._first()
        return None if first is None else self._due[first][0]

    def __iter__(self) -> Iterator[Job]:
        return iter([*self._due, *self._waiting])

    def __contains__(self, job: Job) -> bool:
        return job in self._due or job in self._waiting

    def __len__(self) -> int:
        return len(self._due) + len(self._waiting)

    def add(self, job: Job, now: float) -> None:
        """Let a job take its next step at this time, or as soon as it is ready then."""
        if not job.ready:
            self._waiting[job] = now
            return
        turn = next(self._turns)
        self._due[job] = now, turn
        heapq.heappush(self._next, (now, turn, job))

    def remove(self, job: Job) -> None:
        self._due.pop(job, None)
        self._waiting.pop(job, None)

    def step(self, now: float) -> tuple[Job | None, list[ServerEvent]]:
        """Take the next step of what is due by now.  Return the job, if any, and its events."""
        job = self._first()
        if job is None or self._due[job][0] > now:
            return None, []
        due, _ = self._due.pop(job)
        events = job.step()
        if not job.over:
            # Counted from when it was due, so that being late does not add up.
            wait = self._delay + self._seconds(job, events)
            self.add(job, max(due + wait, now - 1.0) if wait else now)
        return job, events

    def _first(self) -> Job | None:
        """Return the job whose step is next, if there is one."""
        for job in [job for job in self._waiting if job.ready]:
            self.add(job, self._waiting.pop(job))
        while self._next and self._due.get(self._next[0][2]) != self._next[0][:2]:
            heapq.heappop(self._next)
        return self._next[0][2] if self._next else None

    def _seconds(self, job: Job, events: Sequence[ServerEvent]) -> float:
        """Return how many seconds a live server takes for these events."""
        if not self._realtime_pace:
            return 0.0
        rate = job.rate if isinstance(job, Answer) else bytes_per_second("audio/pcm")
        seconds = 0.0
        for event in events:
            if isinstance(event, ev.ResponseOutputAudioDelta | ev.SessionOutputAudioDelta):
                seconds += len(event.delta) / rate / _FASTER_THAN_SPEECH
            elif isinstance(event, ev.ResponseOutputTextDelta | ev.ResponseFunctionCallArgumentsDelta):
                seconds += _SECONDS_PER_WORD
        return seconds
