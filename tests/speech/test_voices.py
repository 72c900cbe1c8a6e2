"""What speaks in place of a model."""

from realtime_sync.local import Sentence


def test_a_sentence_is_as_a_client_that_configures_nothing_wants_it() -> None:
    """Audio as the API's own, at the usual speed, in the voice that is the server's."""
    assert Sentence("Good morning.") == Sentence("Good morning.", "audio/pcm", None, 1.0)
