"""What a response costs, and what is left."""

from talk import Talk
from tones import RATES, one

from realtime_sync import events as ev
from realtime_sync.local import Say, ScriptedResponder


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


def test_what_was_given_is_counted() -> None:
    """Text, audio and images that the model is given have tokens of their own, which add up."""
    script = ScriptedResponder(["x", "x"])
    talk = Talk(script, instructions="", output_modalities=["text"])
    bare = one(talk.turn(input=[]), ev.ResponseDone).response.usage
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    content = [
        {"type": "input_text", "text": "x" * 40},
        {"type": "input_audio", "audio": "AAAA" * 16_000},  # a second
        image,
    ]
    talk.add({"type": "message", "role": "user", "content": content})
    usage = one(talk.turn(), ev.ResponseDone).response.usage
    before, after = bare.input_token_details, usage.input_token_details
    assert after.text_tokens > before.text_tokens + 9
    assert (after.audio_tokens, before.audio_tokens) == (10, 0)
    assert after.image_tokens > before.image_tokens == 0
    assert usage.input_tokens == after.text_tokens + after.audio_tokens + after.image_tokens
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_what_was_said_is_counted() -> None:
    """A spoken answer costs tokens by its length, whatever its format, and its words besides."""
    for kind, second in RATES:
        talk = Talk(
            ScriptedResponder([Say("x" * 8, audio=bytes(2 * second))]),
            audio={"output": {"format": {"type": kind}}},
        )
        made = one(talk.turn(), ev.ResponseDone).response.usage.output_token_details
        assert (made.audio_tokens, made.text_tokens) == (40, 2)
