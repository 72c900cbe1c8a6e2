"""What is under way at the same time, and at which pace."""

import pytest
from talk import Talk

from realtime_sync import events as ev
from realtime_sync.local import Say, ScriptedResponder


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
    """A delay lies between all pieces, and responses beside each other wait at the same time."""
    talk = Talk.to(delay=1.0, responder=ScriptedResponder(["one", "two"]))
    talk.update(output_modalities=["text"])
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none"})
    events = talk.steps()
    assert talk.now == 3.0
    assert len([event for event in events if isinstance(event, ev.ResponseDone)]) == 2
