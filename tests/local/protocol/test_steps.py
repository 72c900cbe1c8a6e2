"""The steps of a job, once there are none left."""

from realtime_sync.local.protocol.steps import no_steps


def test_no_steps() -> None:
    """There are none, and they can be closed, also more than once."""
    assert list(no_steps()) == []
    steps = no_steps()
    steps.close()
    steps.close()
    assert list(steps) == []
