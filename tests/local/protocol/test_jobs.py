"""What is under way at the same time, and at which pace."""

import pytest
from talk import Talk

from realtime_sync import events as ev
from realtime_sync.events import ServerEvent
from realtime_sync.local import Say, ScriptedResponder
from realtime_sync.local.protocol.jobs import Jobs


def test_fast_by_default() -> None:
    """Unless told otherwise, everything is due at once."""
    talk = Talk()
    talk.turn()
    assert talk.now == 0.0


@pytest.mark.parametrize(("modality", "seconds"), [("audio", 5.0), ("text", 0.4)])
def test_realtime_pace(modality: str, seconds: float) -> None:
    """At a live server's pace, sound takes half as long as it plays, and words come one by one."""
    answer = Say("Ten words take as long as it takes to read.", audio=bytes(480_000))
    talk = Talk.to(responder=ScriptedResponder([answer]), realtime_pace=True)
    talk.turn(output_modalities=[modality])
    assert talk.now == pytest.approx(seconds)


def test_delay() -> None:
    """A delay lies between all deltas, and responses in flight together wait at the same time."""
    talk = Talk.to(delay=1.0, responder=ScriptedResponder(["one", "two"]))
    talk.update(output_modalities=["text"])
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none"})
    events = talk.steps()
    assert talk.now == 3.0
    assert len([event for event in events if isinstance(event, ev.ResponseDone)]) == 2


class Counting:
    """A job of a number of steps."""

    ready = True

    def __init__(self, name: str, steps: int, done: list[str]) -> None:
        self.name, self.left, self.done = name, steps, done

    @property
    def over(self) -> bool:
        return self.left == 0

    def step(self) -> list[ServerEvent]:
        self.left -= 1
        self.done.append(self.name)
        return []

    def close(self) -> None:
        self.left = 0


def test_jobs_take_turns() -> None:
    """What is due at the same time takes turns, until each is over."""
    done: list[str] = []
    jobs = Jobs(0.0, realtime_pace=False)
    for name, steps in (("a", 3), ("b", 1), ("c", 2)):
        jobs.add(Counting(name, steps, done), 0.0)
    while len(jobs):
        jobs.step(0.0)
    assert done == ["a", "b", "c", "a", "c", "a"]
    assert jobs.due is None
    assert jobs.step(0.0) == (None, [])


def test_nothing_before_its_time() -> None:
    """With a delay a job is due that much after its last step, and is not stepped before."""
    done: list[str] = []
    jobs = Jobs(2.0, realtime_pace=False)
    jobs.add(Counting("a", 3, done), 10.0)
    jobs.step(10.0)
    assert jobs.due == 12.0
    assert jobs.step(11.9) == (None, [])
    assert done == ["a"]


def test_being_late_does_not_add_up() -> None:
    """A step that comes late does not delay those after it."""
    jobs = Jobs(2.0, realtime_pace=False)
    jobs.add(Counting("a", 3, []), 10.0)
    jobs.step(10.5)
    assert jobs.due == 12.0


def test_a_job_that_is_removed() -> None:
    """A job that is removed takes no further step."""
    done: list[str] = []
    jobs = Jobs(0.0, realtime_pace=False)
    job = Counting("a", 3, done)
    jobs.add(job, 0.0)
    jobs.remove(job)
    jobs.remove(job)
    assert (jobs.step(0.0), jobs.due, done) == ((None, []), None, [])
