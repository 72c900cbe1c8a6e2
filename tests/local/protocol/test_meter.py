"""What a response costs, and what is left."""

from talk import Talk
from tones import one

from realtime_sync import events as ev


def test_rate_limits_go_down() -> None:
    """Each response leaves less of the limits, by what it used."""
    talk = Talk(output_modalities=["text"])
    left = []
    for _ in range(3):
        events = talk.turn()
        limits = {limit.name: limit for limit in one(events, ev.RateLimitsUpdated).rate_limits}
        usage = one(events, ev.ResponseDone).response.usage
        left.append((limits["requests"].remaining, limits["tokens"].remaining, usage.total_tokens))
        assert limits["tokens"].remaining <= limits["tokens"].limit
    assert [requests for requests, _, _ in left] == [9999, 9998, 9997]
    assert left[0][1] - left[1][1] == left[1][2] > 0
