"""What recognisers have in common."""

from talking import FOX, spoken

from realtime_sync.sound.formats import silence
from realtime_sync.speech.pool import Pool
from realtime_sync.speech.recognition import recognised
from realtime_sync.speech.transcribers import Heard


def test_words_come_piece_by_piece() -> None:
    """Each with the space before it; a piece without words leaves no trace, and models aren't kept."""
    texts = iter([" One two. ", "", "Three", "四"])
    pool = Pool(lambda: texts, 1)
    audio = (spoken(FOX) * 4 + silence(2)) * 3
    words = recognised(Heard(audio, "audio/pcm", 0.0), pool, lambda model, pcm: next(model, "more"))
    assert next(words) == "One"
    with pool.borrowed():
        assert next(words) == " two."
    assert list(words)[:2] == [" Three", " 四"]
