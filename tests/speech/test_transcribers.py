"""What transcribes in place of a model."""

import pytest

from realtime_sync.local import DefaultTranscriber, Heard


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "Zero seconds of audio."),
        (1.0, "One second of audio."),
        (1.23, "One point two seconds of audio."),
        (19.96, "Twenty seconds of audio."),
        (321.5, "Three hundred and twenty-one point five seconds of audio."),
        (5000, "5000 seconds of audio."),
    ],
)
def test_the_default_transcriber(seconds: float, text: str) -> None:
    """It says in words how much it heard."""
    pieces = DefaultTranscriber().transcribe(Heard(b"", "audio/pcm", seconds))
    assert "".join(str(piece) for piece in pieces) == text
